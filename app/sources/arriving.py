"""What a source has now, whether it is still there or was fetched already."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from app.errors import PullError
from app.sources.files import RemoteFile, Room, Source, blocks, check_disk, checked_path


class Arriving(Protocol):
    """Files of which some are taken over. paths: of all of them, below the model's folder."""

    paths: list[str]

    def fingerprint(self, paths: Iterable[str]) -> str:
        """Return what identifies the content of these files."""

    def bring(self, paths: Sequence[str], below: str) -> Path:
        """Return a folder, to be renamed, that holds these files. below: the folder of the source
        that all of them are in; "" for the whole of it."""


class Listed:
    """The files of a folder at a source, which are fetched when they are wanted. shown: its
    address. folder: where they are written, each call to `bring` into a folder in it."""

    def __init__(
        self, source: Source, files: Sequence[RemoteFile], folder: Path, room: Room, shown: str
    ) -> None:
        self._source, self._folder, self._room, self._shown = source, folder, room, shown
        self._files = {path: file for file in files if (path := checked_path(file.path))}
        if len(self._files) < len(files):
            raise PullError(f"{shown} has two objects of the same name")
        self.paths = [*self._files]

    def fingerprint(self, paths: Iterable[str]) -> str:
        """By the address, and what the source calls the contents."""
        files = [self._files[path] for path in sorted(paths)]
        about = [self._shown, *((file.path, file.size, file.tag) for file in files)]
        return hashlib.sha256(repr(about).encode(errors="surrogateescape")).hexdigest()

    def bring(self, paths: Sequence[str], below: str) -> Path:
        """Fetch the files."""
        check_disk(self._folder, [self._files[path] for path in paths])
        target = self._folder / (below or "whole")
        target.mkdir()
        for path in paths:
            name = path.removeprefix(f"{below}/") if below else path
            self._source.fetch(self._files[path], target / name, self._room)
        return target


class Written:
    """Files that are in a folder. beside: a folder on the same disk."""

    def __init__(self, folder: Path, beside: Path) -> None:
        self._folder, self._beside = folder, beside
        files = (p for p in folder.rglob("*") if p.is_file())
        self.paths = [p.relative_to(folder).as_posix() for p in files]

    def fingerprint(self, paths: Iterable[str]) -> str:
        """By the contents."""
        whole = hashlib.sha256()
        for path in sorted(paths):
            digest = hashlib.sha256()
            for block in blocks(self._folder / path):
                digest.update(block)
            whole.update(repr((path, digest.hexdigest())).encode(errors="surrogateescape"))
        return whole.hexdigest()

    def bring(self, paths: Sequence[str], below: str) -> Path:
        """Move the files where only they are, unless they have a folder of their own."""
        if below:
            return self._folder / below
        if len(paths) == len(self.paths):
            return self._folder
        target = self._beside / "beside"
        for path in paths:
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            (self._folder / path).rename(target / path)
        return target
