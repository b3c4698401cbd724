"""Count how often the scale of pictures is found in models whose training is known.

    python training/picture_scales.py --data cats_dogs_train.tar --models 100

Trains small models on the 1,997 JPEGs that `cats_dogs.py` uses, each with a scale, an order of the
colours, a size and a layout drawn by chance, from one to ten epochs long; a quarter of them are
grey. Then the reader says what it finds, as when it loads the files.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from app.serving.pixels import scaled
from app.serving.reading.picture_scale.evidence import picture_evidence
from app.serving.signature import Order, PictureEvidence, TensorSpec
from training.cats_dogs import decode, read_pictures

TRAINED_ON = 1200
BATCH = 32
NORMED = ("conv-norm", "conv-relu-norm", "separable", "norm-first", "dense")
PLAIN = ("no-norm", "rescaling", "rescaling-norm", "normalization")
# What a card cannot name: nothing may be claimed about these.
HALF, STANDARD = "-0.5..0.5", "each picture by itself"

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Recipe:
    """How a model is trained. scale: of `Scale`, or HALF or STANDARD. layout: see `build`."""

    seed: int
    layout: str
    scale: str
    order: Order
    channels: int
    size: int
    momentum: float
    epochs: int

    @classmethod
    def drawn(cls, seed: int) -> Recipe:
        """Draw a recipe."""
        draw = random.Random(seed)
        channels = draw.choice((3, 3, 3, 1))
        normed = ("conv-norm", "conv-norm", "conv-relu-norm", "separable", "norm-first", "dense")
        plain = ("no-norm", "rescaling", "rescaling-norm", "normalization")
        layout = draw.choice((*normed, *plain))
        usual, rare = ["none", "0..1", "-1..1"], ["caffe", "torch", HALF, STANDARD]
        scale = draw.choice([*usual, *usual, *(rare if channels == 3 else rare[2:])])
        if layout.startswith("rescaling"):
            scale = "none"
        elif layout == "normalization":
            scale = draw.choice(("none", "0..1"))
        reversible = channels == 3 and scale in usual
        return cls(
            seed,
            layout,
            scale,
            "bgr" if reversible and draw.random() < 1 / 3 else "rgb",
            channels,
            draw.choice((32, 48, 64)),
            draw.choice((0.99, 0.99, 0.9)),
            draw.choice((1, 3, 5, 10)),
        )


def build(recipe: Recipe, pictures: Array) -> Any:
    """Build the model: three convolutions with or without BatchNormalization, and what comes before
    them."""
    layers = keras.layers

    def norm(x: Any) -> Any:
        return layers.BatchNormalization(momentum=recipe.momentum)(x)

    inputs = keras.Input(pictures.shape[1:])
    x = inputs
    if recipe.layout.startswith("rescaling"):
        x = layers.Rescaling(1 / 255)(x)
    elif recipe.layout == "normalization":
        normalization = layers.Normalization()
        normalization.adapt(pictures[:500])
        x = normalization(x)
    elif recipe.layout == "norm-first":
        x = norm(x)
    for width in () if recipe.layout == "dense" else (16, 32, 64):
        if recipe.layout == "conv-relu-norm":
            x = norm(layers.Conv2D(width, 3, padding="same", activation="relu")(x))
        elif recipe.layout == "separable" and width > 16:
            x = norm(layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x))
            x = layers.ReLU()(norm(layers.Conv2D(width, 1, use_bias=False)(layers.ReLU()(x))))
        else:
            x = layers.Conv2D(width, 3, padding="same")(x)
            if recipe.layout in (*NORMED, "rescaling-norm"):
                x = norm(x)
            x = layers.ReLU()(x)
        x = layers.MaxPooling2D()(x)
    if recipe.layout == "dense":
        x = layers.ReLU()(norm(layers.Dense(64)(layers.Flatten()(x))))
    else:
        x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(1, activation="sigmoid")(x))


def train(recipe: Recipe, pixels: Array, labels: Array) -> Any:
    """Train a model on uint8 pictures (n, size, size, channels)."""
    keras.utils.set_random_seed(recipe.seed)
    pictures = fed(pixels, recipe)
    model = build(recipe, pictures)
    model.compile("adam", "binary_crossentropy")
    chosen = np.random.default_rng(recipe.seed).permutation(len(pictures))[:TRAINED_ON]
    model.fit(pictures[chosen], labels[chosen], batch_size=BATCH, epochs=recipe.epochs, verbose=0)
    return model


def fed(pixels: Array, recipe: Recipe) -> Array:
    """Scale pictures as the recipe says."""
    values = tf.constant(pixels, tf.float32)
    if recipe.scale == HALF:
        values = values / 255 - 0.5
    elif recipe.scale == STANDARD:
        values = tf.image.per_image_standardization(values)
    else:
        scale: Any = recipe.scale
        values = scaled(values, scale, recipe.order)
    return np.asarray(values)


def found(model: Any) -> PictureEvidence:
    """Return what the reader finds."""
    spec = TensorSpec("x", "x:0", "float32", tuple(model.input_shape))
    return picture_evidence(model, lambda tensors: model(tensors[0], training=False), [spec])["x"]


def outcome(recipe: Recipe, evidence: PictureEvidence) -> str:
    """Say in a word or two what the evidence is worth."""
    right = evidence.scale == recipe.scale
    if evidence.proven:
        return "shown, right" if right else "shown, WRONG"
    return "guess, right" if right else "guess, wrong"


def order_outcome(recipe: Recipe, evidence: PictureEvidence) -> str:
    """The same for the order of the colours."""
    if evidence.order is None:
        return "order not shown"
    shown = "order shown as " + evidence.order
    return shown if evidence.order == recipe.order else f"{shown}, WRONG"


@click.command()
@click.option("--data", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--models", default=100, show_default=True)
@click.option("--first", default=0, show_default=True, help="The seed of the first model.")
def main(data: Path, models: int, first: int) -> None:
    """Train the models, and print what is found in each and in all."""
    pictures = read_pictures(data)
    sets: dict[int, tuple[Array, Array]] = {}
    counts: dict[str, Counter[str]] = {layout: Counter() for layout in NORMED + PLAIN}
    orders = Counter[str]()
    for seed in range(first, first + models):
        recipe = Recipe.drawn(seed)
        if recipe.size not in sets:
            sets[recipe.size] = decode(pictures, recipe.size, draft=True)
        pixels, labels = sets[recipe.size]
        if recipe.channels == 1:
            pixels = np.rint(pixels @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)[..., None]
        model = train(recipe, pixels, labels)
        started = time.monotonic()
        evidence = found(model)
        took = time.monotonic() - started
        counts[recipe.layout][outcome(recipe, evidence)] += 1
        if recipe.channels == 3 and evidence.proven and recipe.scale != "caffe":
            orders[order_outcome(recipe, evidence)] += 1
        print(f"{recipe}: {evidence.scale}, {outcome(recipe, evidence)}, {took:.2f} s", flush=True)
        keras.backend.clear_session()
    for layout, count in counts.items():
        print(f"{layout:15} {dict(count)}")
    print(f"{'all':15} {dict(sum(counts.values(), Counter()))}")
    print(dict(orders))


if __name__ == "__main__":
    main()
