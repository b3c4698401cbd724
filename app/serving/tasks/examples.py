"""The examples of a card: requests that a model answers, for people and programs to try.

They are read with the card, files included, so that an answer never depends on what happens in the
folder afterwards.
"""

from __future__ import annotations

import logging
import os
import stat
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from app.errors import CardError, OverLimit, RequestError
from app.serving.cards.card import CARD_FILE, is_inside
from app.serving.cards.examples import named_example
from app.serving.limits import Limits, megabytes
from app.serving.tasks.base import Payload, ReadFile, Task
from app.serving.tasks.files.file_kinds import UnreadableFile

log = logging.getLogger(__name__)

# Bytes of a file, and of all files of a card: they stay in memory, and pages load them.
MOST_BYTES = 1_000_000
MOST_TOGETHER = 8_000_000
# Characters of a name, and of a text that serves as one.
MOST_NAME = 100
MOST_SHOWN = 60
_FOLDER = "a file of this folder"


@dataclass(frozen=True, slots=True)
class ExampleFile:
    """A file of an example. name: without folders. thumbnail: a small WebP; None for what cannot be
    seen."""

    name: str
    data: bytes
    media_type: str
    thumbnail: bytes | None = None

    @property
    def url(self) -> str:
        """The contents as a data URL."""
        return f"data:{self.media_type};base64,{b64encode(self.data).decode()}"


@dataclass(frozen=True, slots=True)
class Example:
    """A request that the model answers. name: for people. values: one for each input, by its name.
    form: makes the body of a request of values in JSON."""

    name: str
    values: Mapping[str, Any]
    form: Callable[[Mapping[str, Any]], Any]

    @property
    def files(self) -> dict[str, ExampleFile]:
        """The files, by the names of inputs."""
        return {n: value for n, value in self.values.items() if isinstance(value, ExampleFile)}

    @property
    def thumbnail(self) -> bytes | None:
        """The first small picture."""
        return next((file.thumbnail for file in self.files.values() if file.thumbnail), None)

    @property
    def body(self) -> Any:
        """The body of a request in JSON, with files as data URLs."""
        values = self.values.items()
        return self.form({n: v.url if isinstance(v, ExampleFile) else v for n, v in values})

    @property
    def payload(self) -> Payload:
        """The request."""
        return Payload("json", orjson.dumps(self.body))


def read_examples(
    task: Task, stated: Sequence[Any], folder: Path | None, limits: Limits
) -> list[Example]:
    """Read the examples of a card, and check that the task can read them.

    stated: as in the card. folder: of the card. Those beyond a limit of this server's settings are
    left out. Raises CardError with all other problems.
    """
    reader = _Reader(task, folder, limits)
    examples = [reader.read(i, each) for i, each in enumerate(stated)]
    if reader.together > MOST_TOGETHER:
        size = megabytes(reader.together)
        reader.add("examples", f"{size} of files, expected at most {megabytes(MOST_TOGETHER)}")
    if reader.problems:
        raise CardError(f"{CARD_FILE}: {'; '.join(reader.problems)}")
    return [example for example in examples if example is not None]


class _Reader:
    """Reads examples. together: bytes of all files. problems: of all examples, but for those that
    are left out."""

    def __init__(self, task: Task, folder: Path | None, limits: Limits) -> None:
        self._task = task
        self._takers = task.example_takers()
        self._folder = folder
        self._limits = limits
        self.together = 0
        self.problems: list[str] = []
        # Of the example that is read.
        self._fits = True

    def add(self, where: str, problem: str) -> None:
        """Add a problem of the card."""
        self._fits = False
        self.problems.append(f"{where}: {problem}")

    def _leave_out(self, where: str, problem: str) -> None:
        """Leave the example out, for a limit of the settings is no problem of the card."""
        self._fits = False
        log.warning("an example is left out: %s: %s", where, problem)

    def _add_found(self, where: str, problem: str, found: object) -> None:
        """Add a problem, or leave the example out, as `found` is marked."""
        (self._leave_out if isinstance(found, OverLimit) else self.add)(where, problem)

    def read(self, number: int, stated: Any) -> Example | None:
        """Read one; None if there are problems."""
        self._fits = True
        where = f"examples[{number}]"
        given, value = named_example(stated)
        if given is not None and not (isinstance(given, str) and 0 < len(given) <= MOST_NAME):
            self.add(f"{where}.name", f"expected a text of at most {MOST_NAME} characters")
        values = self._values(where, value)
        if values is None or not self._fits:
            return None
        name = given or _name(values, number)
        example = Example(name, values, self._task.example_body)
        self._check(where, example)
        return example if self._fits else None

    def _values(self, where: str, value: Any) -> dict[str, Any] | None:
        takers = self._takers
        if not takers:
            self.add(where, "this model takes no examples")
            return None
        if len(takers) == 1:
            return {name: self._value(where, value, read) for name, read in takers.items()}
        names = ", ".join(takers)
        if not isinstance(value, dict):
            self.add(where, f"expected a value for each of {names}")
            return None
        for name in [name for name in value if name not in takers]:
            self.add(f"{where}.{name}", f"expected one of {names}")
        for name in [name for name in takers if name not in value]:
            self.add(where, f"a value for {name} is missing")
        return {
            name: self._value(f"{where}.{name}", value[name], read)
            for name, read in takers.items()
            if name in value
        }

    def _value(self, where: str, value: Any, read: ReadFile | None) -> Any:
        if read is None:
            try:
                # As a client would send it: YAML has keys and values that JSON has not.
                return orjson.loads(orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS))
            except (TypeError, ValueError) as error:
                self.add(where, f"JSON cannot carry it: {error}")
                return None
        if not isinstance(value, str) or not is_inside(value):
            shown = f", found {value!r}"[:MOST_NAME]
            self.add(where, f"expected the name of {_FOLDER}{shown}")
            return value
        data = self._contents(where, value)
        if data is None:
            return value
        try:
            media_type, thumbnail = read(data)
        except UnreadableFile as error:
            problem = f"{value}: {error.problem}, expected {error.expected}"
            self._add_found(where, problem, error)
            return value
        return ExampleFile(Path(value).name, data, media_type, thumbnail)

    def _contents(self, where: str, name: str) -> bytes | None:
        if self._folder is None:
            self.add(where, f"expected the name of {_FOLDER}")
            return None
        try:
            # A pipe or a device would keep the thread that loads models.
            handle = os.open(self._folder / name, os.O_RDONLY | os.O_NONBLOCK)
            with os.fdopen(handle, "rb") as file:
                if not stat.S_ISREG(os.fstat(handle).st_mode):
                    self.add(where, f"{name} is no file")
                    return None
                data = file.read(MOST_BYTES + 1)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            self.add(where, f"{name} cannot be read: {reason}")
            return None
        if len(data) > MOST_BYTES:
            self.add(where, f"{name} has more than {megabytes(MOST_BYTES)}, the most of an example")
            return None
        self.together += len(data)
        return data

    def _check(self, where: str, example: Example) -> None:
        payload = example.payload
        most = self._limits.max_body_bytes
        if payload.size > most:
            size = f"{megabytes(payload.size)} as a request"
            expected = f"at most {megabytes(most)} (KERAPORT_MAX_BODY_MB)"
            self._leave_out(where, f"{size}, expected {expected}")
            return
        try:
            self._task.check_request(payload)
        except RequestError as error:
            for detail in error.details:
                expected = "" if detail.expected is None else f", expected {detail.expected}"
                problem = f"{detail.field}: {detail.problem}{expected}"
                self._add_found(where, problem, detail)
            if not error.details:
                self._add_found(where, error.message, error)


def _name(values: Mapping[str, Any], number: int) -> str:
    """Name an example after its only file or text."""
    if len(values) == 1:
        (value,) = values.values()
        if isinstance(value, ExampleFile):
            stem = " ".join(Path(value.name).stem.replace("_", " ").replace("-", " ").split())
            return (stem[:1].upper() + stem[1:])[:MOST_NAME] or value.name[:MOST_NAME]
        if isinstance(value, str) and value.strip():
            text = " ".join(value.split())
            return text if len(text) <= MOST_SHOWN else f"{text[: MOST_SHOWN - 1].rstrip()}…"
    return f"Example {number + 1}"
