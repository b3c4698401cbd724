"""Clients that disconnect while their request is processed.

TCP reports a closed connection in the same way as a half-close, with which a client only says that
it has finished sending and waits for the answer (RFC 9112, section 9.6). Sending something tells
the two apart: a closed connection answers with a reset. So the server sends an interim answer,
which every HTTP/1.1 client ignores; see docs/decisions/0021-half-closed-connections.md.
"""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from gevent import get_hub

from app.errors import ClientDisconnected
from app.serving.call import Call

# Where the server leaves the `Connection` of a request.
CONNECTION_KEY = "keraport.connection"
# RFC 9110, section 15.2.1: clients that did not ask for it discard it.
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
# Seconds between two checks of a connection that has become readable.
POLL_S = 0.05
_READ = 1  # libev's EV_READ


@dataclass(slots=True)
class Connection:
    """The connection of a request. may_send_interim: whether an interim answer can be sent now."""

    socket: socket.socket
    may_send_interim: Callable[[], bool]


def cancel_on_disconnect(
    environ: dict[str, Any], calls: Sequence[Call]
) -> AbstractContextManager[object]:
    """Cancel `calls` as soon as the client of a request has closed its connection."""
    connection: Connection | None = environ.get(CONNECTION_KEY)
    # Without one it is not our server, but one such as Flask's test client.
    return nullcontext() if connection is None else _Watch(connection, calls)


class _Watch:
    """A context that looks at a connection, in callbacks of the hub, from the moment that it
    becomes readable: it has ended then, or the client has sent its next request early."""

    def __init__(self, connection: Connection, calls: Sequence[Call]) -> None:
        self._connection = connection
        self._calls = calls
        self._probed = False
        self._descriptor = connection.socket.fileno()
        self._timer: Any = None

    def __enter__(self) -> None:
        self._readable = get_hub().loop.io(self._descriptor, _READ)
        self._readable.start(self._start_polling)

    def __exit__(self, *_: object) -> None:
        self._readable.stop()
        self._readable.close()
        if self._timer is not None:
            self._timer.stop()
            self._timer.close()

    def _start_polling(self) -> None:
        self._readable.stop()
        self._poll = select.poll()
        self._poll.register(self._descriptor, select.POLLRDHUP)
        self._timer = get_hub().loop.timer(0.0, POLL_S)
        self._timer.start(self._check)

    def _check(self) -> None:
        events = self._poll.poll(0)
        if not events:
            return
        gone = bool(events[0][1] & (select.POLLERR | select.POLLHUP))
        if not gone and not self._probed and self._connection.may_send_interim():
            gone = not self._probe()
        if gone:
            self._timer.stop()
            for call in self._calls:
                call.cancel(ClientDisconnected("the client closed the connection"))

    def _probe(self) -> bool:
        """Send the interim answer. Return whether the connection still accepts it."""
        try:
            self._probed = os.write(self._descriptor, CONTINUE) > 0
        except BlockingIOError:
            pass  # the client has not yet read the previous answer: try again later
        except OSError:
            return False
        return True
