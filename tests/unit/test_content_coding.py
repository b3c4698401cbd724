"""Bodies with a Content-Encoding."""

from __future__ import annotations

import gzip
import threading
import time
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.bodies.content_coding import INPUT, MAX_MEMBERS, OUTPUT, decompress
from app.errors import BadRequest, DeadlineExceeded

LIMIT = 10_000_000
EMPTY = gzip.compress(b"")


def unpack(data: bytes, limit: int = LIMIT, coding: str = "gzip") -> bytes:
    return decompress(data, coding, limit, lambda: None)


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=30))
def test_all_parts_are_read(parts: list[bytes]) -> None:
    assert unpack(b"".join(map(gzip.compress, parts))) == b"".join(parts)
    assert unpack(zlib.compress(parts[0]), coding="deflate") == parts[0]


@pytest.mark.parametrize("level", [0, 6, 9])
@pytest.mark.parametrize("size", [INPUT - 1, INPUT, OUTPUT, OUTPUT + 1, 3 * OUTPUT, LIMIT - 1])
def test_sizes_around_those_of_slices(level: int, size: int) -> None:
    data = bytes(range(251)) * (size // 251 + 1)
    assert unpack(gzip.compress(data[:size], level) + EMPTY) == data[:size]
    assert unpack(gzip.compress(bytes(size), level)) == bytes(size)


@pytest.mark.parametrize("size", [LIMIT - 1, LIMIT, LIMIT + 1, 50 * LIMIT])
def test_no_more_than_the_limit_comes_out(size: int) -> None:
    assert len(unpack(gzip.compress(bytes(size)))) == min(size, LIMIT)


def test_what_is_cut_off_or_something_else() -> None:
    whole = gzip.compress(bytes(range(256)) * 100)
    for end in (*range(1, 40), len(whole) - 8, len(whole) - 1):
        with pytest.raises(BadRequest, match="ends before its gzip data does"):
            unpack(whole[:end])
        with pytest.raises(BadRequest):
            unpack(whole + whole[:end])
    for data in (b"no", b"[1, 2]", whole + b"garbage"):
        with pytest.raises(BadRequest, match="is not gzip"):
            unpack(data)
    assert unpack(b"") == b""


def test_parts_have_a_limit() -> None:
    assert unpack(EMPTY * MAX_MEMBERS) == b""
    for more in (1, 740_000):
        with pytest.raises(BadRequest, match="more than 10000 parts"):
            unpack(EMPTY * (MAX_MEMBERS + more))


@pytest.mark.parametrize(
    "data",
    [EMPTY * 8000, b"".join([gzip.compress(bytes(700))] * 8000), gzip.compress(bytes(LIMIT - 1))],
    ids=["empty parts", "small parts", "a bomb"],
)
def test_the_time_is_linear(data: bytes) -> None:
    """Of the processor, against a quarter of it: a quadratic reader takes 16 times."""
    whole = zlib.decompress(data, 31) if len(data) < 20_000 else b""
    quarter = gzip.compress(whole[: len(whole) // 4]) if whole[1:] else data[: len(data) // 4]

    def seconds(data: bytes) -> float:
        started = time.thread_time()
        unpack(data)
        return time.thread_time() - started

    short, long = (min(seconds(d) for _ in range(3)) for d in (quarter, data))
    assert long < 10 * short + 0.05


def test_the_work_ends_when_it_is_given_up() -> None:
    calls = 0

    def check() -> None:
        nonlocal calls
        calls += 1
        if calls > 5:
            raise DeadlineExceeded("over")

    with pytest.raises(DeadlineExceeded):
        decompress(gzip.compress(bytes(LIMIT)), "gzip", 100 * LIMIT, check)
    assert calls == 6
    calls = 0
    with pytest.raises(DeadlineExceeded):
        decompress(EMPTY * 1000, "gzip", LIMIT, check)


def test_other_threads_have_their_turns() -> None:
    """The interpreter lock is held for a slice at a time."""
    data = gzip.compress(bytes(20 * LIMIT))
    worker = threading.Thread(target=unpack, args=(data, 20 * LIMIT))
    worker.start()
    turns = 0
    while worker.is_alive():
        time.sleep(0.001)
        turns += 1
    assert turns >= 5
