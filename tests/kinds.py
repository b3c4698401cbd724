"""Models with several inputs and outputs, whose answers can be computed by hand."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers
from PIL import Image

from tests.saved_once import saved_once

# The pixels of pictures that tests send are all alike: what a model answers follows from a number.
COUPLE = """\
title: A couple
inputs:
  left: {kind: picture, scale: "0..1"}
  right: {kind: picture, scale: none}
  facts:
    kind: fields
    fields:
    - {name: weight, min: 0, max: 100, unit: kg, example: 40}
    - {name: height, example: 1.5}
outputs:
  age: {kind: number, unit: years, decimals: 1}
  gender: {kind: classes, labels: [female, male]}
  features: {kind: vector}
"""
TABLES = """\
inputs:
  first: {kind: fields, fields: [{name: a, example: 1}, {name: b, example: 2}]}
  second: {kind: fields, fields: [{name: c, example: 3}]}
outputs:
  sum: {kind: number, decimals: 2}
  corner: {kind: number, names: [x, y]}
"""


def grey(value: int, size: tuple[int, int] = (12, 10), format: str = "PNG") -> bytes:
    """A picture whose pixels all have the same value."""
    out = io.BytesIO()
    Image.new("RGB", size, (value, value, value)).save(out, format)
    return out.getvalue()


def couple() -> keras.Model:
    """age: mean of left (0..1) + mean of right (0..255) + weight. gender: softmax of the two facts.
    features: (mean of left, weight, height)."""
    left, right = layers.Input((6, 8, 3), name="left"), layers.Input((4, 4, 1), name="right")
    facts = layers.Input((2,), name="facts")
    a = layers.Reshape((1,))(
        layers.AveragePooling2D((6, 8))(keras.ops.mean(left, -1, keepdims=True))
    )
    b = layers.Reshape((1,))(layers.AveragePooling2D((4, 4))(right))
    weight = layers.Dense(1, use_bias=False, trainable=False, name="weight")
    age = layers.Add(name="age")([a, b, weight(facts)])
    gender = layers.Softmax(name="gender")(facts)
    features = layers.Concatenate(name="features")([a, facts])
    model = keras.Model([left, right, facts], {"age": age, "gender": gender, "features": features})
    weight.set_weights([np.array([[1.0], [0.0]], np.float32)])
    return model


def tables() -> keras.Model:
    """sum: a + b + c. corner: (a, c)."""
    first, second = layers.Input((2,), name="first"), layers.Input((1,), name="second")
    together = layers.Concatenate()([first, second])
    total = layers.Dense(1, use_bias=False, kernel_initializer="ones", name="sum")(together)
    pick = layers.Dense(2, use_bias=False, name="corner")
    corner = pick(together)
    pick.set_weights([np.array([[1, 0], [0, 0], [0, 1]], np.float32)])
    return keras.Model([first, second], {"sum": total, "corner": corner})


def ages() -> keras.Model:
    """A number from a picture, the mean of its pixels as they are fed."""
    picture = layers.Input((8, 8, 3), name="face")
    mean = layers.GlobalAveragePooling2D()(picture)
    out = layers.Dense(1, use_bias=False, kernel_initializer=keras.initializers.Constant(1 / 3))
    return keras.Model(picture, out(mean))


def features() -> keras.Model:
    """The means of a picture's channels."""
    picture = layers.Input((8, 8, 3), name="picture")
    return keras.Model(picture, layers.GlobalAveragePooling2D()(picture))


@saved_once
def save_couple(folder: Path) -> None:
    """Save the model of two pictures, fields and three heads, with its card."""
    folder.mkdir(parents=True)
    couple().save(folder / "model.keras")
    (folder / "model.yaml").write_text(COUPLE)


def save_kinds(folder: Path) -> Path:
    """Save the models of this module, with their cards, and some bare files; returns the folder."""
    _save_kinds(folder)
    return folder


@saved_once
def _save_kinds(folder: Path) -> None:
    for name, model, card in (
        ("couple", couple(), COUPLE),
        ("tables", tables(), TABLES),
        ("ages", ages(), "outputs:\n  age: {kind: number, unit: years, decimals: 0}\n"),
        ("features", features(), "outputs:\n  means: {kind: vector}\n"),
    ):
        (folder / name).mkdir(parents=True)
        model.save(folder / name / "model.keras")
        (folder / name / "model.yaml").write_text(card)
    couple().save(folder / "bare.keras")


def exported(classes: int) -> Any:
    """A model built as Teachable Machine builds them, with random weights."""
    import tf_keras

    tf_keras.utils.set_random_seed(1)
    layers = tf_keras.layers
    first, second, third = (tf_keras.initializers.RandomNormal(stddev=1, seed=i) for i in range(3))
    backbone = tf_keras.Sequential(
        [
            layers.Input((224, 224, 3)),
            layers.AveragePooling2D(56),
            layers.Conv2D(8, 2, kernel_initializer=first),
            layers.GlobalAveragePooling2D(),
        ]
    )
    head = tf_keras.Sequential(
        [
            layers.Input((8,)),
            layers.Dense(16, "relu", kernel_initializer=second),
            layers.Dense(classes, "softmax", use_bias=False, kernel_initializer=third),
        ]
    )
    return tf_keras.Sequential([layers.Input((224, 224, 3)), backbone, head])
