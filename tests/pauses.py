"""A server whose hub is watched: how long it pauses while a request is served."""

from __future__ import annotations

import http.client
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conversions import converted
from tests.hub_clock import BUSY, CONTROL, LATE, LIVEZ, SIZE, figures
from tests.largest import Largest
from tests.support import ROOT, ServerProcess, running

# Within it a probe that was under way has ended.
SETTLE_S = 0.03


@dataclass(frozen=True)
class Pauses:
    """The longest of each, in seconds. late: of a timer in the hub. busy: CPU time that the hub has
    worked without a turn. livez, control: the answer of the server, and of a trivial one."""

    late: float
    busy: float
    livez: float
    control: float

    @property
    def longest(self) -> float:
        return max(self.late, self.livez)

    def __str__(self) -> str:
        ms = (f"{1000 * s:7.0f}" for s in (self.late, self.busy, self.livez, self.control))
        return "late {} busy {} livez {} control {} ms".format(*ms)


class Watched:
    """A server, and the clocks beside it."""

    def __init__(self, server: ServerProcess, shared: memoryview[float]) -> None:
        self.server = server
        self._shared = shared

    @contextmanager
    def watching(self) -> Iterator[list[Pauses]]:
        """The list gets the longest pauses within the block."""
        found: list[Pauses] = []
        time.sleep(SETTLE_S)
        for place in (LATE, BUSY, LIVEZ, CONTROL):
            self._shared[place] = 0.0
        yield found
        time.sleep(SETTLE_S)
        found.append(Pauses(*(self._shared[p] for p in (LATE, BUSY, LIVEZ, CONTROL))))

    def ask(self, request: Largest, clients: int = 1) -> tuple[Pauses, Counter[int]]:
        """Send the request so many times at once. Returns the pauses, and how often each status
        came; 0 is a connection that broke."""
        statuses: Counter[int] = Counter()
        body = request.body()
        with self.watching() as found:
            threads = [
                threading.Thread(target=self._send, args=(request, body, statuses))
                for _ in range(clients)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        return found[0], statuses

    def _send(self, request: Largest, body: bytes, statuses: Counter[int]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=200)
        status = 0
        try:
            connection.request("POST", request.path, body or None, dict(request.headers))
            response = connection.getresponse()
            while response.read(1 << 20):
                pass
            status = response.status
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
            statuses[status] += 1


@contextmanager
def watched(
    models: Path, folder: Path, stacks_above_s: float = 0, **settings: Any
) -> Iterator[Watched]:
    """A server over `models`, ready and watched. stacks_above_s: as for `hub_clock.start_clock`."""
    file = folder / "pauses"
    file.write_bytes(bytes(SIZE))
    environ = {"PAUSES_FILE": str(file), "PAUSES_STACKS_ABOVE": str(stacks_above_s)}

    class Process(ServerProcess):
        module = "tests.hub_clock"

    Process.environ = environ
    uploads = folder / "uploads"
    uploads.mkdir(exist_ok=True)
    converted(models)
    with running(Process(models, uploads, **settings)) as server:
        probe = subprocess.Popen(
            [sys.executable, "-m", "tests.probe", str(file), str(server.port)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            assert probe.stdout is not None
            probe.stdout.readline()
            yield Watched(server, figures(file))
        finally:
            probe.communicate(timeout=30)
