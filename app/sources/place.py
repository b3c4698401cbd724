"""The place of a model in the models folder: versions arrive there whole, and old ones leave.

    models/.pulls/NAME/record.json    what is known of the source
    models/.pulls/NAME/new/           what is arriving; on the same file system, to be renamed
    models/.pulls/NAME/old/           what is leaving
    models/NAME/3/                    a version

The registry passes over hidden names. A process that is killed leaves files in `new` and `old`
only, which the next one removes.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from app.errors import PullError
from app.serving.cards.card import name_problem
from app.serving.cards.versions import version_number
from app.serving.reading.model_files import MODEL_SUFFIXES, holds_model
from app.sources.record import PULLS, PullRecord, read_record, write_record


class Place:
    """Where one model goes, for one process at a time; see `opened`."""

    def __init__(self, models: Path, name: str) -> None:
        self.home = models / name
        self._aside = models / PULLS / name
        self.new = self._aside / "new"
        self._old = self._aside / "old"
        self.record = read_record(self._aside) or PullRecord(name=name)

    def save(self) -> None:
        """Write the record. Raises OSError."""
        write_record(self._aside, self.record)

    def clean(self) -> None:
        """Make `new` empty, put back what an interrupted replacement has taken away, and forget
        versions that someone has removed."""
        if self._old.is_dir():
            for folder in self._old.iterdir():
                if folder.name in self.record.versions and not (self.home / folder.name).exists():
                    folder.rename(self.home / folder.name)
            shutil.rmtree(self._old)
        if self.new.is_dir():
            shutil.rmtree(self.new)
        self.new.mkdir()
        for name in [*self.record.versions]:
            if not (self.home / name).is_dir():
                del self.record.versions[name]
                self.record.tag = ""

    def check(self) -> None:
        """Raise PullError if a model of this name is there that did not come from a source."""
        files = [self.home.with_name(self.home.name + suffix) for suffix in MODEL_SUFFIXES]
        if self.home.is_dir():
            there = (p for p in self.home.iterdir() if p.name not in self.record.shared_files)
            files += [p for p in there if p.suffix.lower() in MODEL_SUFFIXES]
            if holds_model(self.home):
                files.append(self.home)
        for file in files:
            if file.exists():
                raise PullError(
                    f"{file} is a model that did not come from a source: move it away, or choose "
                    "another name"
                )

    def has(self, folder: str, fingerprint: str) -> bool:
        """Tell whether the folder of a version has this content."""
        return self.record.versions.get(folder) == fingerprint

    @property
    def newest(self) -> str | None:
        """The folder of the newest version that came from the source."""
        return max(self.record.versions, key=int, default=None)

    def next_number(self) -> str:
        """Return the number above all versions."""
        known = [*map(int, self.record.versions)]
        if self.home.is_dir():
            known += [n for p in self.home.iterdir() if (n := version_number(p.name)) is not None]
        return str(max(known, default=0) + 1)

    def put(self, source: Path, folder: str, fingerprint: str) -> None:
        """Rename a complete folder to that of a version, which it replaces. Raises PullError where
        that did not come from the source."""
        target = self.home / folder
        known = {name for name in self.record.versions if int(name) == int(folder)}
        if folder not in known and (known or target.exists()):
            raise PullError(f"{target} did not come from the source: move it away")
        _sync_folders(source)
        self.home.mkdir(exist_ok=True)
        # Whenever this process ends, the folder is known to have come from the source, and its
        # content is that of the record, or unknown.
        self.record.versions.setdefault(folder, "")
        self.save()
        self._take_away([folder])
        source.rename(target)
        _sync_folder(self.home)
        self.record.versions[folder] = fingerprint
        self.save()

    def put_files(self, folder: Path, fingerprint: str) -> None:
        """Move the files below `folder` beside the numbered folders, each at once."""
        paths = sorted(p.relative_to(folder) for p in folder.rglob("*") if p.is_file())
        self.home.mkdir(exist_ok=True)
        self.record.shared_files = [*map(str, paths)]
        self.save()
        for path in paths:
            (self.home / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).replace(self.home / path)
        self.record.shared = fingerprint

    def keep(self, folders: Collection[str]) -> list[str]:
        """Remove all versions that came from the source, except for these. Returns the removed."""
        gone = [name for name in self.record.versions if name not in folders]
        for name in gone:
            del self.record.versions[name]
        self.save()
        self._take_away(gone)
        shutil.rmtree(self._old, ignore_errors=True)
        return gone

    def remove_all(self) -> Sequence[str]:
        """Remove everything that came from the source."""
        gone = self.keep(())
        for path in self.record.shared_files:
            (self.home / path).unlink(missing_ok=True)
        self.record.shared, self.record.shared_files, self.record.tag = "", [], ""
        if self.home.is_dir() and not any(self.home.iterdir()):
            self.home.rmdir()
        return gone

    def _take_away(self, folders: Iterable[str]) -> None:
        for folder in folders:
            if (self.home / folder).exists():
                self._old.mkdir(exist_ok=True)
                (self.home / folder).rename(self._old / folder)


def prepare(models: Path) -> None:
    """Make the folder of all records. Raises PullError if there is no models folder, or this user
    may not write there: then not even a record can say so."""
    if not models.is_dir():
        raise PullError(f"there is no folder {str(models)!r}: set KERAPORT_MODELS_DIR")
    folder = models / PULLS
    try:
        folder.mkdir(exist_ok=True)
        writable = all(os.access(each, os.W_OK | os.X_OK) for each in (models, folder))
        reason = None if writable else os.strerror(errno.EACCES)
    except OSError as error:
        reason = error.strerror
    if reason is not None:
        raise PullError(f"user {os.getuid()} cannot write into {models}: {reason}")


@contextmanager
def opened(models: Path, name: str) -> Iterator[Place]:
    """Open the place of the model `name`. Raises PullError if the name cannot be served, the folder
    cannot be written, or another process has the place."""
    if problem := name_problem(name):
        raise PullError(f"{name!r}: {problem}")
    prepare(models)
    aside = models / PULLS / name
    try:
        aside.mkdir(exist_ok=True)
        lock = os.open(aside, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise PullError(f"{aside} cannot be made by user {os.getuid()}: {error.strerror}") from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PullError(f"another process is fetching {name!r}") from None
        yield Place(models, name)
    finally:
        os.close(lock)


def _sync_folders(folder: Path) -> None:
    for each in (folder, *(p for p in folder.rglob("*") if p.is_dir())):
        _sync_folder(each)


def _sync_folder(folder: Path) -> None:
    """Let no loss of power undo the names of what is in it."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
