"""What one request may cost a model: lengths, bytes of the answer, and the time of a run."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import gevent
import numpy as np
import orjson
import pytest
import tensorflow as tf

from app.errors import DeadlineExceeded, InvalidInput, KeraportError
from app.serving.arrays import Array
from app.serving.call import Call
from app.serving.engine.sessions.session import ModelSession
from app.serving.models.model import Model
from app.serving.tasks.base import Limits, Payload
from tests.models import save_hanging_model
from tests.registries import loaded
from tests.support import ROOT

# The default of KERAPORT_WATCHDOG_S.
WATCHDOG_S = 120
MAX_ANSWER = 2_000_000
MAX_LENGTH = 512
IDS = tf.TensorSpec((None, None), tf.int32, name="ids")


def _save(folder: Path, serve: Callable[..., Any], *specs: Any, **runtime: Any) -> None:
    module = tf.Module()
    module.serve = tf.function(serve, input_signature=specs, autograph=False)
    tf.saved_model.save(module, str(folder / "saved_model"), signatures=module.serve)
    settings = ", ".join(f"{key}: {value}" for key, value in runtime.items())
    (folder / "model.yaml").write_text(f"task: tensor\nruntime: {{{settings}}}\n")


def _scores(ids: Any) -> dict[str, Any]:
    """Ten numbers for each token."""
    return {"y": tf.one_hot(ids % 10, 10)}


def _counted(ids: Any) -> dict[str, Any]:
    """A length that only the values tell."""
    longest = tf.reduce_max(ids)
    return {"y": tf.ones((tf.shape(ids)[0], longest, 1))}


def _texts(ids: Any) -> dict[str, Any]:
    return {"y": tf.strings.reduce_join(tf.fill(tf.stack([tf.shape(ids)[0], 10_000]), "x"), 1)}


def _attention(ids: Any) -> dict[str, Any]:
    """Every token with every other, in 8 heads and 2 layers, without a loop."""
    x = tf.one_hot(ids % 64, 64)[:, None] * tf.ones((1, 8, 1, 1))
    for _ in range(2):
        x = tf.matmul(tf.nn.softmax(tf.matmul(x, x, transpose_b=True)), x)
    return {"y": tf.reduce_sum(x, axis=(1, 2, 3))}


def _slow_rows(x: Any) -> dict[str, Any]:
    """About 0.2 s a row, without a loop."""
    matrix = tf.ones((1, 900, 900)) * x[:, :, None] * 1e-3
    for _ in range(5):
        matrix = tf.matmul(matrix, matrix) * 1e-3
    return {"y": tf.reduce_sum(matrix, axis=(1, 2))}


def _lstm(folder: Path) -> None:
    """A vector for each token."""
    import keras

    layers = [keras.layers.Embedding(50, 16), keras.layers.LSTM(32, return_sequences=True)]
    keras.Sequential([keras.Input((None,), dtype="int32"), *layers]).save(folder / "model.keras")
    (folder / "model.yaml").write_text("task: tensor\nruntime: {max_batch_size: 4096}\n")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Model]]:
    folder = tmp_path_factory.mktemp("models")
    for name in ("lstm", "patents"):
        (folder / name).mkdir()
    _save(folder / "scores", _scores, IDS, max_length=MAX_LENGTH)
    _save(folder / "counted", _counted, IDS)
    _save(folder / "texts", _texts, IDS)
    _save(folder / "attention", _attention, IDS, max_batch_size=4096)
    slow = tf.TensorSpec((None, 1), tf.float32, name="x")
    _save(folder / "slow", _slow_rows, slow, max_batch_size=256)
    _lstm(folder / "lstm")
    save_hanging_model(folder / "hangs")
    (folder / "patents").rmdir()
    (folder / "patents").symlink_to(ROOT / "models" / "patents")
    limits = Limits(max_answer_bytes=MAX_ANSWER, max_body_bytes=400_000)
    with loaded(folder, limits) as registry:
        yield {entry.name: entry.ready_model() for entry in registry.entries()}


class Runs:
    """The runs of all sessions: rows and seconds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rows: list[int] = []
        self.seconds: list[float] = []
        run = ModelSession.run

        def timed(session: ModelSession, arrays: Any, *rest: Any) -> list[Array]:
            started = time.monotonic()
            try:
                return run(session, arrays, *rest)
            finally:
                self.rows.append(len(arrays[0]))
                self.seconds.append(time.monotonic() - started)

        monkeypatch.setattr(ModelSession, "run", timed)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    return Runs(monkeypatch)


def infer(model: Model, *values: Array, seconds: float = 30, **options: Any) -> dict[str, Array]:
    definition = model.signatures[model.default_signature]
    call = Call(time.monotonic() + seconds)
    inputs = {t.name: a for t, a in zip(definition.inputs, values, strict=True)}
    with model.admission(call) as asked:
        return model.infer(inputs, call, asked, **options)


def native(model: Model, value: Any) -> Sequence[Any]:
    return model.predict(Payload("json", orjson.dumps(value)), Call(time.monotonic() + 30))


def ids(rows: int, length: int, value: int = 1) -> Array:
    return np.full((rows, length), value, np.int32)


def refused(ask: Callable[..., Any], *args: Any, **options: Any) -> Mapping[str, str]:
    with pytest.raises(InvalidInput) as caught:
        ask(*args, **options)
    return {d.field: d.problem for d in caught.value.details}


# --- Lengths -------------------------------------------------------------------------------------


def test_a_sequence_has_a_length(models: dict[str, Model], runs: Runs) -> None:
    model = models["scores"]
    for length in (1, MAX_LENGTH):
        assert infer(model, ids(1, length))["y"].shape == (1, length, 10)
        assert len(native(model, [[1] * length])[0]) == length
    runs.rows.clear()
    wrong = {"ids": f"{MAX_LENGTH + 1} long"}
    assert refused(infer, model, ids(1, MAX_LENGTH + 1)) == wrong
    assert refused(native, model, [[1] * (MAX_LENGTH + 1)]) == wrong
    assert runs.rows == []


def test_tokens_of_a_model_of_texts_fill_its_window(models: dict[str, Model], runs: Runs) -> None:
    model = models["patents"]
    infer(model, ids(1, 50))
    runs.rows.clear()
    assert set(refused(infer, model, ids(1, 1_000_000)).values()) == {"1,000,000 long"}
    assert runs.rows == []


def test_the_schema_says_the_length(models: dict[str, Model]) -> None:
    schema = models["scores"].task.input_schema()
    assert schema["items"]["maxItems"] == MAX_LENGTH
    assert "minItems" not in schema["items"]


def test_a_list_has_so_many_elements(models: dict[str, Model]) -> None:
    """A quarter of the body: 100,000."""
    model = models["scores"]
    rows = 100_000 // MAX_LENGTH
    problem = refused(native, model, [[1] * MAX_LENGTH] * (rows + 1))
    assert problem == {"ids": f"{(rows + 1) * MAX_LENGTH:,} elements"}


# --- Bytes of the answer -------------------------------------------------------------------------


def test_an_answer_that_shapes_tell_is_refused_before_it_is_computed(
    models: dict[str, Model], runs: Runs
) -> None:
    """Row 5: 8,000 rows of one token."""
    model = models["patents"]
    most = MAX_ANSWER // (6030 * 15)
    assert len(infer(model, ids(most, 1))["next_word"]) == most
    runs.rows.clear()
    for rows in (most + 1, 8_000):
        size = rows * 6030 * 15 / 1e6
        told = f"about {size:,.0f} MB" if size >= 10 else f"about {size:.1f} MB"
        assert refused(infer, model, ids(rows, 1)) == {"answer": f"{told} for {rows:,} rows"}
    assert runs.rows == []


@pytest.mark.parametrize("ask", [infer, native])
def test_an_answer_that_follows_the_length_is_refused_before_it_is_computed(
    models: dict[str, Model], runs: Runs, ask: Callable[..., Any]
) -> None:
    model = models["scores"]
    most = MAX_ANSWER // (MAX_LENGTH * 10 * 15)
    for rows, good in ((most, True), (most + 1, False), (most, True)):
        value: Any = ids(rows, MAX_LENGTH)
        value = value if ask is infer else value.tolist()
        runs.rows.clear()
        if good:
            ask(model, value)
            assert sum(runs.rows) == rows
        else:
            assert refused(ask, model, value) == {"answer": f"about 2.1 MB for {rows} rows"}
            assert runs.rows == []


def test_a_binary_answer_counts_as_such(models: dict[str, Model]) -> None:
    model = models["scores"]
    most = MAX_ANSWER // (MAX_LENGTH * 10 * 4)
    got = infer(model, ids(most, MAX_LENGTH), binary={"y"})
    assert len(got["y"]) == most
    assert "answer" in refused(infer, model, ids(most + 1, MAX_LENGTH), binary={"y"})


def test_an_answer_that_only_values_tell_is_refused_by_its_first_part(
    models: dict[str, Model], runs: Runs
) -> None:
    model = models["counted"]
    most = MAX_ANSWER // (1_000 * 15)
    assert infer(model, ids(most, 1, 1_000))["y"].shape == (most, 1_000, 1)
    runs.rows.clear()
    told = refused(infer, model, ids(10_000, 1, 1_000))
    assert told == {"answer": "about 150 MB for 10,000 rows"}
    assert sum(runs.rows) <= 32


def test_texts_of_an_answer_count(models: dict[str, Model], runs: Runs) -> None:
    model = models["texts"]
    assert len(infer(model, ids(199, 1))["y"]) == 199
    runs.rows.clear()
    assert refused(infer, model, ids(201, 1)) == {"answer": "about 2.0 MB for 201 rows"}
    assert sum(runs.rows) <= 32


def test_a_run_answers_no_more_than_a_request_may(models: dict[str, Model], runs: Runs) -> None:
    """Many small requests share runs as one large one does."""
    model = models["patents"]
    asked = [gevent.spawn(infer, model, ids(10, 1)) for _ in range(40)]
    gevent.joinall(asked, raise_error=True)
    assert max(runs.rows) * 6030 * 4 <= MAX_ANSWER


# --- Time of a run -------------------------------------------------------------------------------


def test_a_loop_ends_with_its_request(models: dict[str, Model], runs: Runs) -> None:
    """And the model answers the next one."""
    model = models["hangs"]
    bad, good = (np.array([[value]], np.float32) for value in (-1, 1))

    def ask() -> None:
        with pytest.raises(DeadlineExceeded):
            infer(model, bad, seconds=1)

    gevent.joinall([gevent.spawn(ask) for _ in range(4)], raise_error=True)
    assert infer(model, good)["y"].tolist() == [[1]]
    # Those behind the first were over before their turn.
    assert len(runs.rows) <= 3
    assert model.running == []


def test_a_slow_model_has_short_runs(models: dict[str, Model], runs: Runs) -> None:
    """A request of many rows has its deadline checked between them."""
    model = models["slow"]
    values = np.ones((256, 1), np.float32)
    with pytest.raises(DeadlineExceeded):
        infer(model, values, seconds=3)
    gevent.sleep(0)
    assert max(runs.rows) < 128
    assert sum(runs.rows) < 256


def test_no_allowed_request_has_a_run_that_looks_like_a_hang(
    models: dict[str, Model], runs: Runs
) -> None:
    """A search over what clients may ask: the longest run is a small part of the watchdog's
    limit."""
    longest: dict[str, tuple[float, int, int]] = {}
    for name in ("patents", "lstm", "attention", "scores", "counted"):
        model = models[name]
        most = model.card.max_length
        for length in (1, most // 2, most):
            for rows in (1, 32, 2_000):
                runs.seconds.clear()
                with contextlib.suppress(KeraportError):
                    infer(model, ids(rows, length), seconds=2, binary={"y"})
                took = max(runs.seconds, default=0.0)
                longest[name] = max(longest.get(name, (0.0, 0, 0)), (took, rows, length))
    print({name: f"{s:.2f} s: {r} x {n}" for name, (s, r, n) in longest.items()})
    assert max(longest.values())[0] < WATCHDOG_S / 8
