"""How long the server does not answer `/livez`, measured from a process of its own.

`python livez.py PORT` prints a JSON list for each time that it had to wait: when the wait began
and ended (CLOCK_MONOTONIC, in seconds, which all processes share) and how late the measuring
process itself woke just before and after, as a control: on a loaded machine both are late. It
prints at least one line a second while the server answers. It imports nothing of this project, so
that it starts at once.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

EVERY_S = 0.01
# Shorter waits are not told.
LEAST_S = 0.1


@dataclass(frozen=True, slots=True)
class Pause:
    """From when to when the server did not answer, and how late the control was meanwhile."""

    began: float
    ended: float
    control: float

    @property
    def seconds(self) -> float:
        """How much longer the server took than the machine itself was late."""
        return self.ended - self.began - self.control


class Pauses:
    """Watches the server on `port` until it is closed."""

    def __init__(self, port: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", str(Path(__file__)), str(port)], stdout=subprocess.PIPE
        )
        # More are not kept: the longest is, and those of the last requests.
        self._recent: deque[Pause] = deque(maxlen=200)
        self.longest = Pause(0, 0, 0)
        self._heard = time.monotonic()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            pause = Pause(*json.loads(line))
            self._heard = time.monotonic()
            if pause.ended - pause.began >= LEAST_S:
                self._recent.append(pause)
                self.longest = max(self.longest, pause, key=lambda p: p.seconds)

    @property
    def silent_for(self) -> float:
        """Seconds in which the server has not answered, more or less."""
        return time.monotonic() - self._heard

    def since(self, began: float) -> list[Pause]:
        """The pauses that had not ended at `began`, also one that lasts."""
        found = [pause for pause in list(self._recent) if pause.ended >= began]
        if self.silent_for > 2:
            found.append(Pause(self._heard, time.monotonic(), 0))
        return found

    def close(self) -> None:
        """End the process that measures."""
        self._process.kill()
        self._process.wait(30)
        self._thread.join(30)
        if self._process.stdout is not None:
            self._process.stdout.close()


def _measure(port: int) -> None:
    connection: socket.socket | None = None
    told = 0.0
    while True:
        before = _lateness()
        began = time.monotonic()
        try:
            if connection is None:
                connection = socket.create_connection(("127.0.0.1", port), timeout=600)
            connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
            if not connection.recv(65536):
                raise ConnectionResetError
        except OSError:
            connection = None
            time.sleep(0.1)
            continue
        ended = time.monotonic()
        wait = ended - began
        if wait >= LEAST_S or ended - told > 0.5:
            after = _lateness()
            print(json.dumps([began, ended, max(before, after)]), flush=True)
            told = ended


def _lateness() -> float:
    """Seconds that a short sleep takes too long."""
    began = time.monotonic()
    time.sleep(EVERY_S)
    return time.monotonic() - began - EVERY_S


if __name__ == "__main__":
    _measure(int(sys.argv[1]))
