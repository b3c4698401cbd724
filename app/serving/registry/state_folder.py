"""Small facts that outlive the process, one JSON file each, in a folder of this replica.

Nothing that goes wrong with the folder reaches the models: serving is more important than
remembering.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson

log = logging.getLogger(__name__)

# Larger files are not ours.
MAX_BYTES = 1_000_000
_SUFFIX = ".json"


class StateFolder:
    """The facts of one replica, by name. folder: None remembers nothing. The folder belongs to one
    process at a time; a second one with the same name remembers nothing."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._lock: int | None = None
        self._warned = False
        if folder is None:
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.warning("%s belongs to another process: nothing is kept there", folder)
            self.close()
        except OSError as error:
            self._warn(error)
            self.close()

    def close(self) -> None:
        """Leave the folder to another process."""
        self._folder = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def names(self) -> list[str]:
        """List the names of all facts."""
        if self._folder is None:
            return []
        try:
            return sorted(p.stem for p in self._folder.iterdir() if p.suffix == _SUFFIX)
        except OSError as error:
            self._warn(error)
            return []

    def read(self, name: str) -> Any:
        """Return the fact called `name`; None if there is none, or it is damaged."""
        if self._folder is None:
            return None
        try:
            with (self._folder / f"{name}{_SUFFIX}").open("rb") as file:
                return orjson.loads(file.read(MAX_BYTES))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            log.warning("%s/%s%s is ignored: %s", self._folder, name, _SUFFIX, error)
            return None

    def write(self, name: str, fact: Any) -> None:
        """Replace the fact called `name`, atomically. From any thread."""
        if self._folder is None:
            return
        new = self._folder / f".{name}.new"
        try:
            new.write_bytes(orjson.dumps(fact))
            new.replace(self._folder / f"{name}{_SUFFIX}")
        except OSError as error:
            self._warn(error)
            with suppress(OSError):
                new.unlink()

    def remove(self, name: str) -> None:
        """Forget a fact, if there is one."""
        if self._folder is None:
            return
        try:
            (self._folder / f"{name}{_SUFFIX}").unlink(missing_ok=True)
        except OSError as error:
            self._warn(error)

    def has(self, name: str) -> bool:
        """Tell whether there is such a fact; True if that cannot be found out."""
        try:
            return self._folder is None or (self._folder / f"{name}{_SUFFIX}").exists()
        except OSError:
            return True

    def _warn(self, error: OSError) -> None:
        if not self._warned:
            self._warned = True
            log.warning("what must outlive this process is not kept: %s", error)


def replica_folder(events_file: Path | None, replica: str) -> Path | None:
    """Return the folder of a replica: beside the file of events, None if there is none."""
    if events_file is None:
        return None
    # A replica may have any name; two never share a folder.
    digest = hashlib.sha256(replica.encode(errors="surrogateescape")).hexdigest()[:8]
    shown = quote(replica, safe="", errors="surrogateescape").replace("%", "_").lstrip(".")[:40]
    return _all_replicas(events_file) / f"{shown}-{digest}"


def replica_folders(events_file: Path) -> Iterator[Path]:
    """Yield the folders of all replicas that share a file of events."""
    with suppress(OSError):
        yield from sorted(p for p in _all_replicas(events_file).iterdir() if p.is_dir())


def _all_replicas(events_file: Path) -> Path:
    return events_file.with_name(f"{events_file.stem}-models")
