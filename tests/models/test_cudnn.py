"""CuDNNLSTM and CuDNNGRU compute on a CPU what cuDNN defines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tf_keras
from hypothesis import given, settings
from hypothesis import strategies as st
from tf_keras.src.layers.rnn.cudnn_gru import CuDNNGRU
from tf_keras.src.layers.rnn.cudnn_lstm import CuDNNLSTM

from app.serving.reading.convert import convert
from app.serving.signature import GenerationRequest
from tests.models.fixtures import HDF5_NOTICES, Array, assert_equal, convert_and_run

pytestmark = HDF5_NOTICES


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def _gates(weights: list[Array], count: int) -> list[tuple[Array, Array, Array, Array]]:
    """Of each gate what cuDNN takes: W (units, inputs), R (units, units), and both biases. The
    layers of Keras hold these matrices by rows, whatever shape they give them."""
    kernel, recurrent, bias = weights
    units = recurrent.shape[0]
    return [
        (w.reshape(units, -1), r.reshape(units, units), b, c)
        for w, r, b, c in zip(
            np.split(kernel, count, 1),
            np.split(recurrent, count, 1),
            np.split(bias[: count * units], count),
            np.split(bias[count * units :], count),
            strict=True,
        )
    ]


def _lstm(x: Array, weights: list[Array]) -> Array:
    """h of each step, by the equations of cudnnRNNMode_t CUDNN_LSTM. x: (steps, inputs)."""
    h = c = np.zeros(weights[1].shape[0])
    states = []
    for step in x:
        i, f, new, o = (w @ step + r @ h + b + d for w, r, b, d in _gates(weights, 4))
        c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(new)
        h = _sigmoid(o) * np.tanh(c)
        states.append(h)
    return np.array(states)


def _gru(x: Array, weights: list[Array]) -> Array:
    """The same by CUDNN_GRU: the reset gate works on R h and its bias."""
    h = np.zeros(weights[1].shape[0])
    states = []
    for step in x:
        (w, r, b, d), (w_r, r_r, b_r, d_r), (w_n, r_n, b_n, d_n) = _gates(weights, 3)
        update = _sigmoid(w @ step + r @ h + b + d)
        reset = _sigmoid(w_r @ step + r_r @ h + b_r + d_r)
        new = np.tanh(w_n @ step + b_n + reset * (r_n @ h + d_n))
        h = (1 - update) * new + update * h
        states.append(h)
    return np.array(states)


KINDS: dict[str, tuple[Any, Callable[[Array, list[Array]], Array]]] = {
    "CuDNNLSTM": (CuDNNLSTM, _lstm),
    "CuDNNGRU": (CuDNNGRU, _gru),
}


def _random_weights(model: Any, seed: int) -> None:
    random = np.random.default_rng(seed)
    model.set_weights([random.normal(size=w.shape).astype("float32") for w in model.get_weights()])


@settings(max_examples=10, deadline=None)
@given(
    kind=st.sampled_from(sorted(KINDS)),
    units=st.integers(1, 5),
    inputs=st.integers(1, 5),
    backwards=st.booleans(),
    sequences=st.booleans(),
    open_steps=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_answer_is_what_cudnn_defines(
    kind: str,
    units: int,
    inputs: int,
    backwards: bool,
    sequences: bool,
    open_steps: bool,
    seed: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    tmp_path = tmp_path_factory.mktemp("cudnn")
    layer, equations = KINDS[kind]
    x = tf_keras.Input((None if open_steps else 4, inputs))
    built = layer(units, go_backwards=backwards, return_sequences=sequences)
    model = tf_keras.Model(x, built(x))
    _random_weights(model, seed)
    model.save(tmp_path / "m.h5")
    rows = np.random.default_rng(seed).normal(size=(2, 4, inputs)).astype("float32")
    converted, got = convert_and_run(tmp_path / "m.h5", tmp_path / "out", rows)
    assert converted.frozen
    states = [equations(row[::-1] if backwards else row, built.get_weights()) for row in rows]
    wanted = np.array(states if sequences else [each[-1] for each in states])
    np.testing.assert_allclose(got[0], wanted, rtol=1e-4, atol=1e-5)


def test_in_both_directions_and_inside_another_model(tmp_path: Path) -> None:
    x = tf_keras.Input((3, 2))
    inside = tf_keras.Sequential([tf_keras.layers.Input((3, 2)), CuDNNGRU(2)])
    both = tf_keras.layers.Bidirectional(CuDNNLSTM(2))
    model = tf_keras.Model(x, [inside(x), both(x)])
    _random_weights(model, 0)
    model.save(tmp_path / "m.h5")
    rows = np.random.default_rng(1).normal(size=(2, 3, 2)).astype("float32")
    _, got = convert_and_run(tmp_path / "m.h5", tmp_path / "out", rows)
    forward, backward = np.split(np.array(both.get_weights(), object), 2)
    wanted = [
        np.array([_gru(row, inside.get_weights())[-1] for row in rows]),
        np.array(
            [
                np.concatenate([_lstm(row, [*forward])[-1], _lstm(row[::-1], [*backward])[-1]])
                for row in rows
            ]
        ),
    ]
    assert_equal(got, wanted)


def test_such_a_model_writes_texts(tmp_path: Path) -> None:
    layers = tf_keras.layers
    built = CuDNNLSTM(3)
    model = tf_keras.Sequential(
        [layers.Input((None,)), layers.Embedding(5, 2), built, layers.Dense(5, "softmax")]
    )
    model.save(tmp_path / "m.h5")
    (tmp_path / "out").mkdir()
    converted = convert(
        tmp_path / "m.h5", tmp_path / "out", trusted=False, generation=GenerationRequest()
    )
    assert converted.generation is not None
    assert converted.generation.kind == "step"
