"""Small models of every task but pictures, with names and values that are easily got wrong."""

from __future__ import annotations

from pathlib import Path

import keras

from tests.models import save_text_model
from tests.saved_once import saved_once
from tests.texts import save_layout

# Long enough that it is still being written whenever a test looks.
ENDLESS = 1_000_000


def save_assorted(models: Path) -> None:
    """writer, plain, endless, hasty; the table `awkward.rows_1`; wide, two, big and flags; imdb,
    which takes texts."""
    _save_texts(models)
    save_layout(models / "imdb", "imdb")
    _save_rows_and_tensors(models)


@saved_once
def _save_rows_and_tensors(models: Path) -> None:
    layers = keras.layers
    x = keras.Input((3,))
    _save(models / "awkward.rows_1", keras.Model(x, layers.Dense(1)(x)), AWKWARD)
    _save(models / "wide", keras.Model(x, layers.Dense(900)(x)))
    left, right = keras.Input((3,), name="left"), keras.Input((2,), name="right", dtype="int32")
    outputs = {"sum": layers.Dense(2)(left), "seen": layers.Embedding(10, 2)(right)}
    _save(models / "two", keras.Model({"left": left, "right": right}, outputs))
    x = keras.Input((16, 16, 3))
    _save(models / "big", keras.Model(x, layers.Conv2D(1, 16)(x)))
    x = keras.Input((2,), dtype="bool")
    _save(models / "flags", keras.Model(x, layers.Dense(1)(keras.ops.cast(x, "float32"))))


AWKWARD = """\
title: It's <b>awkward</b> & "quoted"
task: tabular-regression
fields:
- {name: driver's age, min: 18, max: 99, example: 44}
- {name: 'Größe "XL" \\ $HOME `id`', min: 1.5, max: 2}
- {name: 色, choices: {1: it's red, 2: blue}}
output: {name: l'été}
"""


def _save(folder: Path, model: keras.Model, card: str = "task: tensor\n") -> None:
    folder.mkdir(parents=True)
    model.save(folder / "model.keras")
    (folder / "model.yaml").write_text(card, encoding="utf-8")


def _save_texts(models: Path) -> None:
    save_text_model(models / "writer")
    start = 'W1 it\'s "w2" $HOME `id` über w3 w4 w5.\n'
    (models / "writer" / "starts.txt").write_text(start, encoding="utf-8")
    save_text_model(models / "plain")
    card = models / "plain" / "model.yaml"
    card.write_text(card.read_text().replace("starts: starts.txt, ", ""))
    words = f"{{min: 10, max: {ENDLESS}, default: {ENDLESS}}}"
    for name, runtime in (("endless", "max_queue: 1, timeout_s: 600"), ("hasty", "timeout_s: 0.5")):
        save_text_model(models / name)
        (models / name / "model.yaml").write_text(
            "task: text-generation\n"
            f"text: {{starts: starts.txt, words: {words}}}\n"
            f"runtime: {{{runtime}}}\n"
        )
