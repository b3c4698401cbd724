"""Large bodies are read in native threads, slice by slice, while the hub runs."""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import gevent
import pytest

from app.errors import BadRequest, ClientDisconnected, DeadlineExceeded
from app.json_body import read_json
from app.serving.call import Call
from app.serving.large_bodies import SMALL, run_large
from app.serving.limits import Limits
from app.serving.signature import TensorSpec
from app.serving.tasks.tables.csv_table import read_table
from app.serving.tensors import from_nested
from app.thread_slices import checkpoint, working


def call(seconds: float = 60) -> Call:
    return Call(time.monotonic() + seconds)


def test_small_work_stays_in_the_thread_and_large_work_does_not() -> None:
    here = threading.get_ident()
    assert run_large(SMALL, threading.get_ident, call()) == here
    assert run_large(SMALL + 1, threading.get_ident, call()) != here


@pytest.mark.parametrize("size", [0, 10 * SMALL])
def test_errors_come_back(size: int) -> None:
    def work() -> None:
        raise BadRequest("no")

    with pytest.raises(BadRequest, match="no"):
        run_large(size, work, call())


def endless(seen: list[int]) -> None:
    while True:
        seen.append(1)
        checkpoint()
        time.sleep(0.001)


def test_work_ends_with_its_deadline() -> None:
    seen: list[int] = []
    with pytest.raises(DeadlineExceeded):
        run_large(10 * SMALL, partial(endless, seen), call(0.05))
    gevent.sleep(0.1)
    count = len(seen)
    gevent.sleep(0.1)
    assert len(seen) == count > 0


def test_work_ends_when_the_client_is_gone() -> None:
    mine, seen = call(), list[int]()
    gevent.spawn_later(0.05, mine.cancel, ClientDisconnected("gone"))
    with pytest.raises(ClientDisconnected):
        run_large(10 * SMALL, partial(endless, seen), mine)


def test_what_waits_for_a_thread_gets_its_error_in_time() -> None:
    stop = threading.Event()

    def held() -> None:
        stop.wait(30)

    greenlets = [gevent.spawn(run_large, 10 * SMALL, held, call()) for _ in range(10)]
    gevent.sleep(0.05)
    begin = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        run_large(10 * SMALL, lambda: None, call(0.1))
    assert time.monotonic() - begin < 10
    stop.set()
    gevent.joinall(greenlets, timeout=30, raise_error=True)


def test_a_tree_is_taken_apart_when_the_work_ends() -> None:
    text = b"[" + b'{"a":[1,2,[3]]},' * 20_000 + b'{"k":{"x":[[1]]}}]'
    kept: list[Any] = []

    def work() -> None:
        kept.append(read_json(text, 9))
        raise BadRequest("no")

    with pytest.raises(BadRequest):
        run_large(len(text), work, call())
    assert kept == [[]]
    # Outside of such work it is the caller's.
    assert len(read_json(text, 9)) == 20_001


def test_no_full_collection_during_large_work() -> None:
    usual = gc.get_threshold()
    switch = sys.getswitchinterval()
    with working(lambda: None):
        assert gc.get_threshold()[:2] == usual[:2]
        assert gc.get_threshold()[2] > 1_000_000
        assert sys.getswitchinterval() < switch
        with pytest.raises(BadRequest):
            read_json(b"[" * 100_000, 9)
    assert (gc.get_threshold(), sys.getswitchinterval()) == (usual, switch)


ANY = TensorSpec("x", "", "float32", None)
# What is read, and how.
KINDS: dict[str, tuple[Any, Callable[[Any], Any]]] = {
    "JSON": (b"[" + b"[0.5,1e3,[]]," * 1_000_000 + b"[]]", lambda text: read_json(text, 9)),
    "NaN": (b"[" + b"[NaN,1]," * 500_000 + b"1]", lambda text: read_json(text, 9, nan=True)),
    "an array": ([[0.5, 1e3, 3]] * 1_000_000, lambda rows: from_nested(rows, ANY)),
    "CSV": (b"a,b\n" + b"1,2\n" * 100_000, lambda data: read_table(data, ["a", "b"], Limits())),
    "blank lines": (b"\n" * 8_000_000 + b"a\n1", lambda data: read_table(data, ["a"], Limits())),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_hub_turns_meanwhile(kind: str) -> None:
    body, read = KINDS[kind]
    longest, last = 0.0, time.monotonic()
    greenlet = gevent.spawn(run_large, 10 * SMALL, lambda: read(body) is not None, call())
    begin = time.monotonic()
    while not greenlet.ready():
        gevent.sleep(0.001)
        now = time.monotonic()
        longest, last = max(longest, now - last), now
    assert greenlet.get()
    # In one piece it would be all of the time.
    assert longest < 0.3 * (time.monotonic() - begin) + 0.1
