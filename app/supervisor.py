"""The parent of a process that loads TensorFlow: a small program that outlives it.

It turns what native code writes to the child's descriptor 2 into lines of the log, the last words
of a crash among them, passes signals on, ends a child whose hub stands still, and ends as the child
does. In a container it is process 1, with which everything else there ends. Only the standard
library, for it must stay small; `app.launch` starts it.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import time
from collections import deque
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from app.hub_watch import HubWatch
from app.lines import Lines
from app.native_output import NativeLine, NativeOutput

# These reach the child. It may have got one itself, as the whole group of a terminal does or all
# processes of a systemd unit: a stop that was passed on comes under another number, so that the
# server does not take the two for a second one, after which it would end at once.
PASSED_ON: dict[signal.Signals, int] = {
    signal.SIGTERM: signal.SIGRTMIN + 1,
    signal.SIGINT: signal.SIGRTMIN + 2,
    **{each: each for each in (signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)},
}
# At which the child writes the stacks of its threads to descriptor 2 (`faulthandler`).
DUMP = signal.SIGRTMIN + 3
# How a process ends that is given up because it hangs (EX_SOFTWARE of sysexits.h): not with 0, so
# that whatever runs it starts it again.
HUNG_EXIT = 70
# Blocked from before the child exists: they wait for `sigwaitinfo`.
BLOCKED = {*PASSED_ON, signal.SIGCHLD}
# `si_code` of what the kernel sends to all processes of a terminal (asm-generic/siginfo.h).
_SI_KERNEL = 0x80
# Most bytes that wait here for a log that takes nothing.
MAX_WAITING = 32_000_000
# How long the last words may take once the child is gone: its own children may hold the pipe.
LAST_WORDS_S = 2.0
WRITING_S = 10.0
# How long the stacks of a child that is given up may take, and how long none of them must come.
STACKS_S = 5.0
QUIET_S = 0.3
_ORDER = ("debug", "info", "warning", "error", "critical")


@dataclass(frozen=True, slots=True)
class Order:
    """What the program has to do. log, lock: those of `Lines`. form: json, text or plain, for a
    person at a terminal. level: the lowest that is logged. replica: part of each line of JSON.
    child: the process that it looks after. output: descriptor from which to read what the child
    writes to its descriptor 2.

    turns: descriptor that says whenever the hub of a server turns; None for a child that is no
    server, which does not know the signals that stand for SIGTERM and SIGINT either. limit_s,
    drain_s: see `HubWatch`."""

    log: int
    lock: int
    form: str
    level: str
    replica: str = ""
    child: int = 0
    output: int = 0
    turns: int | None = None
    limit_s: float = 0.0
    drain_s: float = 0.0

    def to_json(self) -> str:
        """For `main`."""
        return json.dumps(asdict(self))


@dataclass(frozen=True, slots=True)
class _Event:
    level: str
    text: str
    logger: str
    more: dict[str, Any]


class Translation:
    """Reads the pipe in one thread and writes lines of the log in another, so that what the child
    writes never waits for the log."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._lines = Lines(order.log, order.lock)
        # What was read, a number of lines that were dropped, or an event of the supervisor's.
        self._waiting: deque[bytes | int | _Event] = deque()
        self._size = 0
        self._ended = False
        self._held: list[NativeLine] | None = None
        self._changed = threading.Condition()
        self._threads = [
            threading.Thread(target=target, daemon=True) for target in (self._read, self._write)
        ]
        for thread in self._threads:
            thread.start()

    def finish(self) -> None:
        """Once the child is gone: wait for its last words to be in the log."""
        self._threads[0].join(LAST_WORDS_S)
        self._end()
        self._threads[1].join(WRITING_S)

    def _end(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify()

    def _read(self) -> None:
        while data := os.read(self._order.output, 65536):
            with self._changed:
                if self._size + len(data) <= MAX_WAITING:
                    self._waiting.append(data)
                    self._size += len(data)
                else:
                    dropped = data.count(b"\n")
                    if self._waiting and isinstance(last := self._waiting[-1], int):
                        self._waiting[-1] = last + dropped
                    else:
                        self._waiting.append(dropped)
                self._changed.notify()
        self._end()

    def _write(self) -> None:
        output = NativeOutput()
        while (taken := self._take()) is not None:
            if isinstance(taken, _Event):
                self._log(taken)
                continue
            if isinstance(taken, bytes):
                lines = output.feed(taken)
            else:
                text = f"{taken} lines were dropped: the log did not take them in time"
                lines = [*output.end(), NativeLine("error", text)]
            for line in lines:
                self._tell(line)
        for line in output.end():
            self._tell(line)

    def _tell(self, line: NativeLine) -> None:
        with self._changed:
            if self._held is not None:
                self._held.append(line)
                return
        more: dict[str, Any] = {} if line.source is None else {"source": line.source}
        if line.continues:
            more["continues"] = True
        self._log(_Event(line.level, line.text, "native", more))

    def _take(self) -> bytes | int | _Event | None:
        with self._changed:
            while not self._waiting:
                if self._ended:
                    return None
                self._changed.wait()
            taken = self._waiting.popleft()
            if isinstance(taken, bytes):
                self._size -= len(taken)
            return taken

    def hold(self) -> None:
        """Keep the lines that come from now on, for `held`."""
        with self._changed:
            self._held = []

    def held(self) -> str:
        """The lines that have come since `hold`, once no more seem to come."""
        until = time.monotonic() + STACKS_S
        count = 0
        while time.monotonic() < until and (not count or count != len(self._held or ())):
            count = len(self._held or ())
            time.sleep(QUIET_S)
        with self._changed:
            lines, self._held = self._held or [], None
        return "".join(("" if each.continues else "\n") + each.text for each in lines)[1:]

    def add(self, event: _Event) -> None:
        """Log an event after what has been read so far."""
        with self._changed:
            self._waiting.append(event)
            self._changed.notify()

    def _log(self, event: _Event) -> None:
        if _ORDER.index(event.level) >= _ORDER.index(self._order.level):
            self._lines.write(_rendered(event, self._order).encode(errors="backslashreplace"))


def _rendered(event: _Event, order: Order) -> str:
    """As `app.logs` does it."""
    if order.form == "json":
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        head = {"time": now, "level": event.level, "logger": event.logger, "replica": order.replica}
        return json.dumps({**head, "event": event.text, **event.more})
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in event.text)
    if order.form == "plain":
        return f"{event.level}: {text}"
    stack = f"\n{event.more['stack']}" if "stack" in event.more else ""
    keys = "".join(f" {key}={value}" for key, value in event.more.items() if key != "stack")
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    return f"{now} [{event.level:<9}] {text} [{event.logger}]{keys}{stack}"


class Supervisor:
    """Waits for signals, for the end of the child, and for its hub to stand still."""

    def __init__(self, order: Order) -> None:
        self._child = order.child
        self._translation = Translation(order)
        self._watch: HubWatch | None = None
        self._hung = False
        self._signals: queue.SimpleQueue[signal.struct_siginfo] = queue.SimpleQueue()
        if order.turns is not None:
            self._watch = HubWatch(order.turns, order.child, order.limit_s, order.drain_s)

    def run(self) -> int:
        """The exit code, which is the child's, or 128 and the number of the signal that ended it,
        or HUNG_EXIT."""
        every_s = None if self._watch is None else self._watch.every_s
        threading.Thread(target=self._listen, daemon=True).start()
        while (status := self._reaped()) is None:
            try:
                info = self._signals.get(timeout=every_s)
            except queue.Empty:
                info = None
            if self._watch is not None and (reason := self._watch.check()) and not self._hung:
                self._give_up(reason)
            # One from the terminal has reached the child already.
            if info is not None and info.si_signo != signal.SIGCHLD:
                self._signalled(signal.Signals(info.si_signo), here=info.si_code != _SI_KERNEL)
        self._translation.finish()
        if self._hung:
            return HUNG_EXIT
        code = os.waitstatus_to_exitcode(status)
        return code if code >= 0 else 128 - code

    def _listen(self) -> None:
        # Not `sigtimedwait`, whose answer is garbage where its time is up after it was stopped
        # (CPython 3.11).
        while True:
            self._signals.put(signal.sigwaitinfo(BLOCKED))

    def _signalled(self, number: signal.Signals, *, here: bool) -> None:
        """here: only here, not in the child as well."""
        if self._watch is None:
            passed_on: int = number
        else:
            passed_on = PASSED_ON[number]
            if number in (signal.SIGTERM, signal.SIGINT):
                self._watch.stop()
        if here:
            os.kill(self._child, passed_on)

    def _give_up(self, reason: str) -> None:
        self._hung = True
        self._translation.hold()
        os.kill(self._child, DUMP)
        stacks = self._translation.held()
        event = f"{reason}: the process ends, to be started again"
        self._translation.add(_Event("critical", event, "app.supervisor", {"stack": stacks}))
        os.kill(self._child, signal.SIGKILL)

    def _reaped(self) -> int | None:
        """The status of the child, if it has ended. Process 1 has the orphans of others too."""
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid in (0, self._child):
                return status if pid else None


def main() -> None:
    """The whole program. Its last argument is an Order as JSON."""
    os._exit(Supervisor(Order(**json.loads(sys.argv[-1]))).run())
