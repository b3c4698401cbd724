"""The journal of events of this server and its replicas: starts, stops, models loaded.

One JSON object a line, in a file that replicas may share. No problem with the file reaches the
callers: serving is more important than remembering.
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

from app.status.schema import Event, bounded

log = logging.getLogger(__name__)

DAY_S = 24 * 3600
MAX_EVENTS = 1000
# Only the end of a longer file is read.
MAX_BYTES = 2_000_000
LOCK_TIMEOUT_S = 0.5
# The order of events of the same millisecond.
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
    """The events of the last day.

    path: the file; None keeps the events of this process alone, in memory. replica: the name of
    this process, unique among those that share the file.
    """

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
        """Record that this server has started, and before that the death of the previous one if it
        recorded no stop. Drops events that are older than a day from the file."""
        died = False
        if self._path is not None:
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                with _locked(self._path) as fd:
                    found = list(_parsed(_tail(fd)))
                    _rewrite(self._path, _worth_keeping(found, self._clock() - DAY_S))
                own = [e.kind for e in found if e.replica == self._replica and _is_of_server(e)]
                died = own[-1:] == ["started"]
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
        """Record an event, from any thread. For the parameters see `Event`."""
        event = Event.model_validate(
            {
                "time": round(self._clock(), 3),
                "replica": self._replica,
                "kind": kind,
                "model": None if model is None else bounded(model),
                "seconds": None if seconds is None else round(seconds, 3),
                "reason": None if reason is None else bounded(reason),
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
        """Return the events of the last day, the newest first. Reads the file only if it has
        changed."""
        found = set(self._own)
        if self._path is not None:
            try:
                found.update(self._events_in(self._path))
            except OSError as error:
                self._warn(error)
        return recent(found, self._clock())

    def _events_in(self, path: Path) -> list[Event]:
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


def recent(events: Iterable[Event], now: float) -> list[Event]:
    """Return the events of the last day, the newest first."""
    last_day = {event for event in events if event.time >= now - DAY_S}
    order = sorted(last_day, key=lambda e: (e.time, e.replica, _ORDER.index(e.kind)), reverse=True)
    return order[:MAX_EVENTS]


def _is_of_server(event: Event) -> bool:
    return event.kind in ("started", "stopped", "died")


def _worth_keeping(events: list[Event], since: float) -> list[Event]:
    """Return the events from `since` on, and the last start of each replica that has recorded no
    stop after it: by this the replica knows at its next start that it was killed."""
    last = {event.replica: event for event in events if _is_of_server(event)}
    running = {event for event in last.values() if event.kind == "started"}
    return [e for e in events if e.time >= since or e in running][-MAX_EVENTS:]


# --- the file -------------------------------------------------------------------------------------


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    """Open the file for reading and appending, and keep other replicas from rewriting it.

    Raises OSError if it cannot be opened. If the lock cannot be had in time, continues without.
    """
    until = time.monotonic() + LOCK_TIMEOUT_S
    while True:
        fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            late = time.monotonic() >= until
            if late or (_lock(fd) and _is_same_file(path, fd)):
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


def _is_same_file(path: Path, fd: int) -> bool:
    """Whether the path still leads to the open file, which another replica may have replaced
    before it was locked."""
    try:
        return path.stat().st_ino == os.fstat(fd).st_ino
    except FileNotFoundError:
        return False


def _tail(fd: int) -> bytes:
    size = os.fstat(fd).st_size
    return os.pread(fd, MAX_BYTES, max(0, size - MAX_BYTES))


def _is_torn(fd: int) -> bool:
    """Whether the last line is incomplete: its writer was killed, or the disk was full."""
    size = os.fstat(fd).st_size
    return size > 0 and os.pread(fd, 1, size - 1) != b"\n"


def _parsed(data: bytes) -> Iterator[Event]:
    """Yield the events of the lines that are valid."""
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
