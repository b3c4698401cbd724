"""What has happened to this server and its replicas: starts, stops, models loaded.

One JSON object a line, in a file that replicas may share. Nothing that goes wrong with the file
reaches whoever notes something: serving is more important than remembering.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from app.status.shape import Event, fitting

log = logging.getLogger(__name__)

DAY_S = 24 * 3600
MAX_EVENTS = 1000
# Of a file that somebody else has filled, only the end is read.
MAX_BYTES = 2_000_000
LOCK_PATIENCE_S = 0.5
# In which things happen that happen in one millisecond.
_ORDER = (
    "died",
    "started",
    "failed",
    "not_reloaded",
    "loaded",
    "reloaded",
    "unloaded",
    "hung",
    "stopped",
)


class Journal:
    """The events of the last day. path: of the file; None keeps this process's own in memory.
    replica: the name of this process, its own among those that share the file."""

    def __init__(
        self, path: Path | None, replica: str, clock: Callable[[], float] = time.time
    ) -> None:
        self._path = path
        self._replica = replica
        self._clock = clock
        self._own: deque[Event] = deque(maxlen=MAX_EVENTS)
        self._warned = False
        self._read: tuple[tuple[int, ...], list[Event]] = ((), [])

    def start(self) -> None:
        """Note that this server has started, after one that ended without a word if the last one
        did. Drops what is older than a day from the file."""
        died = False
        if self._path is not None:
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                with _locked(self._path) as fd:
                    found = list(_parsed(_tail(fd)))
                    _rewrite(self._path, _kept(found, self._clock() - DAY_S))
                of_us = [e.kind for e in found if e.replica == self._replica and _of_server(e)]
                died = of_us[-1:] == ["started"]
            except OSError as error:
                self._warn(error)
        if died:
            self.note("died")
        self.note("started")

    def note(
        self,
        kind: str,
        model: str | None = None,
        seconds: float | None = None,
        reason: str | None = None,
    ) -> None:
        """Something has happened, from any thread. kind: see Event."""
        event = Event.model_validate(
            {
                "time": round(self._clock(), 3),
                "replica": self._replica,
                "kind": kind,
                "model": None if model is None else fitting(model),
                "seconds": None if seconds is None else round(seconds, 3),
                "reason": None if reason is None else fitting(reason),
            }
        )
        self._own.append(event)
        if self._path is None:
            return
        line = event.model_dump_json(exclude={"text"}, exclude_none=True).encode() + b"\n"
        try:
            with _locked(self._path) as fd:
                if _is_torn(fd):
                    line = b"\n" + line
                if os.write(fd, line) < len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self._warn(error)

    def events(self) -> list[Event]:
        """What is known of the last day, the newest first. Reads the file if it has changed."""
        found = set(self._own)
        if self._path is not None:
            try:
                found.update(self._of_file(self._path))
            except OSError as error:
                self._warn(error)
        return newest(found, self._clock())

    def _of_file(self, path: Path) -> list[Event]:
        with path.open("rb") as file:
            state = os.fstat(file.fileno())
            version = (state.st_ino, state.st_mtime_ns, state.st_size)
            if self._read[0] != version:
                self._read = version, list(_parsed(_tail(file.fileno())))
        return self._read[1]

    def _warn(self, error: OSError) -> None:
        if not self._warned:
            self._warned = True
            log.warning("events are kept in memory only: %s: %s", self._path, error.strerror)


def newest(events: Iterable[Event], now: float) -> list[Event]:
    """Those of the last day, the newest first."""
    recent = {event for event in events if event.time >= now - DAY_S}
    order = sorted(recent, key=lambda e: (e.time, e.replica, _ORDER.index(e.kind)), reverse=True)
    return order[:MAX_EVENTS]


def _of_server(event: Event) -> bool:
    return event.kind in ("started", "stopped", "died")


def _kept(events: list[Event], since: float) -> list[Event]:
    """What is worth keeping: the recent ones, and each last start that no stop has followed, by
    which its replica knows at its next start that it was killed."""
    last = {event.replica: event for event in events if _of_server(event)}
    running = {event for event in last.values() if event.kind == "started"}
    return [e for e in events if e.time >= since or e in running][-MAX_EVENTS:]


# --- the file -------------------------------------------------------------------------------------


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    """The file, open for reading and appending, while no other replica rewrites it. Raises OSError
    where it cannot be opened; a lock that cannot be had is done without."""
    until = time.monotonic() + LOCK_PATIENCE_S
    while True:
        fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            late = time.monotonic() >= until
            if late or (_lock(fd) and _is_at(path, fd)):
                yield fd
                return
        finally:
            os.close(fd)
        time.sleep(0.01)


def _lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is_at(path: Path, fd: int) -> bool:
    """Whether the file was not replaced between opening and locking it."""
    try:
        return path.stat().st_ino == os.fstat(fd).st_ino
    except FileNotFoundError:
        return False


def _tail(fd: int) -> bytes:
    size = os.fstat(fd).st_size
    return os.pread(fd, MAX_BYTES, max(0, size - MAX_BYTES))


def _is_torn(fd: int) -> bool:
    """Whether the last line has no end: its writer was killed, or the disk was full."""
    size = os.fstat(fd).st_size
    return size > 0 and os.pread(fd, 1, size - 1) != b"\n"


def _parsed(data: bytes) -> Iterator[Event]:
    """The lines that can be read."""
    for line in data.splitlines():
        try:
            yield Event.model_validate_json(line)
        except ValidationError:
            continue


def _rewrite(path: Path, events: list[Event]) -> None:
    new = path.with_name(f"{path.name}.new")
    lines = [e.model_dump_json(exclude={"text"}, exclude_none=True) for e in events]
    new.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    new.replace(path)
