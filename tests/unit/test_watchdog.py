"""Runs that never end: when they are noticed, and which errors the waiting requests get."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any, cast

import gevent
import numpy as np
import pytest

from app.errors import DeadlineExceeded, KeraportError, ModelUnavailable
from app.serving.arrays import Array
from app.serving.call import Call
from app.serving.engine.batcher import Batcher
from app.serving.engine.text_queue import Stream, TextQueue
from app.serving.registry.entry import Entry
from app.serving.registry.watchdog import CHECK_S, Watchdog


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class _Entry(SimpleNamespace):
    __hash__ = object.__hash__  # type: ignore[assignment]  # as entries are distinguished


def entry(*running: int) -> Any:
    return _Entry(hangs=False, model=SimpleNamespace(running=[*running]))


def _watch(limit_s: float, *entries: Any) -> tuple[Watchdog, Clock]:
    clock = Clock()
    return Watchdog(limit_s, lambda: cast(list[Entry], entries), clock), clock


def _seconds(watchdog: Watchdog, clock: Clock, count: int) -> list[list[Entry]]:
    found = []
    for _ in range(count):
        clock.now += CHECK_S
        found.append(watchdog.check())
    return found


def test_a_run_as_long_as_the_limit_is_fine_and_a_longer_one_hangs() -> None:
    slow, idle = entry(1), entry()
    watchdog, clock = _watch(5, slow, idle)
    # Seen at the first second; at the sixth it has lasted for five.
    assert not any(_seconds(watchdog, clock, 6))
    assert _seconds(watchdog, clock, 1) == [[slow]]
    slow.hangs = True  # given up
    assert not any(_seconds(watchdog, clock, 10))


def test_many_runs_in_turn_are_none_that_hangs() -> None:
    busy = entry(1)
    watchdog, clock = _watch(5, busy)
    for began in range(20):
        busy.model.running = [began]
        assert not any(_seconds(watchdog, clock, 5))


def test_either_thread_of_a_model_may_hang() -> None:
    text = entry(1, 2)
    watchdog, clock = _watch(3, text)
    for turn in range(3):
        text.model.running = [10 + turn, 2]
        assert not any(_seconds(watchdog, clock, 1))
    text.model.running = [2]
    assert _seconds(watchdog, clock, 2)[-1] == [text]


def test_a_process_that_stood_still_blames_no_model() -> None:
    watchdog, clock = _watch(60, entry(1))
    assert not any(_seconds(watchdog, clock, 2))
    for _ in range(10):
        clock.now += 3600
        assert not watchdog.check()


def test_it_looks_often_enough_for_a_short_limit() -> None:
    assert _watch(0.5)[0].every_s < 0.25
    assert _watch(120)[0].every_s == CHECK_S


class Held:
    """A run that ends when it is released; of a batch, and of a step."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.began = threading.Event()

    def run(
        self, inputs: Sequence[Array], signature: str | None = None, deadline: float = 0
    ) -> list[Array]:
        self.began.set()
        self.gate.wait(60)
        return list(inputs)

    def zero_states(self, rows: int) -> list[Array]:
        return []

    def step(self, tokens: Array, *rest: Any) -> tuple[Array, list[Array]]:
        self.began.set()
        self.gate.wait(60)
        return tokens, []


@pytest.fixture
def held() -> Iterator[Held]:
    held = Held()
    yield held
    held.gate.set()


def _call() -> Call:
    return Call(time.monotonic() + 60)


def _outcome(result: Any) -> type[KeraportError]:
    with gevent.Timeout(30):
        with pytest.raises(KeraportError, match="hangs") as caught:
            result()
        return caught.type


def _began(held: Held) -> None:
    with gevent.Timeout(30):
        while not held.began.is_set():
            gevent.sleep(0.01)


def test_running_and_waiting_requests_get_different_errors(held: Held) -> None:
    batcher = Batcher(held.run, name="m", max_batch_size=1)
    rows = [np.zeros((1, 1), np.float32)]

    def ask() -> Any:
        call = _call()
        return batcher.submit(rows, call).wait(call)

    assert batcher.running_since is None
    asked = [gevent.spawn(_outcome, ask)]
    gevent.sleep(0)
    _began(held)
    assert batcher.running_since is not None
    asked.append(gevent.spawn(_outcome, ask))
    gevent.sleep(0)
    batcher.abandon()
    gevent.joinall(asked, timeout=30)
    # nginx asks the other replica after the second, and not after the first.
    assert [task.value for task in asked] == [DeadlineExceeded, ModelUnavailable]
    assert _outcome(ask) is ModelUnavailable
    assert batcher.depth == 0
    # What ends after all, ends nothing else.
    held.gate.set()
    gevent.get_hub().threadpool.apply(batcher.close)
    gevent.sleep(0)
    assert batcher.running_since is None


def test_texts_get_the_same_errors(held: Held) -> None:
    queue = TextQueue(held, name="m", max_streams=1)

    def write() -> Any:
        stream = Stream([2], 3, diversity=1.0, top_k=0, random_seed=1)
        queue.start(stream)
        return list(stream.tokens(_call()))

    asked = [gevent.spawn(_outcome, write)]
    gevent.sleep(0)
    _began(held)
    assert queue.running_since is not None
    asked.append(gevent.spawn(_outcome, write))
    gevent.sleep(0)
    queue.abandon()
    gevent.joinall(asked, timeout=30)
    assert [task.value for task in asked] == [DeadlineExceeded, ModelUnavailable]
    assert _outcome(write) is ModelUnavailable
    held.gate.set()
    gevent.get_hub().threadpool.apply(queue.close)
    assert queue.running_since is None
