"""The protocol by which replicas that get SIGTERM together keep one of them serving.

`docker compose restart` sends SIGTERM to all of them at once. Each one then asks its peers for
their state, and ends only once it has seen another one serve. The protocol knows no network and no
clock of its own: `app.server.handover_client` asks, `app.server.server` waits.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

log = logging.getLogger(__name__)

# Seconds between two requests to the peers.
ASK_S = 0.25
# Seconds without an answer after which no peer is expected to come back, on a fast machine. Docker
# starts a container again within two seconds, and its server answers two seconds later.
GONE_S = 6.0
# The same on a slow machine, as a multiple of the time that this process took to start.
GONE_STARTS = 3.0


class Stand(StrEnum):
    """The decision of a replica.

    staying: it was asked to stop, and serves until another one is ready. leaving: it ends, whatever
    the others do.
    """

    SERVING = "serving"
    UNDECIDED = "undecided"
    STAYING = "staying"
    LEAVING = "leaving"


@dataclass(frozen=True, slots=True)
class Peer:
    """The state of a replica, by its own answer.

    process: its identity, which no two processes share. ready: whether it has tried every model.
    """

    process: str
    ready: bool
    stand: Stand


class Handover:
    """The part of one process in the protocol.

    No two processes leave because of each other. A process leaves for a peer that serves or stays,
    as seen in an answer that was asked for after its own stand had become `undecided`, and changes
    from `staying` only to `undecided`. Whichever of two asked later has therefore seen the other
    one undecided or leaving. Of several undecided replicas, the one with the greatest `process`
    stays.

    process: see `Peer`. limit_s: how long to stay at most. started_s: how long this process took to
    start, as a peer on the same machine will.
    """

    def __init__(
        self,
        limit_s: float = 0.0,
        process: str | None = None,
        clock: Callable[[], float] = time.monotonic,
        started_s: float = 0.0,
    ) -> None:
        self.process = process or secrets.token_hex(8)
        self.stand = Stand.SERVING
        self._limit_s = limit_s
        self._gone_s = max(GONE_S, GONE_STARTS * started_s)
        self._clock = clock
        self._began = self._answered = 0.0

    def stop(self) -> None:
        """Record that the process was asked to stop."""
        self._began = self._answered = self._clock()
        self.stand = Stand.UNDECIDED

    def heard(self, peers: Iterable[Peer]) -> str | None:
        """Take the answers of those peers that gave one, all asked for since the call before.
        Returns why this process leaves now, or None while it serves."""
        others = [peer for peer in peers if peer.process != self.process]
        now = self._clock()
        if others:
            self._answered = now
        reason = self._decided(others)
        if reason is None and now - self._answered >= self._gone_s:
            reason = f"no other replica has answered for {self._gone_s:.1f} s"
        if reason is None and now - self._began >= self._limit_s:
            reason = f"no other replica became ready within {self._limit_s:g} s"
        if reason is not None:
            self.stand = Stand.LEAVING
        return reason

    def _decided(self, others: list[Peer]) -> str | None:
        serving = any(peer.ready and peer.stand is Stand.SERVING for peer in others)
        staying = [peer.process for peer in others if peer.stand is Stand.STAYING]
        if self.stand is Stand.UNDECIDED:
            if serving or staying:
                return "another replica serves"
            rivals = [peer.process for peer in others if peer.stand is Stand.UNDECIDED]
            if self.process > max(rivals, default=""):
                self.stand = Stand.STAYING
                log.info("serving until another replica is ready")
        elif serving or self.process < max(staying, default=""):
            # Asks once more before it leaves.
            self.stand = Stand.UNDECIDED
        return None
