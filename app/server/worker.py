"""One of several server processes that share a port, and what they know of each other."""

from __future__ import annotations

import mmap
import secrets
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from app.handover import Handover, Stand

_STANDS = tuple(Stand)
# What a worker does with connections: nothing, takes them, takes them and has loaded its models.
CLOSED, ACCEPTING, READY = range(3)


class SharedState:
    """What the workers of a server share in memory. To be made before they are forked.

    process: their identity for other replicas.
    """

    def __init__(self, workers: int) -> None:
        self.process = secrets.token_hex(8)
        # The stand of all, then what each worker does with connections.
        self._bytes = mmap.mmap(-1, 1 + workers)

    @property
    def stand(self) -> Stand:
        """The decision of all workers when the server is asked to stop."""
        return _STANDS[self._bytes[0]]

    @stand.setter
    def stand(self, stand: Stand) -> None:
        self._bytes[0] = _STANDS.index(stand)

    def mark(self, number: int, state: int) -> None:
        """Note what a worker does with connections. number: from 1."""
        self._bytes[number] = state

    @property
    def accepting(self) -> list[int]:
        """The numbers of the workers that take connections."""
        return [number for number in range(1, len(self._bytes)) if self._bytes[number] != CLOSED]

    @property
    def ready(self) -> list[int]:
        """The numbers of those that have loaded their models."""
        return [number for number in range(1, len(self._bytes)) if self._bytes[number] == READY]


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker. number: from 1. listener: of all workers. own: where it alone can be asked.
    siblings: the addresses of the others there, by their numbers."""

    number: int
    shared: SharedState
    listener: socket.socket
    own: socket.socket
    siblings: dict[int, str]

    @property
    def leads(self) -> bool:
        """Whether it decides for all when the server is to stop."""
        return self.number == min(self.shared.accepting, default=self.number)

    @property
    def alone(self) -> bool:
        """Whether no other worker accepts connections."""
        return not {*self.shared.accepting} - {self.number}


class SharedHandover(Handover):
    """The handover of a server with several workers, which is one for all of them."""

    def __init__(self, worker: Worker, limit_s: float, started_s: float) -> None:
        self._shared = worker.shared
        before = self._shared.stand
        super().__init__(limit_s, worker.shared.process, started_s=started_s)
        # A worker that takes the place of another does not change what they have decided.
        self._shared.stand = before

    @property
    def stand(self) -> Stand:
        """The decision of all workers."""
        return self._shared.stand

    @stand.setter
    def stand(self, stand: Stand) -> None:
        self._shared.stand = stand


def made(
    number: int, listener: socket.socket, own: Sequence[socket.socket], shared: SharedState
) -> Worker:
    """Return a worker of several. number: from 1. own: the sockets of all, in turn."""
    addresses = {i: f"http://127.0.0.1:{each.getsockname()[1]}" for i, each in enumerate(own, 1)}
    siblings = {i: address for i, address in addresses.items() if i != number}
    return Worker(number, shared, listener, own[number - 1], siblings)


Start = Callable[[Worker], None]
