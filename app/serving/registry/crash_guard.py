"""Remembers which models were loading, or in their first run, when the server crashed. A model that
crashes it twice in a row is set aside, so that it cannot take the others down again and again.

A model is suspected after one such end. What is suspected is loaded last and runs first alone, so
that the second end tells for certain which model it was.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from threading import Lock
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.serving.registry.folder import ScannedVersion
from app.serving.registry.state_folder import StateFolder, replica_folders

log = logging.getLogger(__name__)

MOST_ENDS = 2
# In the name of a file, between those of the model and the version; no model has it in its name.
_AT = "@"

Doing = Literal["loading", "running"]
_SAID: dict[Doing, str] = {"loading": "loading {}", "running": "{} ran for the first time"}


class _Record(BaseModel):
    """files: what they were, as a digest. ends: how often in a row the server ended meanwhile.
    doing: what is under way; None between loading and the first run. last: what was, at the last
    end."""

    model_config = ConfigDict(extra="ignore", strict=True)

    files: str
    ends: Annotated[int, Field(ge=0)] = 0
    doing: Doing | None = None
    last: Doing = "loading"


class CrashGuard:
    """The versions that are being tried, and the outcome of earlier processes, kept in `folder`."""

    def __init__(self, folder: StateFolder) -> None:
        self._folder = folder
        self._lock = Lock()  # for the records
        self._alone = Lock()  # held while a suspected model is tried
        self._records: dict[str, _Record] = {}
        for key in folder.names():
            if _AT not in key:
                continue
            try:
                record = _Record.model_validate(folder.read(key))
            except ValidationError:
                folder.remove(key)
                continue
            if record.doing is not None:
                record.last, record.doing = record.doing, None
                record.ends += 1
                self._write(key, record)
                log.error("the server ended while %s", _SAID[record.last].format(key))
            self._records[key] = record

    def set_aside(self, scanned: ScannedVersion) -> str | None:
        """Return why a version is not tried; None unless it is set aside."""
        record = self._record(scanned)
        if record is None or record.ends < MOST_ENDS:
            return None
        doing = _SAID[record.last].format("it")
        return (
            f"set aside: the server ended twice while {doing}; it is tried again once "
            "its files change, on SIGHUP, or after `check` has loaded it"
        )

    def is_released(self, scanned: ScannedVersion) -> bool:
        """Tell whether another process has called `release` for a version that was set aside."""
        return not self._folder.has(version_key(scanned))

    def is_suspected(self, scanned: ScannedVersion) -> bool:
        """Tell whether the server crashed when the version was last tried."""
        record = self._record(scanned)
        return record is not None and 0 < record.ends < MOST_ENDS

    def forget(self, scanned: ScannedVersion) -> None:
        """Try a version as if nothing had happened."""
        with self._lock:
            if self._records.pop(version_key(scanned), None) is not None:
                self._folder.remove(version_key(scanned))

    @contextmanager
    def loading(self, scanned: ScannedVersion) -> Iterator[None]:
        """Mark a version as loading within the block, from any thread. An error is no reason to
        suspect it: the server has survived."""
        try:
            with self._trying(scanned, "loading"):
                yield
        except BaseException:
            self.forget(scanned)
            raise

    @contextmanager
    def first_run(self, scanned: ScannedVersion) -> Iterator[None]:
        """Mark a version as in its first run within the block, in its thread. A run that ends well
        clears it of all suspicion."""
        with self._trying(scanned, "running"):
            yield
        self.forget(scanned)

    def end(self, *, hung: bool) -> None:
        """Record that this process ends in an orderly way, and not because of what is under way.
        hung: it ends because a run does not, so what runs stays under suspicion."""
        with self._lock:
            for key, record in self._records.items():
                if record.doing == "loading" or (record.doing and not hung):
                    record.doing = None
                    self._write(key, record)
            # Threads that still load or run are about to end.
            self._folder.close()

    @contextmanager
    def _trying(self, scanned: ScannedVersion, doing: Doing) -> Iterator[None]:
        with self._alone if self.is_suspected(scanned) else nullcontext():
            key, files = version_key(scanned), files_digest(scanned)
            with self._lock:
                record = self._records.get(key)
                if record is None or record.files != files:
                    record = self._records[key] = _Record(files=files)
                record.doing = doing
                self._write(key, record)
            try:
                yield
            finally:
                with self._lock:
                    record.doing = None
                    if self._records.get(key) is record:
                        self._keep(key, record)

    def _keep(self, key: str, record: _Record) -> None:
        if record.ends:
            self._write(key, record)
        else:
            del self._records[key]
            self._folder.remove(key)

    def _record(self, scanned: ScannedVersion) -> _Record | None:
        with self._lock:
            record = self._records.get(version_key(scanned))
        return record if record is not None and record.files == files_digest(scanned) else None

    def _write(self, key: str, record: _Record) -> None:
        self._folder.write(key, record.model_dump())


def release(events_file: Path | None, name: str, version: int) -> None:
    """Let the replicas that share `events_file` retry a version that they have set aside."""
    if events_file is None:
        return
    for folder in replica_folders(events_file):
        try:
            (folder / f"{name}{_AT}{version}.json").unlink(missing_ok=True)
        except OSError as error:
            log.warning("what was set aside is not released: %s", error)


def version_key(scanned: ScannedVersion) -> str:
    """Return the key under which facts about a version are kept."""
    return f"{scanned.name}{_AT}{scanned.version}"


def files_digest(scanned: ScannedVersion) -> str:
    """Return a digest of names, sizes and times; not of inodes, which may differ in another
    mount."""
    files = [file[:3] for file in (*scanned.files, *scanned.shared)]
    return hashlib.sha256(repr(files).encode(errors="surrogateescape")).hexdigest()[:32]
