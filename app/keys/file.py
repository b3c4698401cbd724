"""The file of API keys: a YAML list that an operator can read and edit.

    - name: laboratory
      hash: sha256:6f1e…:9d2c…
      models: [mpg, cats-dogs]   # only these; without it, all
      rate: 10/second            # or /minute, /hour; without it, any

No problem that is told of it quotes a value: somebody may have put a key where its hash belongs.
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
from app.serving.card_yaml import load_yaml

# By which people and programs that look for lost secrets know a key.
PREFIX = "kp_"
# What the window of a rate holds in memory.
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
_WHOLE = "expected a list of keys, each with the lines '- name: …' and '  hash: …'"


class _Entry(BaseModel):
    """As the file has it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
    hash: Annotated[str, Field(pattern=f"^{_HASH.pattern}$")]
    models: list[str] | None = None
    rate: Annotated[str, Field(pattern=f"^{_RATE.pattern}$")] | None = None

    @field_validator("models", "rate", mode="before")
    @classmethod
    def _said(cls, value: Any) -> Any:
        # What was begun and left empty must not open everything.
        if value is None:
            raise PydanticCustomError("empty", "empty")
        return value


@dataclass(frozen=True, slots=True)
class Key:
    """A key that is known. salt, digest: bytes; the digest is SHA-256 of the salt and the key.
    models: those that it is for, None for all. rate: None for any."""

    name: str
    salt: bytes
    digest: bytes
    models: frozenset[str] | None = None
    rate: RateLimitItem | None = None

    def fits(self, presented: str) -> bool:
        """Whether it is this key, found out in a time that does not depend on it."""
        return hmac.compare_digest(_digest(self.salt, presented), self.digest)

    @property
    def secret(self) -> bytes:
        """What those alone know who can read the file."""
        return self.salt + self.digest


def new_key() -> tuple[str, str]:
    """A key, and the hash of it for the file."""
    key, salt = PREFIX + secrets.token_urlsafe(32), secrets.token_bytes(16)
    return key, f"sha256:{salt.hex()}:{_digest(salt, key).hex()}"


def _digest(salt: bytes, key: str) -> bytes:
    # One round: a key of 256 random bits is not to be guessed, however fast guessing is.
    return sha256(salt + key.encode(errors="surrogatepass")).digest()


def entry(name: str, hash: str, models: tuple[str, ...] = (), rate: str | None = None) -> str:
    """The lines of a key in the file. Raises KeysError for what the file does not take."""
    fields: dict[str, Any] = {"name": name, "hash": hash}
    fields |= {"models": list(models)} if models else {}
    fields |= {"rate": rate} if rate else {}
    text = yaml.safe_dump([fields], sort_keys=False, default_flow_style=False, width=200)
    parse_keys(text.encode(), "this key")
    return text


def read_keys(path: Path) -> tuple[Key, ...]:
    """The keys of a file. Raises KeysError with all that is wrong with it."""
    return parse_keys(read_bytes(path), str(path))


def read_bytes(path: Path) -> bytes:
    """What is in the file. Raises KeysError where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from None


def unreadable(path: Path, error: OSError) -> KeysError:
    """Why the file cannot be read, for the operator."""
    return KeysError(
        f"the file of API keys {path} cannot be read: {error.strerror} "
        f"(it must be readable by user {os.geteuid()})"
    )


def parse_keys(raw: bytes, what: str) -> tuple[Key, ...]:
    """The keys in `raw`. what: the file, for messages. Raises KeysError with all problems."""
    try:
        text = raw.decode()
        value, lines = load_yaml(text), _lines(text)
    except UnicodeDecodeError:
        raise _wrong(what, [Detail("the file", "not UTF-8")]) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = redacted(str(getattr(error, "problem", None) or "not YAML"))
        where = "the file" if mark is None else f"line {mark.line + 1}"
        raise _wrong(what, [Detail(where, f"not YAML: {problem}")]) from None
    try:
        entries = _ENTRIES.validate_python([] if value is None else value)
    except ValidationError as error:
        # A list of wrong names is one problem.
        found = dict.fromkeys(_problem(e, lines) for e in error.errors(include_input=False))
        raise _wrong(what, [Detail(*problem) for problem in found]) from None
    if problems := _conflicts(entries, lines):
        raise _wrong(what, problems)
    return tuple(_key(each) for each in entries)


_ENTRIES = TypeAdapter(list[_Entry])


def redacted(text: str) -> str:
    """`text` without what looks like a key."""
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
    """What each key by itself does not show."""
    problems, seen = [], set()
    for i, each in enumerate(entries):
        for field, value in (("name", each.name), ("hash", each.hash)):
            if (field, value) in seen:
                said = f"{field}: another key has the same"
                problems.append(Detail(f"line {lines[i, field]}", said))
            seen.add((field, value))
        if each.rate is not None and int(each.rate.partition("/")[0]) > MAX_RATE:
            said = f"rate: expected {_EXPECTED['rate']}"
            problems.append(Detail(f"line {lines[i, 'rate']}", said))
    return problems


def _problem(error: ErrorDetails, lines: dict[tuple[Any, ...], int]) -> tuple[str, str]:
    """Where, and what."""
    where = f"line {lines.get(error['loc'][:2]) or lines.get(error['loc'][:1]) or 1}"
    if len(error["loc"]) < 2:
        return where, _WHOLE
    field = redacted(str(error["loc"][1]))
    if error["type"] in ("extra_forbidden", "invalid_key"):
        return where, f"unknown key {field!r}: expected {', '.join(_EXPECTED)}"
    if error["type"] == "missing":
        return where, f"{field!r} is missing"
    return where, f"{field}: expected {_EXPECTED[field]}"


def _lines(text: str) -> dict[tuple[Any, ...], int]:
    """The line of each entry, by its number, and of each of its fields, by that and its name."""
    found: dict[tuple[Any, ...], int] = {}
    root = yaml.compose(text, yaml.SafeLoader)
    for i, item in enumerate(root.value if isinstance(root, yaml.SequenceNode) else []):
        found[(i,)] = item.start_mark.line + 1
        for key, _ in item.value if isinstance(item, yaml.MappingNode) else []:
            found[i, key.value] = key.start_mark.line + 1
    return found


def _wrong(what: str, problems: list[Detail]) -> KeysError:
    count = "a problem" if len(problems) == 1 else f"{len(problems)} problems"
    return KeysError(f"the API keys have {count} ({what}):", problems)


def append(path: Path, lines: str) -> None:
    """Put the lines of a key at the end of the file, which is made where there is none, readable
    by its owner alone. Whoever reads it meanwhile finds it as it was or as it is then. Raises
    KeysError where it has problems or takes no more lines, OSError where it cannot be written."""
    before = read_bytes(path) if path.exists() else b""
    if before and not before.endswith(b"\n"):
        before += b"\n"
    known = parse_keys(before, str(path))
    after = before + lines.encode()
    if parse_keys(after, str(path))[:-1] != known:
        raise KeysError(
            f"{path} takes no lines at its end: write it as a list of lines '- name: …'"
        )
    # What a link leads to is replaced, not the link.
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
