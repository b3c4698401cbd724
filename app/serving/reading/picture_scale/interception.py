"""Runs a model as far as one of its layers, and no further."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import tf_keras

# Called with a layer and the tensor that reaches it. True: that is the one; False: run on.
Wanted = Callable[[Any, Any], bool]


class _Reached(BaseException):
    """Ends the run. No Exception: Keras wraps those."""


def outermost(model: Any) -> list[Any]:
    """Return the layers with weights of a model, and of the models in it, whole: a layer may
    compute by itself what its own layers are for, as LSTM does."""
    found = []
    for layer in model.layers:
        if isinstance(layer, (keras.Model, tf_keras.Model)):
            found += outermost(layer)
        elif layer.weights:
            found.append(layer)
    return found


def innermost(model: Any) -> list[Any]:
    """Return the layers with weights that have no layers themselves, at any depth."""

    def inner(layer: Any) -> list[Any]:
        return list(layer._flatten_layers(include_self=False, recursive=True))

    return [layer for layer in inner(model) if layer.weights and not inner(layer)]


def compiled(layer: Any) -> bool:
    """Whether Keras compiles the call of a layer for each shape, which takes seconds: on CPUs,
    TensorFlow has no convolution with groups."""
    return hasattr(layer, "kernel_size") and getattr(layer, "groups", 1) > 1


def run_until(call: Callable[[], Any], layers: list[Any], wanted: Wanted) -> Any:
    """Run `call()` until `wanted` accepts what reaches one of `layers`. Returns None then, else the
    outputs of the model."""
    with _watched(layers, wanted):
        try:
            return call()
        except _Reached:
            return None


@contextmanager
def _watched(layers: list[Any], wanted: Wanted) -> Iterator[None]:
    """Put a function in front of the `call` of each layer. Not by way of `setattr`, with which
    Keras keeps track of what layers consist of."""
    watched = []

    def watch(layer: Any) -> None:
        if "call" in vars(layer):  # as functions used as layers have it
            return
        original = layer.call

        def call(inputs: Any, *arguments: Any, **options: Any) -> Any:
            if wanted(layer, inputs):
                raise _Reached
            return original(inputs, *arguments, **options)

        object.__setattr__(layer, "call", call)
        watched.append(layer)

    try:
        for layer in layers:
            watch(layer)
        yield
    finally:
        for layer in watched:
            object.__delattr__(layer, "call")
