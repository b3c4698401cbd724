"""Token by token, the step graph gives what the model gives for the whole text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from app.errors import LoadError
from app.serving.reading.text_step import Stepper
from app.serving.signature import GenerationRequest
from tests.models.fixtures import HDF5_NOTICES, needs_bfloat16
from tests.models.generations import VOCABULARY, Replay, answer, converted, saved, texts

pytestmark = HDF5_NOTICES
# Each library with a file that it writes.
FILES = {"keras3": (keras, "m.keras"), "keras2": (tf_keras, "m.h5")}
Layers = Callable[[Any], list[Any]]


def _words(*, mask: bool = True, length: int | None = None) -> Layers:
    return lambda k: [k.Input((length,)), k.layers.Embedding(VOCABULARY, 5, mask_zero=mask)]


def _characters(length: int | None = None) -> Layers:
    return lambda k: [k.Input((length, VOCABULARY))]


def _says(k: Any) -> list[Any]:
    return [k.layers.Dense(VOCABULARY, activation="softmax")]


def _stacked(k: Any) -> Any:
    return k.layers.StackedRNNCells(
        [k.layers.LSTMCell(6), k.layers.GRUCell(4), k.layers.SimpleRNNCell(3)]
    )


ARCHITECTURES: dict[str, Layers] = {
    "lstm": lambda k: [*_words()(k), k.layers.LSTM(7), *_says(k)],
    "lstm of a set length": lambda k: [
        *_words(mask=False, length=20)(k),
        k.layers.LSTM(7, dropout=0.3, recurrent_dropout=0.3, unroll=True),
        *_says(k),
    ],
    "gru": lambda k: [*_words()(k), k.layers.GRU(7), *_says(k)],
    "gru of old": lambda k: [*_words()(k), k.layers.GRU(7, reset_after=False), *_says(k)],
    "simple": lambda k: [*_words(mask=False)(k), k.layers.SimpleRNN(7), *_says(k)],
    "two": lambda k: [
        *_words()(k),
        k.layers.SpatialDropout1D(0.2),
        k.layers.LSTM(7, return_sequences=True, activation="softsign"),
        k.layers.BatchNormalization(),
        k.layers.Dropout(0.5),
        k.layers.GRU(6, recurrent_activation="hard_sigmoid"),
        k.layers.BatchNormalization(),
        k.layers.LayerNormalization(),
        *_says(k),
    ],
    "a word after each": lambda k: [
        *_words()(k),
        k.layers.LSTM(7, return_sequences=True),
        k.layers.LayerNormalization(),
        k.layers.TimeDistributed(k.layers.Dense(6)),
        k.layers.TimeDistributed(k.layers.BatchNormalization()),
        k.layers.LeakyReLU(),
        k.layers.Dense(VOCABULARY),
        k.layers.Activation("softmax"),
    ],
    "cells": lambda k: [
        *_words()(k),
        k.layers.RNN(k.layers.GRUCell(5), return_sequences=True),
        k.layers.RNN(_stacked(k)),
        k.layers.Dense(VOCABULARY),
        k.layers.Softmax(),
    ],
    "scores": lambda k: [*_words()(k), k.layers.LSTM(7), k.layers.Dense(VOCABULARY)],
    "characters": lambda k: [*_characters(20)(k), k.layers.LSTM(7), *_says(k)],
    "masked characters": lambda k: [
        *_characters()(k),
        k.layers.Masking(),
        k.layers.Dense(9, activation="tanh"),
        k.layers.GRU(7),
        *_says(k),
    ],
    "stateful": lambda k: [
        k.layers.Input(batch_shape=(3, 20)) if k is keras else k.Input((20,), batch_size=3),
        k.layers.Embedding(VOCABULARY, 5),
        k.layers.LSTM(7, stateful=True, return_sequences=True),
        *_says(k),
    ],
    "nested": lambda k: [
        *_words(mask=False)(k),
        k.Sequential([k.layers.GRU(6, return_sequences=True), k.layers.Dense(5)]),
        k.layers.SimpleRNN(4),
        *_says(k),
    ],
}


# Asked of the layers of Keras 3 alone in `make test`: the steps are the same code for both.
OF_KERAS3 = (
    "lstm of a set length",
    "gru of old",
    "simple",
    "a word after each",
    "scores",
    "masked characters",
)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        pytest.param(
            name,
            file,
            marks=pytest.mark.slow if file == "keras2" and name in OF_KERAS3 else (),
        )
        for name in ARCHITECTURES
        for file in FILES
    ],
)
def test_steps_say_what_the_model_says(name: str, file: str, tmp_path: Path) -> None:
    library, path = FILES[file]
    model = saved(library.Sequential(ARCHITECTURES[name](library)), tmp_path / path)
    generation = converted(tmp_path / path)
    assert (generation.kind, generation.reason) == ("step", None)
    text = texts(3, 20)
    replay = Replay(generation)
    said = list(replay.each(text))
    replay.close()
    for seen in (20,) if model.inputs[0].shape[1] else (1, 2, 20):
        expected = _answer_of_stateless(model, text[:, :seen])
        if name == "scores":
            expected = tf.nn.softmax(expected).numpy()
        np.testing.assert_allclose(said[seen - 1], expected, atol=1e-5)
    # Else a step that forgets everything would do.
    assert np.abs(said[5] - said[10]).max() > 1e-4


def _answer_of_stateless(model: Any, text: Any) -> Any:
    for layer in model._flatten_layers():
        if getattr(layer, "stateful", False) and hasattr(layer, "reset_states"):
            layer.reset_states()
        elif getattr(layer, "stateful", False) and hasattr(layer, "reset_state"):
            layer.reset_state()
    return answer(model, text)


@pytest.mark.parametrize("library", [keras, tf_keras], ids=["keras3", "keras2"])
def test_a_functional_chain(library: Any, tmp_path: Path) -> None:
    x = library.Input((None,), dtype="int32")
    h = library.layers.Embedding(VOCABULARY, 5, mask_zero=True)(x)
    h, _, _ = library.layers.LSTM(7, return_sequences=True, return_state=True)(h)
    dense = library.layers.Dense(7, activation="tanh")
    h = library.layers.GRU(6)(dense(dense(h)))
    y = library.layers.Dense(VOCABULARY, activation="softmax")(h)
    model = saved(library.Model(x, y), tmp_path / "m.keras")
    generation = converted(tmp_path / "m.keras")
    assert [state.shape for state in generation.states] == [(None, 7), (None, 7), (None, 6)]
    text = texts(2, 9)
    replay = Replay(generation)
    *_, said = replay.each(text)
    replay.close()
    np.testing.assert_allclose(said, answer(model, text), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "file"), [("lstm", "keras3"), ("two", "keras3"), ("cells", "keras2")]
)
def test_padding_on_the_left_is_no_step(name: str, file: str, tmp_path: Path) -> None:
    library, path = FILES[file]
    model = saved(library.Sequential(ARCHITECTURES[name](library)), tmp_path / path)
    text = texts(2, 8)
    replay = Replay(converted(tmp_path / path))
    *_, said = replay.each(text)
    replay.close()
    padded = np.pad(text, ((0, 0), (12, 0)))
    np.testing.assert_allclose(said, answer(model, padded), atol=1e-5)


def test_a_long_text_is_remembered(tmp_path: Path) -> None:
    model = saved(keras.Sequential(ARCHITECTURES["two"](keras)), tmp_path / "m.keras")
    text = texts(2, 200)
    replay = Replay(converted(tmp_path / "m.keras"))
    *_, said = replay.each(text)
    replay.close()
    np.testing.assert_allclose(said, answer(model, text), atol=1e-5)


@needs_bfloat16
def test_half_precision_carries_whole_states(tmp_path: Path) -> None:
    layers = keras.layers
    half = {"dtype": "mixed_bfloat16"}
    # Some weights put answers so near a rounding that steps are no longer taken for the same.
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((None,)),
            layers.Embedding(VOCABULARY, 5, **half),
            layers.GRU(7, **half),
            layers.Dense(VOCABULARY, activation="softmax", **half),
        ]
    )
    saved(model, tmp_path / "m.keras")
    generation = converted(tmp_path / "m.keras")
    assert [state.dtype for state in generation.states] == ["float32"]
    text = texts(2, 9)
    replay = Replay(generation)
    *_, said = replay.each(text)
    replay.close()
    np.testing.assert_allclose(said, answer(model, text).astype("float32"), atol=5e-3)


# --- what cannot be stepped -----------------------------------------------------------------------


def _functional(k: Any, body: Callable[[Any], Any]) -> Any:
    x = k.Input((20,), dtype="int32")
    h = body(k.layers.Embedding(VOCABULARY, 5)(x))
    return k.Model(x, k.layers.Dense(VOCABULARY, activation="softmax")(h))


def _attention(k: Any) -> Any:
    def body(h: Any) -> Any:
        h = k.layers.MultiHeadAttention(2, 3, name="look")(h, h)
        return k.layers.GlobalAveragePooling1D()(h)

    return _functional(k, body)


def _branches(k: Any) -> Any:
    return _functional(
        k, lambda h: k.layers.Add(name="sum")([k.layers.LSTM(4)(h), k.layers.GRU(4)(h)])
    )


def _state(k: Any) -> Any:
    return _functional(k, lambda h: k.layers.LSTM(4, return_state=True, name="l")(h)[2])


def _given_state(k: Any) -> Any:
    def body(h: Any) -> Any:
        start = k.layers.SimpleRNN(4)(h)
        return k.layers.SimpleRNN(4, name="r")(h, initial_state=start)

    return _functional(k, body)


def _one(make: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda k: _functional(k, lambda h: k.layers.LSTM(4)(make(k)(h)))


WINDOWS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "both ways": (
        lambda k: _functional(k, k.layers.Bidirectional(k.layers.LSTM(4), name="both")),
        "the layer 'both' reads the text in both directions",
    ),
    "backwards": (
        lambda k: _functional(k, k.layers.GRU(4, go_backwards=True, name="back")),
        "the layer 'back' reads the text backwards",
    ),
    "attention": (_attention, "the layer 'look' looks back at every token for each new one"),
    "convolution": (
        _one(lambda k: k.layers.Conv1D(4, 3, name="conv")),
        "the layer 'conv' reads several tokens at a time",
    ),
    "flat": (
        lambda k: _functional(k, k.layers.Flatten(name="flat")),
        "the layer 'flat' takes the whole text at once",
    ),
    "branches": (_branches, "the layer 'sum' has several inputs"),
    "a state": (_state, "the layer 'l' has several outputs"),
    "a given state": (_given_state, "the layer 'r' has several inputs"),
    "unknown": (
        _one(lambda k: k.layers.Permute((2, 1), name="turn")),
        "the layer 'turn' (Permute) is not known to work token by token",
    ),
    "normalised along the text": (
        _one(lambda k: k.layers.LayerNormalization(axis=1, name="norm")),
        "the layer 'norm' looks along the text, not along features",
    ),
    "unknown at each token": (
        _one(lambda k: k.layers.TimeDistributed(k.layers.Reshape((5,), name="same"))),
        "the layer 'same' (Reshape) is not known to work token by token",
    ),
}


# What is asked of a layer itself is asked of both libraries alike; how layers hang together is not.
OF_KERAS2 = ("both ways", "attention", "branches", "a state", "a given state")


@pytest.mark.parametrize(
    ("name", "library"),
    [*((name, keras) for name in WINDOWS), *((name, tf_keras) for name in OF_KERAS2)],
)
def test_what_needs_the_whole_text_gets_it(name: str, library: Any, tmp_path: Path) -> None:
    make, reason = WINDOWS[name]
    model = saved(make(library), tmp_path / "m.keras")
    generation = converted(tmp_path / "m.keras")
    assert (generation.kind, generation.reason) == ("window", reason)
    assert (generation.window, generation.states) == (20, ())
    text = texts(3, 20)
    text[0, :15] = 0
    replay = Replay(generation)
    said, _ = replay.probabilities(text, [])
    replay.close()
    np.testing.assert_allclose(said, answer(model, text), atol=1e-5)


def test_a_replay_that_is_wrong_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(keras.Sequential(ARCHITECTURES["lstm"](keras)), tmp_path / "m.keras")
    step = Stepper.__call__

    def forgetful(self: Any, token: Any, states: list[Any]) -> tuple[Any, list[Any]]:
        output, new = step(self, token, states)
        return output, [state * 0.5 for state in new]

    monkeypatch.setattr(Stepper, "__call__", forgetful)
    generation = converted(tmp_path / "m.keras", GenerationRequest(window=30))
    assert (generation.kind, generation.window) == ("window", 30)
    assert "gives another result than on a whole text" in (generation.reason or "")


def test_a_model_that_says_more_than_it_reads(tmp_path: Path) -> None:
    model = keras.Sequential(
        [keras.Input((None,)), keras.layers.Embedding(9, 3), keras.layers.LSTM(4), *_says(keras)]
    )
    model.save(tmp_path / "m.keras")
    with pytest.raises(LoadError, match="outputs 12 tokens, but can read only 9"):
        converted(tmp_path / "m.keras")
