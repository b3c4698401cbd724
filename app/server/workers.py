"""Several server processes on one port (`KERAPORT_WORKERS`), and the process that starts them.

It imports what serving needs, listens, and forks a process a worker, so that the workers share the
memory of what was imported. Each has a supervisor of its own, as a single server has. One that ends
is replaced; signals reach all of them.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import time
import warnings
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NoReturn

from app.server.listener import listen_locally
from app.server.supervisor import BLOCKED, FROM_PARENT, PASSED_ON
from app.server.supervisor_launch import end_with
from app.server.worker import ACCEPTING, CLOSED, SharedState, Start, made

log = logging.getLogger(__name__)

# A worker that ends within so many seconds of its start is replaced later and later, at most after
# LONGEST_WAIT_S.
SHORT_LIFE_S = 10.0
FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 30.0


# What stands for a stop here, and what workers get for it.
_STOPS: dict[int, int] = {
    number: FROM_PARENT[stop] for stop in FROM_PARENT for number in (int(stop), PASSED_ON[stop])
}
_HANDLED = (*_STOPS, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


@dataclass(slots=True)
class _Place:
    """The place of a worker. pid: of its supervisor; None while it has none. due: when the next one
    is to start. short: how many in turn have ended soon after their start."""

    number: int
    pid: int | None = None
    started: float = 0.0
    due: float = 0.0
    short: int = 0


class Workers:
    """The workers of one server.

    listener: of all. start: serves as a worker, in its process, which ends with it.
    """

    def __init__(self, count: int, listener: socket.socket, start: Start) -> None:
        self._start = start
        self._listener = listener
        self._own = [listen_locally() for _ in range(count)]
        self._shared = SharedState(count)
        self._places = [_Place(number) for number in range(1, count + 1)]
        self._signals: deque[int] = deque()
        self._stops: Counter[int] = Counter()
        self._served = self._stopping = False
        self._code = 0

    def run(self) -> int:
        """Run the workers until all have ended. Returns the exit code: 0 if that is theirs, else
        that of the first that failed."""
        awake = self._listen_for_signals()
        # The first answers while models load, the others once theirs are there.
        self._shared.mark(1, ACCEPTING)
        while True:
            self._start_due()
            select.select([awake], [], [], self._wait_s())
            while select.select([awake], [], [], 0)[0]:
                os.read(awake, 1000)
            while self._signals:
                self._pass_on(self._signals.popleft())
            self._reap()
            if not any(place.pid for place in self._places) and self._stopping:
                return self._code

    def _listen_for_signals(self) -> int:
        """Return a descriptor that can be read once a signal has come."""
        awake, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake)
        for number in _HANDLED:
            signal.signal(number, lambda number, frame: self._signals.append(number))
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        return awake

    def _wait_s(self) -> float | None:
        now = time.monotonic()
        due = [place.due - now for place in self._places if place.pid is None]
        return max(0.0, min(due)) if due and not self._stopping else None

    def _start_due(self) -> None:
        for place in self._places:
            if place.pid is None and not self._stopping and time.monotonic() >= place.due:
                place.started = time.monotonic()
                place.pid = self._forked(place.number)

    def _forked(self, number: int) -> int:
        parent = os.getpid()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED)
        with warnings.catch_warnings():
            # Only OpenBLAS has threads here, which are made again in the child.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if not pid:
            self._become(number, parent, before)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return pid

    def _become(self, number: int, parent: int, mask: Iterable[int]) -> NoReturn:
        """Be the worker, in its process. mask: of the signals that it does not block."""
        signal.set_wakeup_fd(-1)
        for each in (*_HANDLED, signal.SIGCHLD):
            signal.signal(each, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        # The supervisor that this process becomes ends with it as well.
        end_with(parent)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        code = 1
        try:
            self._start(made(number, self._listener, self._own, self._shared))
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except Exception:
            log.critical("worker %d cannot start", number, exc_info=True)
        os._exit(code)

    def _pass_on(self, number: int) -> None:
        """Send a signal to all. A stop comes under another number, for a whole group of processes
        may have got it; this one then got it twice, of which the second is no second stop."""
        if number in _STOPS:
            self._stops[number] += 1
            if self._stopping and self._stops[number] == 1:
                return
            self._stopping = True
        for place in self._places:
            if place.pid is not None:
                os.kill(place.pid, _STOPS.get(number, number))

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            # Process 1 has the orphans of others too.
            for place in self._places:
                if place.pid == pid:
                    self._ended(place, os.waitstatus_to_exitcode(status))

    def _ended(self, place: _Place, code: int) -> None:
        place.pid = None
        self._served = self._served or place.number in self._shared.ready
        self._shared.mark(place.number, CLOSED)
        code = code if code >= 0 else 128 - code
        if self._stopping:
            self._code = self._code or code
            return
        if not self._served and code:
            log.critical("worker %d has ended before it served (exit code %d)", place.number, code)
            self._code = code
            self._pass_on(signal.SIGTERM)
            return
        lived = time.monotonic() - place.started
        place.short = place.short + 1 if lived < SHORT_LIFE_S else 0
        wait_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** (place.short - 1)) if place.short else 0.0
        place.due = time.monotonic() + wait_s
        log.error("worker %d has ended (exit code %d): another takes its place", place.number, code)
