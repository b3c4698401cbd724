"""Small models with all kinds of last layers, and what is read of them in their files."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray

from app.serving.cards.card import Card, Runtime
from app.serving.engine.sessions.session import ModelSession
from app.serving.reading.convert import convert
from app.serving.reading.outputs.trial import checked
from app.serving.signature import Converted
from app.serving.tasks import Limits, RowTask

Layers = Any
Head = Callable[[Any, Any], Any]

LIBRARIES = {"keras": keras, "tf_keras": tf_keras}


def functional(library: Any, head: Head, shape: tuple[int | None, ...] = (4,)) -> Any:
    """A model of one input. head: takes the library and the input, and gives the output or a list
    of outputs."""
    x = library.Input(shape, name="x")
    return library.Model(x, head(library, x))


def read_bare(model: Any, loss: Any = None, **compiled: Any) -> Converted:
    """Save the model as its library does, and read it as a file without a card."""
    if loss is not None:
        model.compile(optimizer="sgd", loss=loss, **compiled)
    with tempfile.TemporaryDirectory() as folder:
        suffix = "keras" if isinstance(model, keras.Model) else "h5"
        path = Path(folder) / f"model.{suffix}"
        model.save(path)
        return read_file(path)


def read_file(path: Path) -> Converted:
    """Read a file as the process that reads files does."""
    with tempfile.TemporaryDirectory() as out:
        converted = convert(path, Path(out), trusted=False)
        session = ModelSession(converted, Runtime(max_batch_size=1))
        try:
            return checked(converted, session)
        finally:
            session.close()


def answers(model: Any, found: Converted, rows: NDArray[Any], card: Card) -> list[dict[str, Any]]:
    """What the API answers to rows, by the card."""
    outputs = np.asarray(model(tf.constant(rows), training=False))
    answered: list[dict[str, Any]] = RowTask(card, found.signature, Limits()).answer([outputs])
    return answered


def large_weights(model: Any, seed: int = 0) -> None:
    """Give the model random weights, such that its outputs differ much from row to row."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        value = rng.normal(0, 2, weight.shape)
        weight.assign(np.abs(value) if "variance" in weight.name else value)
