"""Turns of gRPC calls to have their message read.

HTTP/2 says nothing of the length of a message before it comes, so that each one that is read may
become as large as the limit. As many are read at a time as fit into memory. A message that comes
slowly keeps its turn only while no other call waits for one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
# Seconds after which a message that comes slowly gives way to others.
TURN_S = 1.0


class TooSlow(Exception):
    """A message did not arrive while other calls waited for their turn."""


class Slot:
    """A turn, which ends once."""

    def __init__(self, slots: ReadingSlots) -> None:
        self._slots: ReadingSlots | None = slots

    def end(self) -> None:
        """Let the next one begin."""
        if self._slots is not None:
            slots, self._slots = self._slots, None
            slots._pass_on()


class ReadingSlots:
    """The turns of one asyncio loop. count: how many there are at a time. turn_s: seconds after
    which a turn ends if others wait."""

    def __init__(self, count: int, turn_s: float = TURN_S) -> None:
        self._free = count
        self._turn_s = turn_s
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def read(self, read: Callable[[], Awaitable[T]]) -> tuple[T, Slot]:
        """Return what `read` returns, and its turn, which the caller ends. Raises TooSlow."""
        await self._take()
        slot = Slot(self)
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None, "in a coroutine"
        late = False
        timer: asyncio.TimerHandle

        def give_way() -> None:
            nonlocal late
            if self._waiting:
                late = True
                task.cancel()
            else:
                start()

        def start() -> None:
            nonlocal timer
            timer = loop.call_later(self._turn_s, give_way)

        start()
        try:
            return await read(), slot
        except asyncio.CancelledError:
            slot.end()
            if late:
                raise TooSlow from None
            raise
        except BaseException:
            slot.end()
            raise
        finally:
            timer.cancel()

    async def _take(self) -> None:
        if self._free:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._pass_on()
            else:
                self._waiting.remove(turn)
            raise

    def _pass_on(self) -> None:
        if self._waiting:
            self._waiting.popleft().set_result(None)
        else:
            self._free += 1
