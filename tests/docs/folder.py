"""A copy of the repository, with the files and models that the examples speak of."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import keras

from tests.browser.screenshots import cat
from tests.models import save_text_model
from tests.sounds import recording, tone
from tests.stack.compose import copy_of_the_repository
from tests.support import CAR, DATA


def clone(folder: Path) -> Path:
    """What a reader has after the first command: the repository, with an environment that is
    installed already."""
    copy_of_the_repository(folder)
    venv = folder / ".venv"
    venv.mkdir()
    for entry in Path(sys.prefix).iterdir():
        if entry.name not in (".runtime", ".dev"):
            (venv / entry.name).symlink_to(entry)
    for stamp in (".runtime", ".dev"):
        (venv / stamp).touch()
    return folder


def own_files(folder: Path) -> None:
    """The files that a reader of the examples is said to have."""
    (folder / "cat.jpg").write_bytes(cat())
    shutil.copy2(folder / "models" / "membranes" / "slice1.png", folder / "slice.png")
    columns, row = ",".join(CAR), ",".join(map(str, CAR.values()))
    (folder / "yes.wav").write_bytes(recording(tone(), subtype="PCM_16"))
    (folder / "history.csv").write_text("temperature,wind\n" + "11.5,3\n" * 24)
    (folder / "cars.csv").write_text(f"{columns}\n{row}\n{row}\n")
    save_flowers(folder / "flowers.keras")
    shutil.copy2(folder / "flowers.keras", folder / "model.keras")
    shutil.copy2(DATA / "models" / "keras2_mlp.h5", folder / "old.h5")


def save_flowers(file: Path) -> None:
    """A small classifier of pictures."""
    picture = keras.Input((16, 16, 3))
    scores = keras.layers.Dense(3, activation="softmax")(keras.layers.Flatten()(picture))
    keras.Model(picture, scores).save(file)


def own_models(models: Path) -> None:
    """The models that the examples ask, beside those of the repository."""
    iris = keras.Input((3,))
    _save(models / "tensors", keras.Model(iris, keras.layers.Dense(2)(iris)), "task: tensor\n")
    size, place = keras.Input((1,), name="size"), keras.Input((), name="place", dtype="string")
    length = keras.ops.cast(keras.layers.Hashing(num_bins=9)(place), "float32")[:, None]
    both = keras.layers.Concatenate()([size, length])
    outputs = {
        "price": keras.layers.Dense(1)(both),
        "kind": keras.layers.Dense(2, activation="softmax")(both),
    }
    _save(models / "flats", keras.Model({"size": size, "place": place}, outputs))
    face, person = keras.Input((64, 64, 3), name="face"), keras.Input((3,), name="person")
    both = keras.layers.Concatenate()([keras.layers.Flatten()(face), person])
    heads = {
        "age": keras.layers.Dense(1)(both),
        "gender": keras.layers.Dense(2, activation="softmax")(both),
    }
    _save(models / "age", keras.Model({"face": face, "person": person}, heads), _AGE)
    wave = keras.Input((16_000, 1), name="wave")
    heard = keras.layers.GlobalAveragePooling1D()(keras.layers.Conv1D(4, 9, 8)(wave))
    word = keras.layers.Dense(3, activation="softmax")
    _save(models / "words", keras.Model(wave, word(heard)), _WORDS)
    for name, columns, units, card in (("weather", 2, 1, _WEATHER), ("sales", 1, 3, _SALES)):
        rows = keras.Input((24 if columns == 2 else 8, columns), name="history")
        ahead = keras.layers.Dense(units)(keras.layers.LSTM(4)(rows))
        _save(models / name, keras.Model(rows, ahead), card)
    save_text_model(models / "writer")
    words = models / "writer" / "vocabulary.txt"
    words.write_text(words.read_text().replace("w1\n", "neural\n").replace("w2\n", "network\n"))


_WORDS = """\
inputs: {wave: {kind: audio, rate: 16000}}
outputs: {word: {kind: classes, labels: [yes, no, other]}}
"""
_WEATHER = """\
inputs: {history: {kind: series, columns: [temperature, wind]}}
outputs: {temperature: {kind: number, unit: °C, decimals: 1}}
"""
_SALES = "inputs: {history: {kind: series}}\noutputs: {sales: {kind: number}}\n"
_AGE = """\
inputs:
  face: {kind: picture, scale: "-1..1"}
  person: {kind: fields, fields: [{name: height}, {name: weight}, {name: smoker}]}
outputs:
  age: {kind: number, decimals: 0}
  gender: {kind: classes, labels: [female, male]}
"""


def _save(folder: Path, model: keras.Model, card: str = "") -> None:
    folder.mkdir(parents=True)
    model.save(folder / "model.keras")
    if card:
        (folder / "model.yaml").write_text(card)
