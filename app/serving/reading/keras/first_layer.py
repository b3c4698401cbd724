"""Builds Sequential models of Keras 3 that were saved before their first call, if their first layer
knows its input."""

from __future__ import annotations

from typing import Any

import keras

from app.errors import LoadError

UNBUILT = (
    "the model was saved before its first call, so the file lacks the shape of its input, and the "
    "weights that depend on it: call the model on a row of data, and save it again"
)


def build_from_first_layer(model: Any) -> None:
    """Build a Sequential model without inputs on the input shape of its first layer. Raises
    LoadError if that is unknown, or if a later layer has no weights in the file."""
    if not isinstance(model, keras.Sequential) or model.built or not model.layers:
        return
    shape = _input_shape(model.layers[0])
    if shape is None:
        raise LoadError(UNBUILT)
    # Building a layer that has no weights in the file adds weights.
    weights = len(model.weights)
    model.build(shape)
    if len(model.weights) > weights:
        raise LoadError(UNBUILT)


def _input_shape(layer: Any) -> tuple[int | None, ...] | None:
    if isinstance(layer, keras.layers.TextVectorization):
        return (None,)
    if isinstance(layer, keras.layers.Normalization) and layer.built:
        # The shape of the data that it was adapted to, with their number of rows first.
        return (None, *layer.get_build_config()["input_shape"][1:])
    return None
