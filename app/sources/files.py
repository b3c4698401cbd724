"""Files on their way: what a source lists, and how one is written."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from app.errors import PullError

MAX_FILES = 10_000
_BLOCK = 1_000_000


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of a source.

    path: relative to the address. size: in bytes; None if unknown. tag: what the source calls this
    content, such as an ETag; empty if it has no name for it.
    """

    path: str
    size: int | None
    tag: str = ""


class Source(AbstractContextManager["Source"], Protocol):
    """A place that has a model. Closed at the end of a `with` block."""

    def list(self, known_tag: str) -> Sequence[RemoteFile]:
        """Return its files; none if there is nothing at the address. known_tag: that of a single
        file that need not be sent again. Raises PullError."""

    def fetch(self, file: RemoteFile, target: Path, room: Room) -> str:
        """Write a file to `target`, and return its SHA-256. Raises PullError and OSError."""


class Room:
    """Counts the bytes that arrive. max_bytes: the most; more raise PullError."""

    def __init__(self, max_bytes: int) -> None:
        self.taken = 0
        self._max_bytes = max_bytes

    def take(self, count: int) -> None:
        """Take room for `count` more bytes. Raises PullError if there is none."""
        self.taken += count
        if self.taken > self._max_bytes:
            raise PullError(
                f"the model takes more than {self._max_bytes / 1e9:g} GB: raise --max-gb if that "
                "is right"
            )


def check_disk(folder: Path, files: Iterable[RemoteFile]) -> None:
    """Raise PullError if the files do not fit on the disk of `folder`."""
    needed = sum(file.size or 0 for file in files)
    status = os.statvfs(folder)
    free = status.f_bavail * status.f_frsize
    if needed > free:
        raise PullError(
            f"the model takes {needed / 1e9:.2f} GB, the disk of {folder} has "
            f"{free / 1e9:.2f} GB left"
        )


def write_file(target: Path, chunks: Iterable[bytes], size: int | None, room: Room) -> str:
    """Write a file, until it is safe on the disk, and return its SHA-256. Raises PullError if it
    has another size."""
    digest, count = hashlib.sha256(), 0
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as file:
        for chunk in chunks:
            room.take(len(chunk))
            count += len(chunk)
            digest.update(chunk)
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    if size is not None and count != size:
        raise PullError(f"{target.name} ended after {count:,} of {size:,} bytes")
    return digest.hexdigest()


def blocks(path: Path) -> Iterator[bytes]:
    """Yield the content of a file."""
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            yield block


def checked_path(path: str) -> str | None:
    """Return a path of a source or an archive as one below a folder; None for files that models do
    not have: hidden ones. Raises PullError for a path that leads outside."""
    parts = path.split("/")
    if "\\" in path or "\0" in path or ".." in parts or path.startswith("/"):
        raise PullError(f"{path[:100]!r} leads out of the folder of the model")
    parts = [part for part in parts if part not in ("", ".")]
    if not parts or any(part.startswith((".", "__MACOSX", "__pycache__")) for part in parts):
        return None
    return "/".join(parts)
