"""The parent of a process that loads TensorFlow: a small program that outlives it.

It turns what native code writes to the child's descriptor 2 into lines of the log, the last words
of a crash among them, passes signals on, and ends as the child does. In a container it is process
1, with which everything else there ends. Only the standard library, for it must stay small;
`app.launch` starts it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections import deque
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

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
# Blocked from before the child exists: they wait for `sigtimedwait`.
BLOCKED = {*PASSED_ON, signal.SIGCHLD}
# `si_code` of what the kernel sends to all processes of a terminal (asm-generic/siginfo.h).
_SI_KERNEL = 0x80
# Most bytes that wait here for a log that takes nothing.
MAX_WAITING = 32_000_000
# How long the last words may take once the child is gone: its own children may hold the pipe.
LAST_WORDS_S = 2.0
WRITING_S = 10.0
_ORDER = ("debug", "info", "warning", "error", "critical")


@dataclass(frozen=True, slots=True)
class Order:
    """What the program is told. child: the process that it looks after. output: descriptor from
    which to read what the child writes to its descriptor 2. log, lock: those of `Lines`. form:
    json, text or plain, for a person at a terminal. level: the lowest that is logged. replica:
    part of each line of JSON. serves: whether the child knows the signals that stand for SIGTERM
    and SIGINT."""

    child: int
    output: int
    log: int
    lock: int
    form: str
    level: str
    replica: str
    serves: bool

    def to_json(self) -> str:
        """For `main`."""
        return json.dumps(asdict(self))


class Translation:
    """Reads the pipe in one thread and writes lines of the log in another, so that what the child
    writes never waits for the log."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._lines = Lines(order.log, order.lock)
        self._waiting: deque[bytes | int] = deque()  # what was read, or lines that were dropped
        self._size = 0
        self._ended = False
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
            if isinstance(taken, bytes):
                lines = output.feed(taken)
            else:
                text = f"{taken} lines were dropped: the log did not take them in time"
                lines = [*output.end(), NativeLine("error", text)]
            for line in lines:
                self.write(line)
        for line in output.end():
            self.write(line)

    def _take(self) -> bytes | int | None:
        with self._changed:
            while not self._waiting:
                if self._ended:
                    return None
                self._changed.wait()
            taken = self._waiting.popleft()
            if isinstance(taken, bytes):
                self._size -= len(taken)
            return taken

    def write(self, line: NativeLine) -> None:
        """Log one line, unless its level is too low."""
        if _ORDER.index(line.level) >= _ORDER.index(self._order.level):
            self._lines.write(_rendered(line, self._order).encode(errors="backslashreplace"))


def _rendered(line: NativeLine, order: Order) -> str:
    """As `app.logs` writes an event of that level."""
    if order.form == "json":
        event = {
            "time": datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "level": line.level,
            "logger": "native",
            "replica": order.replica,
            "event": line.text,
        }
        if line.source is not None:
            event["source"] = line.source
        return json.dumps(event | ({"continues": True} if line.continues else {}))
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in line.text)
    if order.form == "plain":
        return f"{line.level}: {text}"
    source = "" if line.source is None else f" source={line.source}"
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} [{line.level:<9}] {text} [native]{source}"


class Supervisor:
    """Waits for signals, and for the end of the child."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._translation = Translation(order)

    def run(self) -> int:
        """The exit code, which is the child's, or 128 and the number of the signal that ended
        it."""
        while (status := self._reaped()) is None:
            info = signal.sigtimedwait(BLOCKED, 3600)
            # One from the terminal has reached the child already.
            if info is None or info.si_code == _SI_KERNEL or info.si_signo == signal.SIGCHLD:
                continue
            self._pass_on(signal.Signals(info.si_signo))
        self._translation.finish()
        code = os.waitstatus_to_exitcode(status)
        return code if code >= 0 else 128 - code

    def _pass_on(self, number: signal.Signals) -> None:
        os.kill(self._order.child, PASSED_ON[number] if self._order.serves else number)

    def _reaped(self) -> int | None:
        """The status of the child, if it has ended. Process 1 has the orphans of others too."""
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid in (0, self._order.child):
                return status if pid else None


def main() -> None:
    """The whole program. Its last argument is an Order as JSON."""
    os._exit(Supervisor(Order(**json.loads(sys.argv[-1]))).run())
