"""The hand-over from an asyncio loop in another thread to the hub, and back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import gevent

from app.serving.mailbox import Mailbox

T = TypeVar("T")


class HubCalls:
    """Runs functions in the hub, each in a greenlet of its own, for coroutines of another
    thread."""

    def __init__(self) -> None:
        self._mailbox: Mailbox[Callable[[], object]] = Mailbox(_do)

    def open(self) -> None:
        """Take functions from now on, in the hub of this thread."""
        self._mailbox.open()

    async def run(self, function: Callable[[], T], cancel: Callable[[], None] | None = None) -> T:
        """Return what `function` returns, which may block its greenlet. cancel: called in a
        callback of the hub if the coroutine is cancelled meanwhile."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._add(lambda: gevent.spawn(_finish, loop, future, function))
        try:
            result: T = await future
        except asyncio.CancelledError:
            if cancel is not None:
                self._add(cancel)
            raise
        return result

    def _add(self, callback: Callable[[], object]) -> None:
        self._mailbox.add(callback)
        self._mailbox.wake()


def _do(callback: Callable[[], object]) -> None:
    callback()


def _finish(
    loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any], function: Callable[[], object]
) -> None:
    """Run the function, and give its outcome to the future."""
    try:
        result: object = function()
        settle: Callable[[Any], None] = future.set_result
    except Exception as error:
        result, settle = error, future.set_exception

    def deliver() -> None:
        if not future.done():  # cancelled meanwhile
            settle(result)

    with suppress(RuntimeError):  # the loop has ended, with the server
        loop.call_soon_threadsafe(deliver)
