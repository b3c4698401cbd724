"""A graph that was optimised where it was read runs the operations that TensorFlow's own session
would choose: fusions such as that of `swish` are worth half of the time of a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from app.serving.cards.card import Precision, Runtime
from app.serving.engine.sessions.config import session_config
from app.serving.engine.sessions.session import ModelSession
from app.serving.engine.sessions.xla import run_natively
from app.serving.reading import freezing
from app.serving.reading.convert import convert
from tests.models.fixtures import needs_bfloat16

layers = keras.layers
# What only carries values, and may be placed otherwise.
CARRIERS = {"Const", "Identity", "Placeholder", "_Arg", "_Retval", "Enter", "NoOp"}


def _trained(model: Any) -> Any:
    """The model with weights as training leaves them: what adds zeros is taken out of a graph, and
    with it whatever might be fused."""
    rng = np.random.default_rng(0)
    model.set_weights([rng.uniform(0.1, 1, w.shape) for w in model.get_weights()])
    return model


def _picture(*body: Any) -> Any:
    return keras.Sequential(
        [layers.Input((8, 8, 3)), *body, layers.GlobalAveragePooling2D(), layers.Dense(2)]
    )


def _activated(name: str) -> Any:
    return _picture(layers.Conv2D(4, 3), layers.BatchNormalization(), layers.Activation(name))


def _dense(name: str) -> Any:
    return keras.Sequential(
        [layers.Input((8,)), layers.Dense(16, activation=name), layers.Dense(2)]
    )


def _depthwise() -> Any:
    return _picture(
        layers.ZeroPadding2D(),
        layers.DepthwiseConv2D(3),
        layers.BatchNormalization(),
        layers.ReLU(6.0),
        layers.SeparableConv2D(4, 3, padding="same", activation="relu"),
    )


def _residual() -> Any:
    """A block with squeeze and excitation, as EfficientNet has them."""
    x = layers.Input((8, 8, 4))
    y = layers.Conv2D(4, 3, padding="same", activation="swish")(x)
    gate = layers.Reshape((1, 1, 4))(layers.GlobalAveragePooling2D()(y))
    gate = layers.Conv2D(4, 1, activation="sigmoid")(gate)
    y = layers.ReLU()(layers.Add()([x, layers.Multiply()([y, gate])]))
    return keras.Model(x, layers.Dense(3, activation="softmax")(layers.Flatten()(y)))


def _transformer() -> Any:
    x = layers.Input((6, 8))
    y = layers.MultiHeadAttention(2, 4)(x, x)
    y = layers.LayerNormalization()(layers.Add()([x, y]))
    return keras.Model(x, layers.Dense(4, activation="gelu")(y))


def _recurrent() -> Any:
    return keras.Sequential(
        [layers.Input((6, 4)), layers.Conv1D(4, 2), layers.LSTM(4), layers.Dense(2)]
    )


MODELS: dict[str, Callable[[], Any]] = {
    **{f"conv-{a}": partial(_activated, a) for a in ("relu", "relu6", "swish", "hard_silu")},
    **{f"dense-{a}": partial(_dense, a) for a in ("relu", "gelu", "swish", "tanh")},
    "depthwise": _depthwise,
    "residual": _residual,
    "transformer": _transformer,
    "recurrent": _recurrent,
}


@pytest.mark.parametrize("precision", ["float32", pytest.param("bfloat16", marks=needs_bfloat16)])
@pytest.mark.parametrize("name", MODELS)
def test_operations_are_those_of_a_plain_session(
    name: str, precision: Precision, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain: list[Any] = []
    optimise = freezing.optimise

    def spy(frozen: freezing.FrozenGraph, tensors: Sequence[str], precision: Precision) -> Any:
        assert not frozen.weights, "small models have none apart"
        graph = tf.compat.v1.GraphDef()
        graph.CopyFrom(frozen.graph)
        run_natively(graph)
        plain.append(graph)
        return optimise(frozen, tensors, precision)

    monkeypatch.setattr(freezing, "optimise", spy)
    file = tmp_path / "model.keras"
    _trained(MODELS[name]()).save(file)
    model = convert(file, tmp_path, trusted=False, precision=precision)
    runtime = Runtime(max_batch_size=4, precision=precision)

    graph = tf.Graph()
    with graph.as_default():
        tf.import_graph_def(plain[0], name="")
    with tf.compat.v1.Session(graph=graph, config=session_config(runtime)) as session:
        wanted = _operations(session, model.signature)
    served = ModelSession(model, runtime)
    try:
        # Fewer than there: what it leaves apart in bfloat16 may be fused here.
        assert not _operations(served._session, model.signature) - wanted
    finally:
        served.close()


def _operations(session: Any, signature: Any) -> Counter[str]:
    """How many nodes of each operation the session really runs."""
    options = tf.compat.v1.RunOptions(output_partition_graphs=True)
    found = tf.compat.v1.RunMetadata()
    rows = {t.node: np.ones((4, *t.shape[1:]), t.dtype) for t in signature.inputs}
    fetched = [t.node for t in signature.outputs]
    session.run(fetched, rows, options=options, run_metadata=found)
    nodes = (node.op for graph in found.partition_graphs for node in graph.node)
    return Counter(op for op in nodes if op not in CARRIERS)
