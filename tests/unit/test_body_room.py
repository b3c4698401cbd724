"""Room for bodies: taken in turns, and returned however a request ends."""

from __future__ import annotations

import gevent
import pytest

from app.api.bodies.body_room import SMALL, BodyLease, BodyRoom
from app.errors import Overloaded

MB = 1_000_000


def test_requests_wait_in_their_order() -> None:
    room = BodyRoom(10 * MB)
    assert room.acquire(8 * MB, 1) == 8 * MB
    order: list[str] = []

    def ask(name: str, size: int) -> None:
        room.acquire(size, 5)
        order.append(name)

    greenlets = [gevent.spawn(ask, "large", 9 * MB), gevent.spawn(ask, "small", 1 * MB)]
    gevent.sleep(0.01)
    assert order == []  # the small one does not pass the large one
    room.release(8 * MB)
    gevent.joinall(greenlets)
    assert order == ["large", "small"]


def test_both_sides_of_the_limit() -> None:
    room = BodyRoom(10 * MB)
    room.acquire(6 * MB, 0)
    room.acquire(4 * MB, 0)
    with pytest.raises(Overloaded, match="10 MB"):
        room.acquire(1, 0.01)
    room.release(4 * MB)
    assert room.acquire(4 * MB, 0) == 4 * MB


def test_a_body_larger_than_all_room_has_it_alone() -> None:
    room = BodyRoom(10 * MB)
    assert room.acquire(50 * MB, 0) == 10 * MB


@pytest.mark.parametrize("way", ["deadline", "killed"])
def test_one_that_leaves_holds_up_no_other(way: str) -> None:
    room = BodyRoom(10 * MB)
    room.acquire(8 * MB, 1)
    first = gevent.spawn(room.acquire, 9 * MB, 0.05 if way == "deadline" else 5)
    second = gevent.spawn(room.acquire, 2 * MB, 5)
    gevent.sleep(0.01)
    if way == "killed":
        first.kill()
    assert second.get(timeout=2) == 2 * MB
    room.release(10 * MB)
    assert room.acquire(10 * MB, 0) == 10 * MB


def test_a_lease_is_taken_once_and_given_back_once() -> None:
    room = BodyRoom(10 * MB)
    lease = BodyLease(room)
    lease.acquire(SMALL, 0)
    lease.acquire(10 * MB, 0)
    lease.acquire(10 * MB, 0)
    lease.end()
    lease.end()
    assert room.acquire(10 * MB, 0) == 10 * MB
