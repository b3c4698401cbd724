"""The file of API keys: a YAML list that an operator can read and edit.

    - name: laboratory
      hash: sha256:6f1e…:9d2c…
      models: [mpg, cats-dogs]   # only these; without it, all
      rate: 10/second            # or /minute, /hour; without it, any

Error messages never quote values from this file: one may be a key where its hash belongs.
"""

from __future__ import annotations

import hmac
import os
import re
import secrets
import tempfile
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

import yaml
from limits import RateLimitItem, parse
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from app.errors import Detail, KeysError
from app.strict_yaml import load_yaml

# By this, people and scanners for leaked secrets recognise a key.
PREFIX = "kp_"
# The window of a rate holds as many entries in memory.
MAX_RATE = 10_000
_KEY = re.compile(rf"{PREFIX}[\w-]+")
_HASH = re.compile(r"sha256:([0-9a-f]{32}):([0-9a-f]{64})")
_RATE = re.compile(r"([1-9][0-9]{0,4})/(second|minute|hour)")
_EXPECTED = {
    "name": "1 to 64 letters, digits, '-', '_' and '.', beginning with a letter or digit",
    "hash": "what `python -m app key new` prints: sha256:, 32 hex digits, :, 64 hex digits",
    "models": "a list of names of models",
    "rate": f"N/second, N/minute or N/hour, N from 1 to {MAX_RATE}",
}
_EXPECTED_LIST = "expected a list of keys, each with the lines '- name: …' and '  hash: …'"


class _Entry(BaseModel):
    """A key as it stands in the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
    hash: Annotated[str, Field(pattern=f"^{_HASH.pattern}$")]
    models: list[str] | None = None
    rate: Annotated[str, Field(pattern=f"^{_RATE.pattern}$")] | None = None

    @field_validator("models", "rate", mode="before")
    @classmethod
    def _reject_empty(cls, value: Any) -> Any:
        # A field that was left empty must not lift the restriction.
        if value is None:
            raise PydanticCustomError("empty", "empty")
        return value


@dataclass(frozen=True, slots=True)
class Key:
    """A key of the file.

    salt, digest: bytes; the digest is SHA-256 of the salt and the key. models: names of the models
    that the key may use, None for all. rate: of requests, None for no limit.
    """

    name: str
    salt: bytes
    digest: bytes
    models: frozenset[str] | None = None
    rate: RateLimitItem | None = None

    def matches(self, presented: str) -> bool:
        """Whether `presented` is this key, compared in constant time."""
        return hmac.compare_digest(_digest(self.salt, presented), self.digest)

    @property
    def secret(self) -> bytes:
        """A secret known only to those who can read the file."""
        return self.salt + self.digest


def new_key() -> tuple[str, str]:
    """Return a new key, and its hash for the file."""
    key, salt = PREFIX + secrets.token_urlsafe(32), secrets.token_bytes(16)
    return key, f"sha256:{salt.hex()}:{_digest(salt, key).hex()}"


def _digest(salt: bytes, key: str) -> bytes:
    # One round is enough: 256 random bits cannot be guessed, however fast a guess is.
    return sha256(salt + key.encode(errors="surrogatepass")).digest()


def key_lines(name: str, hash: str, models: tuple[str, ...] = (), rate: str | None = None) -> str:
    """Return the lines of a key in the file. Raises KeysError for values that are invalid there."""
    fields: dict[str, Any] = {"name": name, "hash": hash}
    fields |= {"models": list(models)} if models else {}
    fields |= {"rate": rate} if rate else {}
    text = yaml.safe_dump([fields], sort_keys=False, default_flow_style=False, width=200)
    parse_keys(text.encode(), "this key")
    return text


def read_bytes(path: Path) -> bytes:
    """Read the file. Raises KeysError if that fails."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from None


def unreadable(path: Path, error: OSError) -> KeysError:
    """Return the error for a file that cannot be read, in words for the operator."""
    return KeysError(
        f"the file of API keys {path} cannot be read: {error.strerror} "
        f"(it must be readable by user {os.geteuid()})"
    )


def parse_keys(raw: bytes, what: str) -> tuple[Key, ...]:
    """Parse the file. what: its name, for messages. Raises KeysError with all problems."""
    try:
        text = raw.decode()
        value, lines = load_yaml(text), _lines(text)
    except UnicodeDecodeError:
        raise _keys_error(what, [Detail("the file", "not UTF-8")]) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = redacted(str(getattr(error, "problem", None) or "not YAML"))
        where = "the file" if mark is None else f"line {mark.line + 1}"
        raise _keys_error(what, [Detail(where, f"not YAML: {problem}")]) from None
    try:
        entries = _ENTRIES.validate_python([] if value is None else value)
    except ValidationError as error:
        # A list of wrong names is one problem.
        found = dict.fromkeys(_problem(e, lines) for e in error.errors(include_input=False))
        raise _keys_error(what, [Detail(*problem) for problem in found]) from None
    if problems := _conflicts(entries, lines):
        raise _keys_error(what, problems)
    return tuple(_key(each) for each in entries)


_ENTRIES = TypeAdapter(list[_Entry])


def redacted(text: str) -> str:
    """Return `text` with everything that looks like a key masked."""
    return _KEY.sub(f"{PREFIX}…", text)


def _key(entry: _Entry) -> Key:
    found = _HASH.fullmatch(entry.hash)
    assert found is not None, "the model has checked it"
    return Key(
        entry.name,
        bytes.fromhex(found[1]),
        bytes.fromhex(found[2]),
        None if entry.models is None else frozenset(entry.models),
        None if entry.rate is None else parse(entry.rate),
    )


def _conflicts(entries: list[_Entry], lines: dict[tuple[Any, ...], int]) -> list[Detail]:
    """Return the problems that keys have with each other, and rates that are too high."""
    problems, seen = [], set()
    for i, each in enumerate(entries):
        for field, value in (("name", each.name), ("hash", each.hash)):
            if (field, value) in seen:
                problem = f"{field}: another key has the same"
                problems.append(Detail(f"line {lines[i, field]}", problem))
            seen.add((field, value))
        if each.rate is not None and int(each.rate.partition("/")[0]) > MAX_RATE:
            problem = f"rate: expected {_EXPECTED['rate']}"
            problems.append(Detail(f"line {lines[i, 'rate']}", problem))
    return problems


def _problem(error: ErrorDetails, lines: dict[tuple[Any, ...], int]) -> tuple[str, str]:
    """Return where the problem is, and what it is."""
    where = f"line {lines.get(error['loc'][:2]) or lines.get(error['loc'][:1]) or 1}"
    if len(error["loc"]) < 2:
        return where, _EXPECTED_LIST
    field = redacted(str(error["loc"][1]))
    if error["type"] in ("extra_forbidden", "invalid_key"):
        return where, f"unknown key {field!r}: expected {', '.join(_EXPECTED)}"
    if error["type"] == "missing":
        return where, f"{field!r} is missing"
    return where, f"{field}: expected {_EXPECTED[field]}"


def _lines(text: str) -> dict[tuple[Any, ...], int]:
    """Return numbers of lines: of each entry by its index, of its fields by index and name."""
    found: dict[tuple[Any, ...], int] = {}
    root = yaml.compose(text, yaml.SafeLoader)
    for i, item in enumerate(root.value if isinstance(root, yaml.SequenceNode) else []):
        found[(i,)] = item.start_mark.line + 1
        for key, _ in item.value if isinstance(item, yaml.MappingNode) else []:
            found[i, key.value] = key.start_mark.line + 1
    return found


def _keys_error(what: str, problems: list[Detail]) -> KeysError:
    count = "a problem" if len(problems) == 1 else f"{len(problems)} problems"
    return KeysError(f"the API keys have {count} ({what}):", problems)


def append_key(path: Path, lines: str) -> None:
    """Append the lines of a key to the file.

    Creates the file if there is none, readable by its owner alone. The file is replaced as a whole:
    concurrent readers find either the old keys or the new ones. Raises KeysError if the file has
    problems or cannot be extended, OSError if it cannot be written.
    """
    before = read_bytes(path) if path.exists() else b""
    if before and not before.endswith(b"\n"):
        before += b"\n"
    known = parse_keys(before, str(path))
    after = before + lines.encode()
    if parse_keys(after, str(path))[:-1] != known:
        raise KeysError(
            f"{path} takes no lines at its end: write it as a list of lines '- name: …'"
        )
    # Replaces the target of a link, not the link.
    target = path.resolve()
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(after)
            file.flush()
            os.fsync(file.fileno())
            if target.exists():
                status = target.stat()
                os.fchown(file.fileno(), status.st_uid, status.st_gid)
                os.fchmod(file.fileno(), status.st_mode & 0o777)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
