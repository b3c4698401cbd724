"""The hand-over between an asyncio loop and the hub."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from functools import partial
from typing import Any

import gevent
import pytest
from gevent.event import Event

from app.server.hub_calls import HubCalls


def in_a_loop(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """What a coroutine returns or raises in another thread, while the hub of this one turns."""
    outcome: list[Any] = []
    done = Event()
    async_ = gevent.get_hub().loop.async_()
    async_.start(done.set)

    def run() -> None:
        try:
            outcome.append(asyncio.run(coroutine))
        except BaseException as error:
            outcome.append(error)
        async_.send()

    thread = threading.Thread(target=run)
    thread.start()
    assert done.wait(60)
    thread.join()
    async_.stop()
    async_.close()
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]


@pytest.fixture
def calls() -> HubCalls:
    calls = HubCalls()
    calls.open()
    return calls


def test_functions_run_in_greenlets_of_the_hub(calls: HubCalls) -> None:
    here = threading.get_ident()
    ended: list[int] = []

    def wait(turns: int) -> tuple[int, int]:
        for _ in range(turns):
            gevent.sleep(0.001)
        ended.append(turns)
        return turns, threading.get_ident()

    async def main() -> list[tuple[int, int]]:
        return await asyncio.gather(*(calls.run(partial(wait, n)) for n in (20, 0)))

    assert in_a_loop(main()) == [(20, here), (0, here)]
    assert ended == [0, 20]


def test_errors_come_back(calls: HubCalls) -> None:
    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        in_a_loop(calls.run(fail))


def test_a_cancelled_coroutine_cancels_in_a_callback_of_the_hub(calls: HubCalls) -> None:
    """Not in a greenlet, which must not switch to another."""
    began, cancelled = Event(), Event()
    where: list[bool] = []

    def wait() -> None:
        began.set()
        cancelled.wait()

    def cancel() -> None:
        where.append(gevent.getcurrent() is gevent.get_hub())
        cancelled.set()

    async def main() -> None:
        task = asyncio.create_task(calls.run(wait, cancel))
        while not began.is_set():
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        while not where:
            await asyncio.sleep(0.001)

    in_a_loop(main())
    assert where == [True]
