"""Small models that answer masks and pictures: layouts that people train."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers
from PIL import Image

from tests.saved_once import saved_once

MEMBRANES = """\
title: Membranes
outputs:
  cells: {kind: mask, labels: [membrane, cell]}
"""
STREETS = """\
inputs:
  street: {kind: picture, scale: "-1..1", resize: pad}
outputs:
  ground: {kind: mask, labels: [road, grass, water]}
"""


def noise(size: tuple[int, int], channels: int = 3, seed: int = 0) -> Any:
    """Random pixels: uint8 (height, width, channels)."""
    return np.random.default_rng(seed).integers(0, 256, (*size, channels), np.uint8)


def encoded(pixels: Any, format: str = "PNG", **options: Any) -> bytes:
    """Encode pixels as a file."""
    out = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(out, format, **options)
    return out.getvalue()


def decoded(png: bytes) -> Image.Image:
    """Open a PNG."""
    image = Image.open(io.BytesIO(png))
    assert image.format == "PNG"
    return image


def _block(x: Any, width: int) -> Any:
    return layers.Conv2D(width, 3, padding="same", activation="relu")(x)


def unet(size: int | None, channels: int, classes: int, depth: int = 2) -> keras.Model:
    """A U-Net: sides are halved `depth` times. classes: 1 for a sigmoid, more for a softmax."""
    keras.utils.set_random_seed(classes)
    x = inputs = layers.Input((size, size, channels), name="street")
    x = layers.Rescaling(1 / 64, offset=-2)(x) if size is None else x
    kept = []
    for _ in range(depth):
        x = _block(x, 4)
        kept.append(x)
        x = layers.MaxPooling2D()(x)
    x = _block(x, 6)
    for skip in reversed(kept):
        x = layers.Concatenate()([layers.UpSampling2D()(x), skip])
        x = _block(x, 4)
    activation = "sigmoid" if classes == 1 else "softmax"
    loss = "binary_crossentropy" if classes == 1 else "sparse_categorical_crossentropy"
    model = keras.Model(inputs, layers.Conv2D(classes, 1, activation=activation, name="mask")(x))
    model.compile("sgd", loss)
    return model


def autoencoder() -> keras.Model:
    """A convolutional autoencoder of grey pictures of 28 x 28."""
    keras.utils.set_random_seed(2)
    inputs = layers.Input((28, 28, 1), name="digit")
    x = layers.MaxPooling2D()(_block(inputs, 4))
    x = layers.UpSampling2D()(_block(x, 2))
    clean = layers.Conv2D(1, 3, padding="same", activation="sigmoid", name="clean")
    model = keras.Model(inputs, clean(x))
    model.compile("sgd", "binary_crossentropy")
    return model


def doubled() -> keras.Model:
    """Super-resolution by two: pictures of any size, twice as high and wide."""
    keras.utils.set_random_seed(3)
    inputs = layers.Input((None, None, 3), name="small")
    x = layers.Conv2DTranspose(3, 4, 2, padding="same", name="large")(inputs)
    model = keras.Model(inputs, x)
    model.compile("sgd", "mae")
    return model


# The border that `framed` leaves out: above, below, left, right.
FRAME = (2, 5, 3, 4)


def framed(size: int | None, loss: str) -> keras.Model:
    """What is bright in the part that FRAME leaves: a mask, or with the loss "mse" a picture."""
    x = inputs = layers.Input((size, size, 1), name="street")
    kernel = np.zeros((5, 5, 1, 1), np.float32)
    kernel[2, 2] = 200 if loss == "binary_crossentropy" else 1
    bias = keras.initializers.Constant(-100 if loss == "binary_crossentropy" else 0)
    weights = keras.initializers.Constant(kernel)
    activation = "sigmoid" if loss == "binary_crossentropy" else None
    x = layers.Conv2D(
        1, 5, kernel_initializer=weights, bias_initializer=bias, activation=activation
    )(x)
    model = keras.Model(inputs, layers.Cropping2D(((0, 3), (1, 2)), name="out")(x))
    model.compile("sgd", loss)
    return model


FRAMED = 'inputs:\n  street: {kind: picture, scale: "0..1"}\n'

# How each is made, and its card.
MODELS: dict[str, tuple[Callable[[], keras.Model], str | None]] = {
    "membranes": (lambda: unet(None, 1, 1), MEMBRANES),
    "streets": (lambda: unet(32, 3, 3), STREETS),
    "digits": (autoencoder, None),
    "doubled": (doubled, 'inputs:\n  small: {kind: picture, scale: "0..1"}\n'),
    "bare": (lambda: unet(None, 1, 1), None),
    "framed": (lambda: framed(28, "binary_crossentropy"), FRAMED),
    "framed-own": (lambda: framed(None, "binary_crossentropy"), FRAMED),
    "framed-picture": (lambda: framed(28, "mse"), FRAMED),
}


def save_drawn(folder: Path, *only: str) -> Path:
    """Save the models of this module, some without a card; returns the folder."""
    for name in only or MODELS:
        _save(folder / name, name)
    return folder


@saved_once
def _save(folder: Path, name: str) -> None:
    make, card = MODELS[name]
    folder.mkdir(parents=True)
    make().save(folder / "model.keras")
    if card is not None:
        (folder / "model.yaml").write_text(card)
