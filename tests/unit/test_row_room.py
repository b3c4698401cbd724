"""Room for the rows that files and texts become: what each kind needs, and when it is returned."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import gevent
import pytest

from app.errors import ClientDisconnected, DeadlineExceeded, Overloaded
from app.serving import row_room
from app.serving.call import Call
from app.serving.cards.card import Card
from app.serving.limits import Limits
from app.serving.row_room import SMALL, take_room
from app.serving.tasks import RowTask
from tests.unit.signatures import signature, spec

LIMITS = Limits()
ALL = LIMITS.max_rows_bytes


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    row_room._room.cache_clear()
    yield
    row_room._room.cache_clear()


def call(seconds: float = 5) -> Call:
    return Call(time.monotonic() + seconds)


def test_rows_wait_for_those_of_other_requests() -> None:
    first, second = call(), call()
    take_room(ALL - SMALL, LIMITS, first)
    waiting = gevent.spawn(take_room, 2 * SMALL, LIMITS, second)
    gevent.sleep(0.01)
    assert not waiting.ready()
    first.give_back()
    waiting.get(timeout=2)
    second.give_back()
    # Once is enough.
    second.give_back()
    take_room(ALL, LIMITS, call())


def test_small_rows_wait_for_none() -> None:
    take_room(ALL, LIMITS, call())
    take_room(SMALL, LIMITS, call(0.01))
    with pytest.raises(Overloaded, match="512 MB of decoded pictures, recordings and texts"):
        take_room(SMALL + 1, LIMITS, call(0.01))


def test_more_than_all_room_is_had_alone() -> None:
    large = call()
    take_room(3 * ALL, LIMITS, large)
    with pytest.raises(Overloaded):
        take_room(2 * SMALL, LIMITS, call(0.01))
    large.give_back()
    take_room(2 * SMALL, LIMITS, call(0.01))


@pytest.mark.parametrize("error", [ClientDisconnected("gone"), DeadlineExceeded("late")])
def test_a_request_that_ends_waits_no_longer(error: Any) -> None:
    take_room(ALL, LIMITS, holder := call())
    gone = call()
    waiting = gevent.spawn(take_room, ALL, LIMITS, gone)
    gevent.sleep(0.01)
    # As a watcher of the hub does.
    gevent.get_hub().loop.run_callback(gone.cancel, error)
    with pytest.raises(type(error)):
        waiting.get(timeout=2)
    with pytest.raises(type(error)):
        take_room(ALL, LIMITS, gone)
    holder.give_back()
    take_room(ALL, LIMITS, call(0.01))


@pytest.mark.parametrize(
    ("shape", "dtype", "kind", "rows", "size"),
    [
        ((None, 30, 20, 3), "float32", {"kind": "picture"}, 7, 7 * 30 * 20 * 3),
        ((None, 30, 20), "float32", {"kind": "picture"}, 7, 7 * 30 * 20),
        ((None, None, None, 3), "float32", {"kind": "picture", "size": "own"}, 2, 2 * 3 << 20),
        # All of a request have a limit.
        ((None, None, None, 3), "float32", {"kind": "picture", "size": "own"}, 900, 3 * 64_000_000),
        ((None, 500), "float32", {"kind": "audio", "rate": 8000}, 7, 7 * 500 * 4),
        ((None, None), "float32", {"kind": "audio", "rate": 8000, "seconds": 9}, 7, 7 * 72_000 * 4),
        ((None, None), "float32", {"kind": "audio", "rate": 8000, "seconds": 9}, 900, 16_000_000),
        ((None, 5), "float32", {"kind": "fields"}, 9, 0),
    ],
)
def test_what_rows_need(
    shape: tuple[int | None, ...], dtype: str, kind: dict[str, Any], rows: int, size: int
) -> None:
    outputs: dict[str, Any] = {"y": {"kind": "number"}}
    inputs: dict[str, Any] = {"x": kind}
    made = signature(spec("x", dtype, shape), outputs=(spec("y", shape=(None, 1)),))
    task = RowTask(Card(task=None, inputs=inputs, outputs=outputs), made, LIMITS)
    (taker,) = task.inputs
    assert getattr(taker, "most_bytes", lambda count: 0)(rows) == size
    # The rest of all room is still free, and no more.
    task.take_room({"x": rows}, call())
    used = size if size > SMALL else 0
    take_room(ALL - used, LIMITS, rest := call(0.01))
    with pytest.raises(Overloaded):
        take_room(SMALL + 1, LIMITS, call(0.01))
    rest.give_back()
