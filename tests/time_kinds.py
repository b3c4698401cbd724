"""Models of sound and of series, of a few kB, laid out as people build them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from tests.saved_once import saved_once
from tests.sounds import Samples, tone

RATE = 8_000
FOUR = """\
outputs:
  kind: {kind: classes, labels: [rest, left, right]}
  next: {kind: number, decimals: 4}
  code: {kind: vector}
  path: {kind: tensor}
"""
CARDS = {
    "voice": f"inputs: {{wave: {{kind: audio, rate: {RATE}}}}}\n"
    "outputs: {word: {kind: classes, labels: [yes, no, other]}}\n",
    "sound": f"inputs: {{wave: {{kind: audio, rate: {RATE}}}}}\n{FOUR}",
    "any-sound": f"inputs: {{wave: {{kind: audio, rate: {RATE}}}}}\n"
    "outputs: {y: {kind: vector}}\n",
    "series": f"inputs: {{table: {{kind: series, columns: [temp, wind]}}}}\n{FOUR}",
    "sales": "inputs: {sales: {kind: series}}\noutputs: {sales: {kind: number, unit: EUR}}\n",
    "any-series": "inputs: {track: {kind: series, columns: [x, y]}}\n",
    "together": f"""\
inputs:
  wave: {{kind: audio, rate: {RATE}}}
  table: {{kind: series}}
  facts: {{kind: fields, fields: [{{name: a, example: 1}}, {{name: b, example: 2}}]}}
{FOUR}""",
}


def voice() -> keras.Model:
    """A spoken word: the magnitudes of a short-time Fourier transform, convolved."""
    wave = layers.Input((1600,), name="wave")
    real, imaginary = ops.stft(wave, 64, 32, 64)
    power = ops.sqrt(ops.square(real) + ops.square(imaginary) + 1e-6)
    heard = layers.GlobalMaxPooling1D()(layers.Conv1D(4, 3, activation="relu")(power))
    return keras.Model(wave, layers.Dense(3, "softmax", name="word")(heard))


def _heads(features: keras.KerasTensor) -> dict[str, keras.KerasTensor]:
    """An output of each kind."""
    return {
        "kind": layers.Dense(3, "softmax", name="kind")(features),
        "next": layers.Dense(1, name="next")(features),
        "code": layers.Dense(5, name="code")(features),
        "path": layers.Reshape((3, 2), name="path")(layers.Dense(6)(features)),
    }


def _heard(wave: keras.KerasTensor) -> keras.KerasTensor:
    return layers.GlobalAveragePooling1D()(layers.Conv1D(4, 9, 4, activation="relu")(wave))


def sound() -> keras.Model:
    """Convolutions of a waveform, with an output of each kind."""
    wave = layers.Input((1600, 1), name="wave")
    return keras.Model(wave, _heads(_heard(wave)))


def any_sound() -> keras.Model:
    """A waveform of any length."""
    wave = layers.Input((None,), name="wave")
    features = _heard(layers.Reshape((-1, 1))(wave))
    return keras.Model(wave, layers.Dense(2, name="y")(features))


def series() -> keras.Model:
    """Two columns through an LSTM, with an output of each kind."""
    table = layers.Input((6, 2), name="table")
    return keras.Model(table, _heads(layers.LSTM(4)(table)))


def sales() -> keras.Model:
    """A forecast of three steps from eight of one column."""
    rows = layers.Input((8, 1), name="sales")
    return keras.Model(rows, layers.Dense(3, name="dense")(layers.GRU(4)(rows)))


def any_series() -> keras.Model:
    """A row of two columns for each of any number of rows."""
    track = layers.Input((None, 2), name="track")
    return keras.Model(track, layers.Dense(2)(layers.LSTM(3, return_sequences=True)(track)))


def forecast() -> keras.Model:
    """A forecast of one step, trained: what a bare file tells."""
    model = keras.Sequential([layers.Input((5, 2)), layers.LSTM(3), layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


def together() -> keras.Model:
    """Sound, a series and fields, with an output of each kind."""
    wave = layers.Input((1600,), name="wave")
    table = layers.Input((6, 2), name="table")
    facts = layers.Input((2,), name="facts")
    parts = [_heard(layers.Reshape((-1, 1))(wave)), layers.LSTM(4)(table), facts]
    return keras.Model([wave, table, facts], _heads(layers.Concatenate()(parts)))


MODELS: dict[str, Callable[[], keras.Model]] = {
    "voice": voice,
    "sound": sound,
    "any-sound": any_sound,
    "series": series,
    "sales": sales,
    "any-series": any_series,
    "forecast": forecast,
    "together": together,
}


@saved_once
def save_time_kind(folder: Path, name: str) -> None:
    """Save the model of this name, with random weights, and its card."""
    keras.utils.set_random_seed(7)
    folder.mkdir(parents=True)
    MODELS[name]().save(folder / "model.keras")
    if name in CARDS:
        (folder / "model.yaml").write_text(CARDS[name])


def save_time_kinds(folder: Path, names: Iterable[str] = MODELS) -> None:
    """Save the models of these names, with their cards."""
    for name in names:
        save_time_kind(folder / name, name)


def spoken(seconds: float = 0.3) -> Samples:
    """Two tones with noise, at RATE."""
    noise = np.random.default_rng(3).normal(0, 0.05, round(seconds * RATE))
    both = tone(seconds, RATE, 300, 0.4) + tone(seconds, RATE, 1200, 0.2) + noise
    return both.astype(np.float32)


def asked(model: Any, *arrays: Any) -> Any:
    """What Keras answers to one row."""
    inputs = [np.asarray(array, np.float32)[None] for array in arrays]
    answer = model(inputs if len(inputs) > 1 else inputs[0], training=False)
    if isinstance(answer, dict):
        return {name: np.asarray(value)[0] for name, value in answer.items()}
    return np.asarray(answer)[0]


def check_four(prediction: dict[str, Any], expected: dict[str, Any]) -> None:
    """The kinds of FOUR."""
    chances = {each["label"]: each["probability"] for each in prediction["kind"]["top"]}
    labels = ["rest", "left", "right"]
    assert [chances[label] for label in labels] == pytest.approx(expected["kind"], abs=1e-5)
    assert prediction["kind"]["label"] == labels[int(expected["kind"].argmax())]
    assert prediction["next"] == pytest.approx(float(expected["next"][0]), abs=6e-5)
    assert prediction["code"] == pytest.approx(expected["code"], abs=1e-5)
    np.testing.assert_allclose(prediction["path"], expected["path"], atol=1e-5)
