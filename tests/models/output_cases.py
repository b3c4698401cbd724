"""Heads of models with the loss of their training, what their numbers are, and the kind of output
they get."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from tests.models.heads import LIBRARIES, functional

Build = Callable[[Any, Any], Any]


def dense(units: int, activation: Any = None) -> Build:
    return lambda library, x: library.layers.Dense(units, activation=activation)(x)


def then(build: Build, *layers: Callable[[Any], Any]) -> Build:
    """The head with more layers after it, each made from the library's `layers`."""

    def head(library: Any, x: Any) -> Any:
        y = build(library, x)
        for layer in layers:
            y = layer(library.layers)(y)
        return y

    return head


def merged(layer: str, *builds: Build) -> Build:
    return lambda library, x: getattr(library.layers, layer)()([b(library, x) for b in builds])


def softmax(units: int = 5) -> Build:
    return dense(units, "softmax")


def sigmoid(units: int = 1) -> Build:
    return dense(units, "sigmoid")


def nested(library: Any, x: Any) -> Any:
    inner = functional(library, softmax())
    return library.layers.Dropout(0.2)(inner(x))


def sequential(library: Any, x: Any) -> Any:
    layers = library.layers
    inner = [layers.Dense(6), layers.Dense(5), layers.Softmax()]
    return library.Sequential([library.Input((4,)), library.Sequential(inner)])(x)


def over_time(activation: str | None) -> Build:
    return lambda library, x: library.layers.TimeDistributed(
        library.layers.Dense(3, activation=activation)
    )(library.layers.Reshape((2, 2))(x))


def pooled(activation: str | None) -> Build:
    def head(library: Any, x: Any) -> Any:
        layers = library.layers
        picture = layers.Reshape((2, 2, 1))(x)
        return layers.GlobalAveragePooling2D()(layers.Conv2D(5, 2, activation=activation)(picture))

    return head


def recurrent(library: Any, x: Any) -> Any:
    layers = library.layers
    states = layers.Bidirectional(layers.LSTM(3))(layers.Reshape((2, 2))(x))
    return layers.Dense(4, activation="softmax")(states)


def class_losses(library: Any) -> dict[str, Any]:
    losses = library.losses
    return {
        "one from logits": losses.SparseCategoricalCrossentropy(from_logits=True),
        "any from logits": losses.BinaryCrossentropy(from_logits=True),
        "huber": losses.Huber(),
    }


CCE, BCE = "categorical_crossentropy", "binary_crossentropy"

# name: (head, loss, what the numbers are, the kind of a bare file's answer)
CASES: dict[str, tuple[Build, str | None, str, str]] = {
    # Of the cases that started this: an age, an embedding, two softmaxes, a steering angle, and the
    # values of 39 actions. Logarithms come below.
    "an age": (dense(1), "mae", "values", "number"),
    "an embedding": (dense(128), None, "logits", "vector"),
    "an average of softmaxes": (
        merged("Average", softmax(), softmax()),
        None,
        "softmax",
        "classes",
    ),
    "a steering angle": (dense(1, "tanh"), "mse", "values", "number"),
    "39 actions": (dense(39), "mse", "values", "vector"),
    # What keeps probabilities.
    "softmax": (softmax(), None, "softmax", "classes"),
    "softmax, cross-entropy": (softmax(), CCE, "softmax", "classes"),
    "softmax, from logits": (softmax(), "one from logits", "softmax", "classes"),
    "softmax, dropout": (then(softmax(), lambda la: la.Dropout(0.3)), None, "softmax", "classes"),
    "softmax, linear": (
        then(softmax(), lambda la: la.Activation("linear", dtype="float32")),
        None,
        "softmax",
        "classes",
    ),
    "softmax, cast": (
        then(softmax(), lambda la: la.Activation("linear", dtype="float64")),
        None,
        "softmax",
        "classes",
    ),
    "softmax, flattened": (
        then(softmax(), lambda la: la.Reshape((1, 1, 5)), lambda la: la.Flatten()),
        None,
        "softmax",
        "classes",
    ),
    "a Softmax layer": (then(dense(5), lambda la: la.Softmax()), None, "softmax", "classes"),
    "an Activation layer": (
        then(dense(5), lambda la: la.Activation("softmax")),
        None,
        "softmax",
        "classes",
    ),
    "nested": (nested, None, "softmax", "classes"),
    "nested Sequential": (sequential, None, "softmax", "classes"),
    "recurrent": (recurrent, None, "softmax", "classes"),
    "softmax of pixels, averaged": (pooled("softmax"), None, "softmax", "classes"),
    "three softmaxes": (
        merged("Average", softmax(), softmax(), softmax()),
        CCE,
        "softmax",
        "classes",
    ),
    "sigmoid": (sigmoid(), None, "sigmoid", "classes"),
    "sigmoid, cross-entropy": (sigmoid(), BCE, "sigmoid", "classes"),
    "four sigmoids": (sigmoid(4), BCE, "sigmoid", "classes"),
    "sigmoids side by side": (
        merged("Concatenate", sigmoid(), sigmoid(), sigmoid(2)),
        BCE,
        "sigmoid",
        "classes",
    ),
    "an average of sigmoids": (merged("Average", sigmoid(), sigmoid()), BCE, "sigmoid", "classes"),
    "a maximum of sigmoids": (merged("Maximum", sigmoid(3), sigmoid(3)), BCE, "sigmoid", "classes"),
    "softmaxes side by side": (
        merged("Concatenate", softmax(2), softmax(3)),
        None,
        "sigmoid",
        "classes",
    ),
    "softmax, squares": (softmax(), "mse", "softmax", "classes"),
    "hard sigmoid, cross-entropy": (dense(3, "hard_sigmoid"), BCE, "sigmoid", "classes"),
    # Logits.
    "from logits": (dense(5), "one from logits", "logits", "classes"),
    "each from logits": (dense(5), "any from logits", "logits", "classes"),
    "one unit from logits": (dense(1), "any from logits", "logits", "classes"),
    "tanh from logits": (dense(5, "tanh"), "one from logits", "logits", "classes"),
    "a convolution, pooled": (pooled(None), None, "logits", "vector"),
    "one unit": (dense(1), None, "logits", "number"),
    # What is no probability.
    "linear, cross-entropy": (dense(5), CCE, "values", "classes"),
    "sigmoids, one of them": (sigmoid(4), CCE, "values", "classes"),
    "boxes": (sigmoid(4), "huber", "sigmoid", "vector"),
    "a share, measured": (sigmoid(), "mae", "sigmoid", "number"),
    "a margin": (dense(1, "tanh"), "hinge", "values", "classes"),
    "counts": (dense(1, "exponential"), "poisson", "values", "number"),
    "relu": (dense(3, "relu"), None, "values", "vector"),
    "tanh": (dense(3, "tanh"), None, "values", "vector"),
    "hard sigmoid": (dense(3, "hard_sigmoid"), None, "values", "vector"),
    "softmax of one unit": (softmax(1), None, "values", "number"),
    "a sum of softmaxes": (merged("Add", softmax(), softmax()), None, "values", "vector"),
    "a product": (merged("Multiply", softmax(), sigmoid(5)), None, "unknown", "vector"),
    "softmax, dense": (then(softmax(), lambda la: la.Dense(3)), None, "logits", "vector"),
    "softmax, normalised": (
        then(softmax(), lambda la: la.BatchNormalization()),
        None,
        "values",
        "vector",
    ),
    "softmax, relu": (then(softmax(), lambda la: la.ReLU()), None, "softmax", "classes"),
    "linear, normalised": (
        then(dense(3), lambda la: la.BatchNormalization()),
        None,
        "values",
        "vector",
    ),
}
# Keras 2 names fewer layers and activations.
CASES_OF_3: dict[str, tuple[Build, str | None, str, str]] = {
    "log_softmax": (dense(5, "log_softmax"), None, "log-probabilities", "classes"),
    "log_sigmoid": (dense(1, "log_sigmoid"), None, "log-probabilities", "classes"),
    # Its rows do not sum to 1 in Keras 3.15.
    "sparsemax": (dense(5, "sparsemax"), None, "unknown", "vector"),
    "softmax function": (
        lambda _, x: keras.ops.softmax(keras.layers.Dense(5)(x)),
        None,
        "softmax",
        "classes",
    ),
    "softmax with a temperature": (
        lambda _, x: keras.ops.softmax(keras.layers.Dense(5)(x) / 2.5),
        None,
        "softmax",
        "classes",
    ),
    "a temperature after softmax": (
        lambda _, x: keras.layers.Dense(5, activation="softmax")(x) / 2.5,
        None,
        "values",
        "vector",
    ),
    "logits with a temperature": (
        lambda _, x: keras.layers.Dense(5)(x) / 2.5,
        None,
        "logits",
        "vector",
    ),
    "the logarithm of a softmax": (
        lambda _, x: keras.ops.log(keras.layers.Dense(5, activation="softmax")(x) + 1e-7),
        None,
        "log-probabilities",
        "classes",
    ),
    "the exponential of log_softmax": (
        lambda _, x: keras.ops.exp(keras.ops.log_softmax(keras.layers.Dense(5)(x))),
        None,
        "softmax",
        "classes",
    ),
    "a softmax by hand": (
        lambda _, x: (lambda e: e / keras.ops.sum(e, axis=-1, keepdims=True))(
            keras.ops.exp(keras.layers.Dense(5)(x))
        ),
        None,
        "softmax",
        "classes",
    ),
    "a weighted average": (
        lambda _, x: (
            0.25 * keras.layers.Dense(5, activation="softmax")(x)
            + 0.75 * keras.layers.Dense(5, activation="softmax")(x)
        ),
        None,
        "softmax",
        "classes",
    ),
    "stacked and averaged": (
        lambda _, x: keras.ops.mean(
            keras.ops.stack(
                [keras.layers.Dense(5, activation="softmax")(x) for _ in range(3)], axis=1
            ),
            axis=1,
        ),
        None,
        "softmax",
        "classes",
    ),
    "a unit and its contrary": (
        lambda _, x: (lambda p: keras.ops.concatenate([1 - p, p], axis=-1))(
            keras.layers.Dense(1, activation="sigmoid")(x)
        ),
        None,
        "softmax",
        "classes",
    ),
    "one of a softmax": (
        lambda _, x: keras.layers.Dense(5, activation="softmax")(x)[:, 1:2],
        None,
        "sigmoid",
        "classes",
    ),
    "clipped": (
        lambda _, x: keras.ops.clip(keras.layers.Dense(5, activation="softmax")(x), 1e-7, 1 - 1e-7),
        None,
        "softmax",
        "classes",
    ),
    "softmax along the rows": (
        lambda _, x: keras.ops.softmax(keras.layers.Dense(5)(x), axis=0),
        None,
        "unknown",
        "vector",
    ),
    "an expected age": (
        lambda _, x: keras.ops.matmul(
            keras.layers.Dense(5, activation="softmax")(x), np.arange(5.0, dtype="float32")[:, None]
        ),
        None,
        "logits",
        "number",
    ),
    "unit length": (
        lambda _, x: keras.layers.UnitNormalization()(keras.layers.Dense(5)(x)),
        None,
        "values",
        "vector",
    ),
    "an index": (
        lambda _, x: keras.ops.argmax(keras.layers.Dense(5, activation="softmax")(x), axis=-1),
        None,
        "values",
        "number",
    ),
    "half precision": (
        lambda _, x: keras.layers.Activation("softmax", dtype="float16")(keras.layers.Dense(5)(x)),
        None,
        "softmax",
        "classes",
    ),
}
ALL = [
    *((name, library, CASES[name]) for name in CASES for library in LIBRARIES),
    *((name, "keras", CASES_OF_3[name]) for name in CASES_OF_3),
]
