"""The base of inputs that take a file: a part of a form, or base64 in JSON."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

from app.errors import BadRequest, Detail, short
from app.serving.base64_text import decode_base64
from app.serving.tasks.base import File, Files, Payload
from app.serving.tasks.files.file_kinds import FileKind
from app.serving.tasks.files_json import read_files
from app.serving.tasks.inputs.decoding import check_count, most_files
from app.serving.tasks.inputs.input import Input, Parsed, Where


class FileInput(Input):
    """One file per row, which native threads decode. files: what they are called. formats: that are
    read, in words."""

    takes_files = True
    files: ClassVar[FileKind]
    formats: ClassVar[str]

    def body(self, payload: Payload) -> Parsed:
        """Take the uploads, or files in JSON."""
        field = self.files.field
        if payload.kind == "json":
            check: Callable[[int], None] = partial(
                check_count, limits=self.limits, noun=self.files.noun
            )
            files, fields = read_files(payload.data, self.limits, check, self.files, self.name)
            return self.uploaded(files, fields.__getitem__)
        if not payload.files:
            raise BadRequest(
                f"no {self.files.noun}: send it as the body, or as the field '{field}' of "
                "multipart/form-data"
            )
        alone = len(payload.files) == 1
        return self.uploaded(payload.files, lambda i: field if alone else f"{field}[{i}]")

    def uploaded(self, files: Files, where: Where) -> Parsed:
        """Take files, one per row."""
        return Parsed(files={self.name: files}, fields={self.name: where})

    def values(self, values: Sequence[Any], where: Where) -> Parsed:
        """Read base64 texts, or data URLs."""
        check_count(len(values), self.limits, self.files.noun)
        files: list[File] = []
        details = []
        for i, value in enumerate(values):
            if not isinstance(value, str):
                details.append(Detail(where(i), "wrong type", short(value), self.expected()))
                continue
            try:
                files.append(decode_base64(value))
            except ValueError as error:
                details.append(Detail(where(i), str(error), short(value), self.expected()))
        if details:
            # Those that are left would have other places.
            return Parsed(details=details)
        return self.uploaded(files, where)

    @property
    def most(self) -> int:
        """The most files of a request."""
        return most_files(self.limits)

    @abstractmethod
    def body_schema(self) -> dict[str, Any]:
        """Formats and limits."""

    def value_schema(self) -> dict[str, Any]:
        """A text."""
        return {
            "type": "string",
            "minLength": 1,
            "description": f"A {self.files.noun} ({self.formats}) in base64, or as a data URL.",
        }

    def expected(self) -> str:
        """A file in base64."""
        return f"a {self.files.noun} ({self.formats}) in base64, or as a data URL"

    def example_body(self, value: Any) -> dict[str, Any]:
        """Return an object with the file."""
        return {self.files.field: value}
