"""Streams over a real session: how they join and leave, and what goes wrong."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gevent
import keras
import numpy as np
import pytest

from app.errors import ClientDisconnected, DeadlineExceeded, ModelUnavailable, NonFiniteOutput
from app.serving.call import Call
from app.serving.cards.card import Runtime
from app.serving.engine.sessions.text_session import TextSession
from app.serving.engine.text_queue import Stream, TextQueue
from app.serving.signature import GenerationRequest
from tests.conversions import shared_reader
from tests.models import save_text_model

NAN_WORD = 7


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TextSession]:
    """A model with random weights, which outputs NaN after the word 7."""
    folder = tmp_path_factory.mktemp("streams") / "writer"
    save_text_model(folder)
    model = keras.models.load_model(folder / "model.keras")
    table = np.array(model.layers[0].embeddings)
    table[NAN_WORD] = np.nan
    model.layers[0].embeddings.assign(table)
    model.save(folder / "model.keras")
    reader = shared_reader()
    request = GenerationRequest(never=(0, 1, NAN_WORD), window=20)
    with reader.convert(folder / "model.keras", trusted=False, generation=request) as converted:
        assert converted.generation is not None
        assert converted.generation.kind == "step"
        session = TextSession(converted.generation, Runtime(max_batch_size=4))
    yield session
    session.close()


@pytest.fixture
def queue(session: TextSession) -> Iterator[TextQueue]:
    queue = TextQueue(session, name="writer", max_streams=4)
    yield queue
    gevent.get_hub().threadpool.apply(queue.close)


def stream(seed: Sequence[int] = (2, 3), count: int = 20, random_seed: int = 1) -> Stream:
    return Stream(seed, count, diversity=1.0, top_k=0, random_seed=random_seed)


def call(seconds: float = 30) -> Call:
    return Call(time.monotonic() + seconds)


def _started(queue: TextQueue, *args: Any, **kwargs: Any) -> Stream:
    started = stream(*args, **kwargs)
    queue.start(started)
    return started


def text(queue: TextQueue, *args: Any, **kwargs: Any) -> list[int | None]:
    return list(_started(queue, *args, **kwargs).tokens(call()))


def _idle(queue: TextQueue) -> None:
    until = time.monotonic() + 10
    while queue.texts:
        assert time.monotonic() < until, "a place was not given back"
        gevent.sleep(0.01)


def test_as_many_tokens_as_asked_for(queue: TextQueue) -> None:
    for count in (1, 2, 50):
        assert len(text(queue, count=count)) == count
    _idle(queue)


def test_company_does_not_change_a_text(queue: TextQueue) -> None:
    """Ten over four places, with seeds of all lengths."""
    seeds = [list(range(10, 11 + i)) for i in range(10)]
    alone = [text(queue, seed, random_seed=i) for i, seed in enumerate(seeds)]
    jobs = [gevent.spawn(text, queue, seed, random_seed=i) for i, seed in enumerate(seeds)]
    gevent.joinall(jobs, raise_error=True)
    assert [job.value for job in jobs] == alone


def test_a_stream_that_leaves_gives_its_place_to_the_next(queue: TextQueue) -> None:
    left = [stream(count=100_000, random_seed=i) for i in range(4)]
    readers: list[Any] = [s.tokens(call()) for s in left]
    for started in left:
        queue.start(started)
    for reader in readers:
        next(reader)
    waiting = gevent.spawn(text, queue, count=5)
    gevent.sleep(0.1)
    assert not waiting.ready(), "there was a fifth place"
    readers[0].close()
    assert len(waiting.get(timeout=10)) == 5
    for reader in readers[1:]:
        reader.close()
    _idle(queue)


def test_a_cancelled_call_ends_its_stream_only(queue: TextQueue) -> None:
    cancelled, other = call(), gevent.spawn(text, queue, count=200)
    started = stream(count=100_000)
    queue.start(started)
    reader = started.tokens(cancelled)
    next(reader)
    cancelled.cancel(ClientDisconnected("gone"))
    with pytest.raises(ClientDisconnected):
        list(reader)
    assert len(other.get(timeout=20)) == 200
    _idle(queue)


def test_a_deadline_counts_from_the_call(queue: TextQueue) -> None:
    """However long the hub was blocked, by a model that was loading for example."""
    gevent.sleep(0.01)
    time.sleep(2.2)
    assert len(list(_started(queue, count=1).tokens(call(2)))) == 1


def test_a_deadline_ends_a_stream(queue: TextQueue) -> None:
    started = stream(count=100_000)
    queue.start(started)
    with pytest.raises(DeadlineExceeded):
        list(started.tokens(call(0.2)))
    _idle(queue)


def test_nan_ends_the_text_that_it_is_in_and_no_other(queue: TextQueue) -> None:
    other = gevent.spawn(text, queue, count=50)
    with pytest.raises(NonFiniteOutput):
        text(queue, [2, NAN_WORD])
    assert len(other.get(timeout=10)) == 50
    _idle(queue)


def test_heartbeats_while_nothing_comes(queue: TextQueue) -> None:
    running = [stream(count=100_000, random_seed=i) for i in range(4)]
    for started in running:
        queue.start(started)
    waiting = stream()
    queue.start(waiting)
    reader = waiting.tokens(call(), heartbeat_s=0.05)
    assert [next(reader), next(reader)] == [None, None]
    for started in running:
        started.over = True
    assert [token for token in reader if token is not None]


def test_an_error_of_the_model_ends_all_that_run_but_not_the_thread(
    queue: TextQueue, session: TextSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(session, "step", lambda *args: 1 / 0)
        with pytest.raises(Exception, match="division by zero"):
            text(queue)
    assert len(text(queue)) == 20


def test_a_closed_generator_finishes_and_takes_no_more(session: TextSession) -> None:
    queue = TextQueue(session, name="writer", max_streams=4)
    started = stream(count=200)
    queue.start(started)
    gevent.get_hub().threadpool.apply(queue.close)
    assert len(list(started.tokens(call()))) == 200
    with pytest.raises(ModelUnavailable):
        queue.start(stream())


def test_windows_are_padded_on_the_left(tmp_path: Path) -> None:
    """A model without a step reads the last tokens once per word."""

    class Recorder:
        def __init__(self) -> None:
            self.seen: list[list[int]] = []

        def zero_states(self, rows: int) -> list[Any]:
            return []

        def step(self, tokens: Any, *rest: Any) -> tuple[Any, list[Any]]:
            self.seen += tokens.tolist()
            return tokens[:, -1] + 1, []

    recorder = Recorder()
    queue = TextQueue(recorder, name="writer", max_streams=2, window=3)
    assert text(queue, [5, 6], 3) == [7, 8, 9]
    gevent.get_hub().threadpool.apply(queue.close)
    assert recorder.seen == [[0, 0, 5], [0, 5, 6], [5, 6, 7], [6, 7, 8]]
