"""Requests never wait for a first compilation, and answers stay those of Keras."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from app.serving.call import Call
from app.serving.cards.card import Card, FieldSpec, Runtime
from app.serving.engine.engine import Engine
from app.serving.engine.sessions.session import ModelSession
from app.serving.engine.sessions.xla import compiles, row_sizes, run_natively
from app.serving.reading.convert import convert
from app.serving.signature import Converted, Signature, TensorSpec
from app.serving.tasks import Limits, RowTask
from tests.models.fixtures import run
from tests.support import ROOT

layers = keras.layers
# Asks every signature of each model, in a process that says when TensorFlow compiles.
ASK = """
import sys, time
from pathlib import Path
import numpy as np
from gevent.pool import Pool
from app.cli import offline
from app.serving.call import Call
from app.serving.tasks.base import Limits
from tests.conversions import shared_reader
def ask(model, rows, name, dtype, one):
    random = np.random.default_rng(rows)
    shape = model.signatures[model.default_signature].inputs[0].shape[1:]
    given = (random.random((rows, *shape)) * 255).astype(dtype)
    call = Call(time.monotonic() + 300)
    together = model.engine.run([given], call, name)
    if one:
        alone = [model.engine.run([row[None]], call, name) for row in given]
        for a, b in zip(together, zip(*alone)):
            np.testing.assert_allclose(a, np.concatenate(b), rtol=1e-4, atol=1e-5)
    assert all(len(out) == rows for out in together)
def ask_all(model):
    asked = [(name, "float32") for name in model.signatures]
    if model.task.pictures:
        asked.append((None, "uint8"))
    for name, dtype in asked:
        for rows in range(1, 34):
            ask(model, rows, name, dtype, rows in (3, 33))
        # Batches of several requests.
        several = [1, 2, 1, 3, 1, 1, 5, 1]
        list(Pool(20).imap(lambda rows: ask(model, rows, name, dtype, False), several))
offline.ReaderProcess = shared_reader
for each in sys.argv[2:]:
    with offline.loaded(Path(sys.argv[1]), each, Limits()) as model:
        print("READY", file=sys.stderr, flush=True)
        ask_all(model)
    print("ASKED", file=sys.stderr, flush=True)
"""
COMPILED = "Compilation of XLA executable"


def _grouped() -> Any:
    return keras.Sequential(
        [
            layers.Input((8, 8, 4)),
            layers.Conv2D(4, 3, groups=2, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3, activation="softmax"),
        ]
    )


def _volumes() -> Any:
    return keras.Sequential(
        [
            layers.Input((5, 5, 5, 4)),
            layers.Conv3D(4, 3, groups=2, activation="relu"),
            layers.GlobalAveragePooling3D(),
            layers.Dense(3, activation="softmax"),
        ]
    )


def _save_grouped(folder: Path) -> None:
    _grouped().save(folder / "model.keras")


def _save_volumes(folder: Path) -> None:
    _volumes().save(folder / "model.keras")
    (folder / "model.yaml").write_text("task: tensor\n")


def _save_two_signatures(folder: Path) -> None:
    class Two(tf.Module):  # type: ignore[misc]
        @tf.function(  # type: ignore[untyped-decorator]
            input_signature=[tf.TensorSpec((None, 4), name="x")], jit_compile=True, autograph=False
        )
        def double(self, x: Any) -> dict[str, Any]:
            return {"y": x * 2.0}

        @tf.function(  # type: ignore[untyped-decorator]
            input_signature=[tf.TensorSpec((None, 4), name="x")], jit_compile=True, autograph=False
        )
        def sums(self, x: Any) -> dict[str, Any]:
            return {"y": tf.reduce_sum(x, axis=1)}

    two = Two()
    signatures = {"serving_default": two.double, "sums": two.sums}
    tf.saved_model.save(two, str(folder / "model"), signatures=signatures)
    (folder / "model.yaml").write_text("task: tensor\n")


def _save_pictures(folder: Path) -> None:
    model = keras.Sequential(
        [
            layers.Input((None, None, 3)),
            layers.Reshape((8, 8, 1, 3)),
            layers.Conv3D(6, (3, 3, 1), groups=3, activation="relu"),
            layers.GlobalAveragePooling3D(),
            layers.Dense(2, activation="softmax"),
        ]
    )
    model.save(folder / "model.keras")
    card = "task: image-classification\nlabels: [a, b]\ninput: {size: [8, 8], scale: 0..1}\n"
    (folder / "model.yaml").write_text(card)


SAVES = {
    "grouped": _save_grouped,
    "volumes": _save_volumes,
    "two": _save_two_signatures,
    "pictures": _save_pictures,
}


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a process says that loads each model and asks it."""
    folder = tmp_path_factory.mktemp("asked")
    for name, save in SAVES.items():
        (folder / name).mkdir()
        save(folder / name)
    environ = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "0", "TF_CPP_VMODULE": "device_compiler=1"}
    done = subprocess.run(
        [sys.executable, "-c", ASK, str(folder), *SAVES],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    *parts, _ = done.stderr.split("ASKED\n")
    return dict(zip(SAVES, parts, strict=True))


@pytest.mark.parametrize("name", SAVES)
def test_nothing_is_compiled_under_a_request(name: str, said: dict[str, str]) -> None:
    before, ready, after = said[name].partition("READY\n")
    assert ready
    assert after.count(COMPILED) == 0, after
    # Else the counter counts nothing.
    assert (before.count(COMPILED) == 0) == (name == "grouped")


def _xla(model: Converted) -> bool:
    return compiles(tf.compat.v1.GraphDef.FromString(model.path.read_bytes()))


CONVOLUTIONS: dict[str, tuple[tuple[int | None, ...], Any, dict[str, Any]]] = {
    "plain": ((9, 9, 8), layers.Conv2D, {"groups": 2}),
    "one channel a group": ((9, 9, 8), layers.Conv2D, {"groups": 8, "activation": "relu"}),
    "strides": ((9, 9, 8), layers.Conv2D, {"groups": 4, "strides": 2, "padding": "same"}),
    "dilated": ((9, 9, 8), layers.Conv2D, {"groups": 2, "dilation_rate": 2}),
    "dilated, of any size": (
        (None, None, 8),
        layers.Conv2D,
        {"groups": 2, "dilation_rate": 2, "padding": "same"},
    ),
    "relu": ((9, 9, 8), layers.Conv2D, {"groups": 2, "activation": "relu"}),
    "no bias": ((9, 9, 8), layers.Conv2D, {"groups": 2, "use_bias": False}),
    "one dimension": ((20, 8), layers.Conv1D, {"groups": 4, "activation": "relu"}),
    "causal": ((20, 8), layers.Conv1D, {"groups": 2, "padding": "causal", "dilation_rate": 2}),
}


def _check_convolution(
    shape: tuple[int | None, ...], layer: Any, config: dict[str, Any], folder: Path, *, native: bool
) -> None:
    keras.utils.set_random_seed(7)
    model = keras.Sequential(
        [layers.Input(shape), layer(16, 3, **config), layers.BatchNormalization(), layers.ReLU()]
    )
    # Biases and moments that are not the zeros and ones of the start.
    rng = np.random.default_rng(1)
    model.set_weights([rng.random(w.shape) for w in model.get_weights()])
    model.save(folder / "model.keras")
    converted = convert(folder / "model.keras", folder, trusted=False)
    assert _xla(converted) != native
    rows = rng.normal(size=(5, *(size or 9 for size in shape))).astype("float32")
    session = ModelSession(converted, Runtime(max_batch_size=2))
    try:
        assert (session.sizes == []) == native
    finally:
        session.close()
    wanted = model.predict(rows, verbose=0)
    np.testing.assert_allclose(run(converted, [rows])[0], wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions_with_groups_run_natively(name: str, tmp_path: Path) -> None:
    _check_convolution(*CONVOLUTIONS[name], tmp_path, native=True)


@pytest.mark.parametrize(
    ("shape", "layer", "config"),
    [
        ((4, 9, 9, 8), layers.Conv3D, {"groups": 2}),
        ((8, 9, 9), layers.Conv2D, {"groups": 2, "data_format": "channels_first"}),
        ((8, 20), layers.Conv1D, {"groups": 2, "data_format": "channels_first"}),
        ((2, 6, 6, 6), layers.Conv3D, {"data_format": "channels_first"}),
    ],
)
def test_others_stay_compiled(
    shape: tuple[int, ...], layer: Any, config: dict[str, Any], tmp_path: Path
) -> None:
    _check_convolution(shape, layer, config, tmp_path, native=False)


def test_a_function_that_does_more_stays_compiled() -> None:
    @tf.function(jit_compile=True, autograph=False)  # type: ignore[untyped-decorator]
    def convolution_and_more(x: Any, kernel: Any) -> Any:
        return tf.nn.conv2d(x, kernel, 1, "SAME") * 2.0

    graph = tf.Graph()
    with graph.as_default():
        x = tf.compat.v1.placeholder("float32", (None, 4, 4, 2))
        convolution_and_more(x, tf.ones((3, 3, 1, 2)))
    definition = graph.as_graph_def()
    before = definition.SerializeToString(deterministic=True)
    run_natively(definition)
    assert definition.SerializeToString(deterministic=True) == before
    assert compiles(definition)


def test_models_without_xla_run_with_any_number_of_rows(tmp_path: Path) -> None:
    model = keras.Sequential([layers.Input((3,)), layers.Dense(2)])
    model.save(tmp_path / "model.keras")
    converted = convert(tmp_path / "model.keras", tmp_path, trusted=False)
    assert not _xla(converted)
    session = ModelSession(converted, Runtime(max_batch_size=32))
    try:
        assert session.sizes == []
        assert session.warm_up[None][0] == 32
    finally:
        session.close()


def test_outputs_that_do_not_follow_the_rows_are_those_of_the_rows_asked(tmp_path: Path) -> None:
    class Positive(tf.Module):  # type: ignore[misc]
        @tf.function(jit_compile=True, autograph=False)  # type: ignore[untyped-decorator]
        def double(self, x: Any) -> Any:
            return x * 2.0

        @tf.function(  # type: ignore[untyped-decorator]
            input_signature=[tf.TensorSpec((None, 1), name="x")], autograph=False
        )
        def serve(self, x: Any) -> dict[str, Any]:
            return {"y": tf.boolean_mask(self.double(x), x[:, 0] > 0.0)}

    positive = Positive()
    tf.saved_model.save(positive, str(tmp_path / "m"), signatures=positive.serve)
    converted = convert(tmp_path / "m", tmp_path, trusted=False)
    runtime = Runtime(max_batch_size=8)
    session = ModelSession(converted, runtime)
    engine = Engine("positive", session, converted, runtime, Limits())
    try:
        for rows in ([[1.0]], [[0.0], [3.0], [5.0]], [[0.0]] * 3, [[2.0], [3.0], [5.0]]):
            call = Call(time.monotonic() + 60)
            (got,) = engine.run([np.array(rows, "float32")], call)
            assert got.tolist() == [[2 * x] for (x,) in rows if x > 0]
    finally:
        engine.batcher.close()
        session.close()


def _cards_example(example: str) -> RowTask:
    card = Card(
        task="tabular-regression", fields=[FieldSpec(name="x", type="text", example=example)]
    )
    signature = Signature(
        (TensorSpec("x", "x:0", "string", (None,)),), (TensorSpec("y", "y:0", "float32", (None,)),)
    )
    return RowTask(card, signature, Limits())


def test_the_warm_up_takes_the_examples_of_the_card_where_inputs_are_texts(tmp_path: Path) -> None:
    task = _cards_example("1.5")
    graph = tf.Graph()
    with graph.as_default():
        # Refuses the empty text.
        numbers = tf.strings.to_number(tf.compat.v1.placeholder("string", (None,), name="x"))
        tf.identity(numbers, name="y")
    (tmp_path / "graph").write_bytes(graph.as_graph_def().SerializeToString())
    converted = Converted(tmp_path / "graph", task.signature, frozen=True)
    for example, warmed in ((task.example(), {None: 32}), (None, {})):
        session = ModelSession(converted, Runtime(max_batch_size=32), None, example)
        try:
            assert {name: rows for name, (rows, _) in session.warm_up.items()} == warmed
        finally:
            session.close()
    # The model may refuse the example: it is but a try.
    session = ModelSession(converted, Runtime(), None, _cards_example("none").example())
    session.close()


def test_the_largest_size_of_a_slow_model_takes_a_bounded_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.serving.engine.sessions.session.RUN_S", 0.0)
    _volumes().save(tmp_path / "model.keras")
    converted = convert(tmp_path / "model.keras", tmp_path, trusted=False)
    session = ModelSession(converted, Runtime(max_batch_size=32))
    try:
        assert session.sizes == [1]
    finally:
        session.close()


@given(st.integers(1, 4096))
def test_row_sizes(most: int) -> None:
    sizes = row_sizes(most)
    assert sizes == sorted(set(sizes))
    assert sizes[0] == 1
    assert sizes[-1] == most
    # At most as many again are added.
    assert all(b <= 2 * a for a, b in pairwise(sizes))
