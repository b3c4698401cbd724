"""The turns of calls to have their message read."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from app.server.reading_slots import ReadingSlots, Slot, TooSlow
from tests.loops import run

Read = Callable[[], Awaitable[str]]


async def quick() -> str:
    return "message"


async def endless() -> str:
    await asyncio.Event().wait()
    return ""


def test_as_many_as_there_are_slots() -> None:
    async def main() -> None:
        slots = ReadingSlots(2, turn_s=60)
        first, one = await slots.read(quick)
        _, two = await slots.read(quick)
        third = asyncio.create_task(slots.read(quick))
        fourth = asyncio.create_task(slots.read(quick))
        await asyncio.sleep(0)
        assert first == "message"
        assert not third.done()
        one.end()
        one.end()  # once
        slot = (await third)[1]
        await asyncio.sleep(0)
        assert not fourth.done()
        slot.end()
        await fourth
        two.end()

    run(main())


def test_a_slow_message_gives_way_only_to_others() -> None:
    async def main() -> tuple[str, Slot]:
        slots = ReadingSlots(1, turn_s=0.01)
        slow = asyncio.create_task(slots.read(endless))
        await asyncio.sleep(0.1)
        assert not slow.done()
        found = await slots.read(quick)
        with pytest.raises(TooSlow):
            await slow
        return found

    assert run(main())[0] == "message"


def test_calls_that_end_give_their_turn_back() -> None:
    async def main() -> None:
        slots = ReadingSlots(1, turn_s=60)
        reading = asyncio.create_task(slots.read(endless))
        waiting = asyncio.create_task(slots.read(quick))
        await asyncio.sleep(0)
        waiting.cancel()
        last = asyncio.create_task(slots.read(quick))
        await asyncio.sleep(0)
        reading.cancel()
        assert (await last)[0] == "message"
        for task in (waiting, reading):
            with pytest.raises(asyncio.CancelledError):
                await task

    run(main())


def test_a_turn_that_comes_with_the_end_of_its_call_is_passed_on() -> None:
    async def main() -> None:
        slots = ReadingSlots(1, turn_s=60)
        _, slot = await slots.read(quick)
        waiting = asyncio.create_task(slots.read(quick))
        await asyncio.sleep(0)
        slot.end()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert (await slots.read(quick))[0] == "message"

    run(main())


def test_errors_end_the_turn() -> None:
    async def fail() -> str:
        raise OSError("gone")

    async def main() -> None:
        slots = ReadingSlots(1)
        for _ in range(2):
            with pytest.raises(OSError, match="gone"):
                await slots.read(fail)

    run(main())
