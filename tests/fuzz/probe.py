"""One request at a time against a server that is started again when it is frozen or gone."""

from __future__ import annotations

import time
from pathlib import Path

import psutil

from tests.fuzz import framing, oracle
from tests.fuzz.connection import Connection, Exchange
from tests.fuzz.request import Request
from tests.fuzz.state import Server, wrong_lines

Broken = tuple[str, str]
# How long a server gets to answer /livez again, after the request that has frozen it.
BREATH_S = 10.0
# How long it may work on after an answer, and the memory that one request may take meanwhile.
MOST_BUSY_S = 10.0
MOST_MEMORY = 1_000_000_000


class Prober:
    """Sends requests alone and says which rules they break.

    pause_s: the longest that /livez may wait. patience_s: how long an answer may take.
    """

    def __init__(
        self, models: Path, folder: Path, *, pause_s: float, patience_s: float, **settings: object
    ) -> None:
        self._models = models
        self._folder = folder
        self._settings = settings
        self.pause_s = pause_s
        self.patience_s = patience_s
        self.restarts = 0
        # What came back for the request before.
        self.exchange: Exchange | None = None
        self.server = Server(models, folder, **settings)

    def close(self) -> None:
        """End the server, whatever it does."""
        self.server.close()

    def restart(self) -> None:
        """Another server in the place of this one."""
        self.server.close()
        self.restarts += 1
        self.server = Server(self._models, self._folder, **self._settings)

    def revive(self) -> bool:
        """Start another server if this one is gone or frozen. Returns whether it was."""
        if self.server.alive and self.server.breathes(BREATH_S):
            return False
        self.restart()
        return True

    def probe(self, request: Request, patience_s: float | None = None) -> list[Broken]:
        """The rules that this request breaks while nothing else is asked."""
        list(self.server.new_lines())
        memory = self.server.forget_peak()
        began = time.monotonic()
        try:
            exchange, broken = ask(self.server.port, request, patience_s or self.patience_s)
        except OSError as error:
            exchange, broken = None, [("refused", repr(error))]
        time.sleep(0.1)
        try:
            broken += self._after(memory)
        except (psutil.Error, OSError):
            broken.append(("died", self.server.log()[-1000:]))
        broken += self.pauses(began)
        broken += [("log", text) for _, text in wrong_lines(self.server.new_lines())]
        self.exchange = exchange
        if exchange is None or exchange.problem or any(rule == "pause" for rule, _ in broken):
            self.revive()
        return broken

    def _after(self, memory: int) -> list[Broken]:
        """What a request leaves behind: work that goes on, and a peak of memory."""
        broken = []
        if (seconds := self.server.busy_for(MOST_BUSY_S)) >= MOST_BUSY_S:
            broken.append(("busy", f"{seconds:.0f} s after the answer"))
        if (grown := self.server.peak() - memory) > MOST_MEMORY:
            broken.append(("memory", f"+{grown / 1e6:.0f} MB for one request"))
        return broken

    def pauses(self, began: float) -> list[Broken]:
        """The pauses since then that were too long."""
        return [
            ("pause", f"/livez waited {pause.seconds:.1f} s (control {pause.control:.2f} s)")
            for pause in self.server.pauses.since(began)
            if pause.seconds > self.pause_s
        ]


def ask(
    port: int, request: Request, patience: float, connection: Connection | None = None
) -> tuple[Exchange, list[Broken]]:
    """Send a request, on this connection or one of its own, and judge the answer by itself."""
    if request.origin.startswith("framing "):
        exchange, name = framing.exchange(port, request, patience)
        if name == "half-closed":
            return exchange, framing.judge_half_closed(exchange)
        return exchange, framing.judge(name, exchange)
    used = connection or Connection(port, patience)
    try:
        exchange = used.ask(request.wire(), request.method)
    finally:
        if connection is None:
            used.close()
    return exchange, oracle.judge(request, exchange)
