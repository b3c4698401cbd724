"""A model with an operation that this machine cannot run is not ready, whatever its inputs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from app.errors import InferenceError, LoadError
from app.serving.cards.card import Runtime
from app.serving.engine.sessions.session import ModelSession
from app.serving.signature import Converted, Signature, TensorSpec

Body = Callable[[Any], Any]
raw = tf.raw_ops


def _lstm_of_cudnn(x: Any) -> Any:
    h = tf.zeros((1, 2, 4))
    steps = tf.fill((3, 2, 4), x)
    return raw.CudnnRNN(input=steps, input_h=h, input_c=h, params=tf.zeros(9), is_training=False)[0]


# Operations without a kernel for CPUs, and without one for their types. Each gets a scalar.
LACKING: dict[str, tuple[str, Body]] = {
    "cuDNN": ("CudnnRNN", _lstm_of_cudnn),
    "cuDNN's parameters": (
        "CudnnRNNParamsSize",
        lambda x: raw.CudnnRNNParamsSize(
            num_layers=tf.cast(x, tf.int32), num_units=4, input_size=4, T=tf.float32, S=tf.int32
        ),
    ),
    "a product of bytes": (
        "BatchMatMulV2",
        lambda x: raw.BatchMatMulV2(x=tf.fill((2, 2), tf.cast(x, tf.uint8)), y=[[1], [1]]),
    ),
    "a norm in bfloat16": (
        "LRN",
        lambda x: raw.LRN(input=tf.fill((1, 1, 1, 2), tf.cast(x, tf.bfloat16))),
    ),
}


def _number(body: Body, x: Any) -> Any:
    return tf.reduce_sum(tf.cast(body(x), tf.float32))


PLACES: dict[str, Callable[[Body], Body]] = {
    "the graph": lambda body: lambda x: _number(body, x),
    "a function": lambda body: tf.function(lambda x: _number(body, x)),
    "a branch": lambda body: lambda x: tf.cond(x < 1.0, lambda: _number(body, x), lambda: 0.0),
    "a branch not taken": lambda body: (
        lambda x: tf.cond(x > 1.0, lambda: _number(body, x), lambda: 0.0)
    ),
    "a loop": lambda body: (
        lambda x: tf.while_loop(
            lambda i, _: i < 2, lambda i, total: (i + 1, total + _number(body, x)), (0, 0.0)
        )[1]
    ),
}
# Inputs of which the warm-up can only guess what they may hold.
UNSURE: dict[str, tuple[str, tuple[int | None, ...] | None]] = {
    "open": ("float32", (None, None, 3)),
    "of any rank": ("float32", None),
    "texts": ("string", (None,)),
}


def _save(path: Path, body: Body, dtype: str, shape: tuple[int | None, ...] | None) -> Converted:
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(dtype, shape, name="x")
        size = tf.strings.length(x) if dtype == "string" else tf.size(x)
        total = tf.cast(tf.reduce_sum(size) * 0, tf.float32)
        y = tf.identity(tf.fill(tf.shape(x)[:1], body(total)), name="y")
    path.write_bytes(graph.as_graph_def().SerializeToString())
    signature = Signature(
        (TensorSpec("x", "x:0", dtype, shape),), (TensorSpec("y", y.name, y.dtype.name, (None,)),)
    )
    return Converted(path, signature, frozen=True)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("lacking", LACKING)
def test_an_operation_without_a_kernel_fails_the_load(
    lacking: str, place: str, tmp_path: Path
) -> None:
    op, body = LACKING[lacking]
    for dtype, shape in UNSURE.values():
        model = _save(tmp_path / "graph.pb", PLACES[place](body), dtype, shape)
        with pytest.raises(LoadError, match=rf"^TensorFlow cannot run .*operation '{op}', which"):
            ModelSession(model, Runtime(max_batch_size=2))


@pytest.mark.parametrize("kind", UNSURE)
def test_what_a_guessed_input_provokes_does_not(kind: str, tmp_path: Path) -> None:
    """The zeros of the warm-up are no mistake of the model."""
    dtype, shape = UNSURE[kind]

    def never_zero(x: Any) -> Any:
        return tf.gather([1.0], tf.cast(x, tf.int32) - 1)

    model = _save(tmp_path / "graph.pb", never_zero, dtype, shape)
    ModelSession(model, Runtime(max_batch_size=2)).close()


def test_a_client_is_not_blamed_for_a_branch_that_cannot_run(tmp_path: Path) -> None:
    """Kernels of functions that are called are looked for when they are."""

    @tf.function  # type: ignore[untyped-decorator]
    def called(x: Any) -> Any:
        return _number(_lstm_of_cudnn, x)

    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder("float32", (None, None), name="x")
        tf.identity(tf.reduce_sum(x, 1), name="y")
        tf.fill(tf.shape(x)[:1], called(tf.reduce_sum(x)), name="z")
    (tmp_path / "graph.pb").write_bytes(graph.as_graph_def().SerializeToString())
    feeds = (TensorSpec("x", "x:0", "float32", (None, None)),)
    served, other = (
        Signature(feeds, (TensorSpec(name, f"{name}:0", "float32", (None,)),)) for name in "yz"
    )
    model = Converted(tmp_path / "graph.pb", served, frozen=True, others={"other": other})
    session = ModelSession(model, Runtime(max_batch_size=2))
    rows = np.ones((1, 2), "float32")
    assert session.run([rows])[0].tolist() == [2.0]
    with pytest.raises(InferenceError, match="the operation 'CudnnRNN', which TensorFlow cannot"):
        session.run([rows], "other")
    session.close()
