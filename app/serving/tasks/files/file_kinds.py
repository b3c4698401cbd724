"""The kinds of files that requests carry, in the words of errors and descriptions."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FileKind:
    """A kind of files. noun: what one is called. field: its name in forms and in JSON. example: of
    a file's name. media: the type that a data URL of one may have."""

    noun: str
    field: str
    example: str
    media: str

    @property
    def in_json(self) -> str:
        """What JSON has in the place of a file."""
        return f"base64, or a data URL: data:{self.media};base64,…"


class UnreadableFile(ValueError):
    """The file cannot be read; `problem` and `expected` say why."""

    def __init__(self, problem: str, expected: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.expected = expected


PICTURES = FileKind("picture", "image", "cat.jpg", "image/png")
RECORDINGS = FileKind("recording", "audio", "voice.wav", "audio/wav")
# By what a task says that it accepts.
FILE_KINDS = {"files": PICTURES, "audio": RECORDINGS}


def files_of(accepts: frozenset[str]) -> FileKind | None:
    """Return the kind of files that a task accepts as bodies, if it does."""
    return next((kind for name, kind in FILE_KINDS.items() if name in accepts), None)
