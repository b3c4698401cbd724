"""Models whose cards have examples, and of which one can compute where they look."""

from __future__ import annotations

import io
from pathlib import Path

import keras
import numpy as np
from keras import layers
from PIL import Image

from tests.kinds import COUPLE, TABLES, couple, grey, tables
from tests.models import save_text_model
from tests.saved_once import saved_once
from tests.texts import save_layout

SIDE = 16
LABELS = ("dark", "light")
SPOT = """\
title: A spot
task: image-classification
labels: [dark, light]
input: {scale: none}
examples:
- spot.png
- {name: All grey, input: pictures/grey.png}
"""


def spot_picture() -> bytes:
    """A grey picture with a white square at the top left, a quarter of each side."""
    pixels = np.full((SIDE, SIDE, 3), 60, np.uint8)
    pixels[:4, :4] = 255
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def spot() -> keras.Model:
    """The probability of light: a sigmoid of the mean of the quarter of each side at the top
    left, which is 100 at its middle."""
    picture = layers.Input((SIDE, SIDE, 3), name="picture")
    flat = layers.Flatten()(picture)
    dense = layers.Dense(1, "sigmoid", name="light")
    model = keras.Model(picture, dense(flat))
    weights = np.zeros((SIDE, SIDE, 3), np.float32)
    weights[:4, :4] = 1 / (4 * 4 * 3) / 40
    dense.set_weights([weights.reshape(-1, 1), np.array([-100 / 40], np.float32)])
    return model


def mean_of() -> keras.Model:
    """The mean of a picture, as a number."""
    picture = layers.Input((8, 8, 3), name="picture")
    mean = layers.GlobalAveragePooling2D()(picture)
    out = layers.Dense(1, use_bias=False, kernel_initializer=keras.initializers.Constant(1 / 3))
    return keras.Model(picture, out(mean))


def lists() -> keras.Model:
    """The sum of rows of any number of pairs."""
    rows = layers.Input((None, 2), name="pairs")
    return keras.Model(rows, keras.ops.sum(rows, axis=(1, 2), keepdims=False)[:, None])


NUMBER = """\
inputs: {picture: {kind: picture, scale: none}}
outputs: {mean: {kind: number, unit: grey, decimals: 1}}
"""
PAIR = (
    COUPLE
    + """\
examples:
- {left: left.png, right: right.png, facts: {weight: 30, height: 1.6}}
"""
)
ROWS = (
    TABLES
    + """\
examples:
- name: Small
  input: {first: {a: 1, b: 2}, second: {c: 3}}
- {first: {a: 10, b: 20}, second: {c: 30}}
"""
)
WORDS = "examples: [w1 w2, {name: Another, input: w3}]\n"
LISTS = "task: tensor\nexamples: [[[1, 2], [3, 4], [5, 6]]]\n"


def save_examples(folder: Path) -> Path:
    """Save spot, quiet, mean, couple, tables, lists, writer, review and mood with their cards;
    returns the folder."""
    _save_examples(folder)
    return folder


@saved_once
def _save_examples(folder: Path) -> None:
    keras.utils.set_random_seed(5)
    for name, model, card in (
        ("spot", spot(), SPOT),
        ("quiet", spot(), SPOT.partition("examples")[0] + "explain: false\n"),
        ("mean", mean_of(), NUMBER),
        ("couple", couple(), PAIR),
        ("tables", tables(), ROWS),
        ("lists", lists(), LISTS),
    ):
        (folder / name).mkdir(parents=True)
        model.save(folder / name / "model.keras")
        (folder / name / "model.yaml").write_text(card)
    (folder / "spot" / "spot.png").write_bytes(spot_picture())
    (folder / "spot" / "pictures").mkdir()
    (folder / "spot" / "pictures" / "grey.png").write_bytes(grey(90))
    (folder / "couple" / "left.png").write_bytes(grey(51))
    (folder / "couple" / "right.png").write_bytes(grey(7))
    save_text_model(folder / "writer")
    with (folder / "writer" / "model.yaml").open("a") as file:
        file.write(WORDS)
    # Ids of words, and texts as they are.
    save_layout(folder / "review", "imdb")
    with (folder / "review" / "model.yaml").open("a") as file:
        file.write("examples: [the film was good]\n")
    save_layout(folder / "mood", "sentiment")


def save_slow(folder: Path, runtime: str) -> None:
    """A model whose runs take some hundredths of a second a row."""
    x = inputs = layers.Input((128, 128, 3), name="scene")
    for _ in range(2):
        x = layers.Conv2D(32, 9, padding="same")(x)
    x = layers.Dense(2, "softmax")(layers.GlobalAveragePooling2D()(x))
    folder.mkdir(parents=True)
    keras.Model(inputs, x).save(folder / "model.keras")
    card = f'task: image-classification\ninput: {{scale: "0..1"}}\nruntime: {{{runtime}}}\n'
    (folder / "model.yaml").write_text(card)
