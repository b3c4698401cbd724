"""Streams over a real session: who joins, who leaves, and what goes wrong."""

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
from app.serving.card import Runtime
from app.serving.generation_session import GenerationSession
from app.serving.loader import Loader
from app.serving.signature import GenerationRequest
from app.serving.streams import Generator, Stream
from tests.models import save_text_model

NAN_WORD = 7


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GenerationSession]:
    """A model with random weights, which says NaN after the word 7."""
    folder = tmp_path_factory.mktemp("streams") / "writer"
    save_text_model(folder)
    model = keras.models.load_model(folder / "model.keras")
    table = np.array(model.layers[0].embeddings)
    table[NAN_WORD] = np.nan
    model.layers[0].embeddings.assign(table)
    model.save(folder / "model.keras")
    loader = Loader()
    request = GenerationRequest(never=(0, 1, NAN_WORD), window=20)
    with loader.convert(folder / "model.keras", trusted=False, generation=request) as converted:
        assert converted.generation is not None
        assert converted.generation.kind == "step"
        session = GenerationSession(converted.generation, Runtime(max_batch_size=4))
    loader.close()
    yield session
    session.close()


@pytest.fixture
def generator(session: GenerationSession) -> Iterator[Generator]:
    generator = Generator(session, name="writer", max_streams=4)
    yield generator
    gevent.get_hub().threadpool.apply(generator.close)


def stream(seed: Sequence[int] = (2, 3), count: int = 20, random_seed: int = 1) -> Stream:
    return Stream(seed, count, diversity=1.0, top_k=0, random_seed=random_seed)


def call(seconds: float = 30) -> Call:
    return Call(time.monotonic() + seconds)


def _started(generator: Generator, *args: Any, **kwargs: Any) -> Stream:
    started = stream(*args, **kwargs)
    generator.start(started)
    return started


def text(generator: Generator, *args: Any, **kwargs: Any) -> list[int | None]:
    return list(_started(generator, *args, **kwargs).tokens(call()))


def _idle(generator: Generator) -> None:
    until = time.monotonic() + 10
    while generator.running:
        assert time.monotonic() < until, "a place was not given back"
        gevent.sleep(0.01)


def test_as_many_tokens_as_asked_for(generator: Generator) -> None:
    for count in (1, 2, 50):
        assert len(text(generator, count=count)) == count
    _idle(generator)


def test_company_does_not_change_a_text(generator: Generator) -> None:
    """Ten over four places, with seeds of all lengths."""
    seeds = [list(range(10, 11 + i)) for i in range(10)]
    alone = [text(generator, seed, random_seed=i) for i, seed in enumerate(seeds)]
    jobs = [gevent.spawn(text, generator, seed, random_seed=i) for i, seed in enumerate(seeds)]
    gevent.joinall(jobs, raise_error=True)
    assert [job.value for job in jobs] == alone


def test_who_leaves_gives_the_place_to_the_next(generator: Generator) -> None:
    left = [stream(count=100_000, random_seed=i) for i in range(4)]
    readers: list[Any] = [s.tokens(call()) for s in left]
    for started in left:
        generator.start(started)
    for reader in readers:
        next(reader)
    waiting = gevent.spawn(text, generator, count=5)
    gevent.sleep(0.1)
    assert not waiting.ready(), "there was a fifth place"
    readers[0].close()
    assert len(waiting.get(timeout=10)) == 5
    for reader in readers[1:]:
        reader.close()
    _idle(generator)


def test_a_cancelled_call_ends_its_stream_only(generator: Generator) -> None:
    cancelled, other = call(), gevent.spawn(text, generator, count=200)
    started = stream(count=100_000)
    generator.start(started)
    reader = started.tokens(cancelled)
    next(reader)
    cancelled.cancel(ClientDisconnected("gone"))
    with pytest.raises(ClientDisconnected):
        list(reader)
    assert len(other.get(timeout=20)) == 200
    _idle(generator)


def test_a_deadline_counts_from_the_call(generator: Generator) -> None:
    """However long the hub was kept from running, as by a model that was loading."""
    gevent.sleep(0.01)
    time.sleep(6)
    assert len(list(_started(generator, count=1).tokens(call(5)))) == 1


def test_a_deadline_ends_a_stream(generator: Generator) -> None:
    started = stream(count=100_000)
    generator.start(started)
    with pytest.raises(DeadlineExceeded):
        list(started.tokens(call(0.2)))
    _idle(generator)


def test_nan_ends_the_text_that_it_is_in_and_no_other(generator: Generator) -> None:
    other = gevent.spawn(text, generator, count=50)
    with pytest.raises(NonFiniteOutput):
        text(generator, [2, NAN_WORD])
    assert len(other.get(timeout=10)) == 50
    _idle(generator)


def test_heartbeats_while_nothing_comes(generator: Generator) -> None:
    running = [stream(count=100_000, random_seed=i) for i in range(4)]
    for started in running:
        generator.start(started)
    waiting = stream()
    generator.start(waiting)
    reader = waiting.tokens(call(), heartbeat_s=0.05)
    assert [next(reader), next(reader)] == [None, None]
    for started in running:
        started.over = True
    assert [token for token in reader if token is not None]


def test_an_error_of_the_model_ends_all_that_run_but_not_the_thread(
    generator: Generator, session: GenerationSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(session, "step", lambda *args: 1 / 0)
        with pytest.raises(Exception, match="division by zero"):
            text(generator)
    assert len(text(generator)) == 20


def test_a_closed_generator_finishes_and_takes_no_more(session: GenerationSession) -> None:
    generator = Generator(session, name="writer", max_streams=4)
    started = stream(count=200)
    generator.start(started)
    gevent.get_hub().threadpool.apply(generator.close)
    assert len(list(started.tokens(call()))) == 200
    with pytest.raises(ModelUnavailable):
        generator.start(stream())


def test_windows_are_padded_on_the_left(tmp_path: Path) -> None:
    """A model without a step is shown the last tokens, as often as there are words."""

    class Recorder:
        def __init__(self) -> None:
            self.seen: list[list[int]] = []

        def zero_states(self, rows: int) -> list[Any]:
            return []

        def step(self, tokens: Any, *rest: Any) -> tuple[Any, list[Any]]:
            self.seen += tokens.tolist()
            return tokens[:, -1] + 1, []

    recorder = Recorder()
    generator = Generator(recorder, name="writer", max_streams=2, window=3)
    assert text(generator, [5, 6], 3) == [7, 8, 9]
    gevent.get_hub().threadpool.apply(generator.close)
    assert recorder.seen == [[0, 0, 5], [0, 5, 6], [5, 6, 7], [6, 7, 8]]
