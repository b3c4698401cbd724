"""A request made as small as it can be while it still breaks its rule."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from tests.fuzz.request import Piece, Request

Breaks = Callable[[Request], bool]


def minimised(request: Request, breaks: Breaks, *, seconds: float = 30) -> Request | None:
    """The smallest found within the time, or None where even the whole does not break the rule.

    Repetitions grow from few to all, since the largest may freeze the server for minutes; then
    headers and bytes are left out by halves (delta debugging).
    """
    until = time.monotonic() + seconds
    found = _grown(request, breaks, until)
    if found is None or request.origin.startswith("framing "):
        return found
    for i in reversed(range(len(found.headers))):
        less = replace(found, headers=found.headers[:i] + found.headers[i + 1 :])
        if time.monotonic() < until and breaks(less):
            found = less
    for i in reversed(range(len(found.body))):
        if len(found.body) > 1 and time.monotonic() < until:
            less = replace(found, body=found.body[:i] + found.body[i + 1 :])
            if breaks(less):
                found = less
    for i, piece in enumerate(found.body):
        if piece.times == 1:
            found = _shorter(found, i, breaks, until)
    return found


def _grown(request: Request, breaks: Breaks, until: float) -> Request | None:
    """With as few repetitions as break the rule, to a factor of 2, or all where time is over."""
    most = max((piece.times for piece in request.body), default=1)
    share = 1 / most
    while share < 1 and time.monotonic() < until:
        pieces = (replace(piece, times=max(1, int(piece.times * share))) for piece in request.body)
        less = replace(request, body=tuple(pieces))
        if less != request and breaks(less):
            return less
        share *= 2
    return request if breaks(request) else None


def _shorter(request: Request, i: int, breaks: Breaks, until: float) -> Request:
    """Without the bytes of piece `i` that are not needed."""
    data = request.body[i].data
    step = len(data) // 2
    while step and time.monotonic() < until:
        at = 0
        while at < len(data) and time.monotonic() < until:
            less = data[:at] + data[at + step :]
            made = replace(request, body=(*request.body[:i], Piece(less), *request.body[i + 1 :]))
            if breaks(made):
                request, data = made, less
            else:
                at += step
        step //= 2
    return request
