"""The parent of a process that loads TensorFlow: a small program that outlives it.

It turns what native code writes to the child's descriptor 2 into lines of the log, the last words
of a crash among them, passes signals on, ends a child whose hub stands still, and ends as the child
does. In a container it is process 1, so everything else in it ends too. Only the standard library,
for it must stay small; `app.server.supervisor_launch` starts it.
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

from app.line_writer import LineWriter
from app.native_output import NativeLine, NativeOutput
from app.server.hub_watchdog import HubWatchdog

# These reach the child. It may have got one itself, as the whole group of a terminal does or all
# processes of a systemd unit: a stop that was passed on comes under another number, so that the
# server does not take the two for a second one, after which it would end at once.
PASSED_ON: dict[signal.Signals, int] = {
    signal.SIGTERM: signal.SIGRTMIN + 1,
    signal.SIGINT: signal.SIGRTMIN + 2,
    **{each: each for each in (signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)},
}
# What the parent of several supervisors sends them in the place of a stop, for the same reason: see
# `app.server.workers`. They pass it on as it is.
FROM_PARENT: dict[signal.Signals, int] = {
    signal.SIGTERM: signal.SIGRTMIN + 4,
    signal.SIGINT: signal.SIGRTMIN + 5,
}
_PASSED_ON: dict[int, int] = {int(number): other for number, other in PASSED_ON.items()}
_STOPS = {signal.SIGTERM, signal.SIGINT, *FROM_PARENT.values()}
# At which the child writes the stacks of its threads to descriptor 2 (`faulthandler`).
DUMP = signal.SIGRTMIN + 3
# How a process ends that is given up because it hangs (EX_SOFTWARE of sysexits.h): not with 0, so
# that whatever runs it starts it again.
HUNG_EXIT = 70
# Blocked from before the child exists: they wait for `sigwaitinfo`.
BLOCKED = {*PASSED_ON, *FROM_PARENT.values(), signal.SIGCHLD}
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
_LEVELS = ("debug", "info", "warning", "error", "critical")


@dataclass(frozen=True, slots=True)
class Options:
    """The options of the program, all in its last argument.

    log, lock: those of `LineWriter`. form: json, text or plain, for a person at a terminal. level:
    the lowest that is logged. replica: part of each line of JSON. child: the process that it
    supervises. output: descriptor from which to read what the child writes to its descriptor 2.

    heartbeat: see `HubWatchdog`; None for a child that is no server. limit_s, drain_s: see
    `HubWatchdog`. renames: whether the child knows the signals that stand for SIGTERM and SIGINT.
    """

    log: int
    lock: int
    form: str
    level: str
    replica: str = ""
    child: int = 0
    output: int = 0
    heartbeat: int | None = None
    limit_s: float = 0.0
    drain_s: float = 0.0
    renames: bool = False

    def to_json(self) -> str:
        """Return the argument for `main`."""
        return json.dumps(asdict(self))


@dataclass(frozen=True, slots=True)
class _Event:
    level: str
    text: str
    logger: str
    more: dict[str, Any]


class OutputTranslator:
    """Translates the output of the child into lines of the log.

    One thread reads the pipe and another writes the log, so that the child never waits for the log.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._lines = LineWriter(options.log, options.lock)
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
        """Wait until the last words of a child that has ended are in the log."""
        self._threads[0].join(LAST_WORDS_S)
        self._end()
        self._threads[1].join(WRITING_S)

    def _end(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify()

    def _read(self) -> None:
        while data := os.read(self._options.output, 65536):
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
        while (item := self._next()) is not None:
            if isinstance(item, _Event):
                self._log(item)
                continue
            if isinstance(item, bytes):
                lines = output.feed(item)
            else:
                text = f"{item} lines were dropped: the log did not take them in time"
                lines = [*output.end(), NativeLine("error", text)]
            for line in lines:
                self._log_native(line)
        for line in output.end():
            self._log_native(line)

    def _log_native(self, line: NativeLine) -> None:
        with self._changed:
            if self._held is not None:
                self._held.append(line)
                return
        more: dict[str, Any] = {} if line.source is None else {"source": line.source}
        if line.continues:
            more["continues"] = True
        self._log(_Event(line.level, line.text, "native", more))

    def _next(self) -> bytes | int | _Event | None:
        with self._changed:
            while not self._waiting:
                if self._ended:
                    return None
                self._changed.wait()
            item = self._waiting.popleft()
            if isinstance(item, bytes):
                self._size -= len(item)
            return item

    def hold(self) -> None:
        """Keep the lines that arrive from now on, for `held`."""
        with self._changed:
            self._held = []

    def held(self) -> str:
        """Return the lines that have arrived since `hold`, once no more seem to follow."""
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
        if _LEVELS.index(event.level) >= _LEVELS.index(self._options.level):
            self._lines.write(_rendered(event, self._options).encode(errors="backslashreplace"))


def _rendered(event: _Event, options: Options) -> str:
    """Format an event as `app.logs` does."""
    if options.form == "json":
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        head = {
            "time": now,
            "level": event.level,
            "logger": event.logger,
            "replica": options.replica,
        }
        return json.dumps({**head, "event": event.text, **event.more})
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in event.text)
    if options.form == "plain":
        return f"{event.level}: {text}"
    stack = f"\n{event.more['stack']}" if "stack" in event.more else ""
    keys = "".join(f" {key}={value}" for key, value in event.more.items() if key != "stack")
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    return f"{now} [{event.level:<9}] {text} [{event.logger}]{keys}{stack}"


class Supervisor:
    """Passes signals on, and ends as the child does or once its hub stands still."""

    def __init__(self, options: Options) -> None:
        self._child = options.child
        self._renames = options.renames
        self._output = OutputTranslator(options)
        self._watch: HubWatchdog | None = None
        self._hung = False
        self._signals: queue.SimpleQueue[signal.struct_siginfo] = queue.SimpleQueue()
        if options.heartbeat is not None:
            self._watch = HubWatchdog(
                options.heartbeat, options.child, options.limit_s, options.drain_s
            )

    def run(self) -> int:
        """Run until the child has ended. Returns its exit code, or 128 and the number of the signal
        that ended it, or HUNG_EXIT."""
        every_s = None if self._watch is None else self._watch.every_s
        threading.Thread(target=self._read_signals, daemon=True).start()
        while (status := self._reaped()) is None:
            try:
                info = self._signals.get(timeout=every_s)
            except queue.Empty:
                info = None
            if self._watch is not None and (reason := self._watch.check()) and not self._hung:
                self._give_up(reason)
            # One from the terminal has reached the child already.
            if info is not None and info.si_signo != signal.SIGCHLD:
                self._on_signal(info.si_signo, here=info.si_code != _SI_KERNEL)
        self._output.finish()
        if self._hung:
            return HUNG_EXIT
        code = os.waitstatus_to_exitcode(status)
        return code if code >= 0 else 128 - code

    def _read_signals(self) -> None:
        # Not `sigtimedwait`, whose answer is garbage where its time is up after it was stopped
        # (CPython 3.11).
        while True:
            self._signals.put(signal.sigwaitinfo(BLOCKED))

    def _on_signal(self, number: int, *, here: bool) -> None:
        """here: the signal reached only this process, not the child."""
        passed_on = _PASSED_ON.get(number, number) if self._renames else number
        if self._watch is not None and number in _STOPS:
            self._watch.stop()
        if here:
            os.kill(self._child, passed_on)

    def _give_up(self, reason: str) -> None:
        self._hung = True
        self._output.hold()
        os.kill(self._child, DUMP)
        stacks = self._output.held()
        event = f"{reason}: the process ends, to be started again"
        self._output.add(_Event("critical", event, "app.server.supervisor", {"stack": stacks}))
        os.kill(self._child, signal.SIGKILL)

    def _reaped(self) -> int | None:
        """Return the status of the child if it has ended. Process 1 has the orphans of others
        too."""
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid in (0, self._child):
                return status if pid else None


def main() -> None:
    """Run the program. Its last argument is Options as JSON."""
    os._exit(Supervisor(Options(**json.loads(sys.argv[-1]))).run())
