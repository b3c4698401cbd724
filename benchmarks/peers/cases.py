"""What every contestant is asked, and when two answers mean the same."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from PIL import Image

from benchmarks.cases import CNN, TABULAR, tabular
from benchmarks.picture import jpeg
from benchmarks.tensors import pixels

ROW, PICTURE, TENSOR = "row", "picture", "tensor"
APPLICATIONS = ("MobileNet", "ResNet50", "EfficientNetB0")
CONNECTIONS = (1, 32, 256)
# 256 times 19 MB in flight would measure the memory of the machine.
FEW_CONNECTIONS = (1, 32)
# How far two answers to the same tensor may be apart: the sums of the model run in another order.
TOLERANCE = 0.01
# bfloat16 has about three digits, of which a deep model loses one.
COARSE_TOLERANCE = 0.2

Answer = float | tuple[str, float] | NDArray[np.float32]


@dataclass(frozen=True)
class Case:
    """One input to one model.

    kind: of input. model: name of its folder. payload: the input that is measured, a row by names,
    a file or a batch. check: the input on which all answers must agree. tolerance: of a number.
    """

    name: str
    kind: str
    model: str
    payload: Any
    check: Any
    connections: tuple[int, ...] = CONNECTIONS
    tolerance: float = TOLERANCE


def row(models: Path) -> Case:
    """A row of seven numbers to a small dense network."""
    values = orjson.loads(tabular(models).body)
    # Keraport rounds as the card says: to one decimal.
    return Case("row", ROW, TABULAR, values, values, tolerance=0.051)


def cnn() -> Case:
    """A picture to a small convolutional network."""
    return _picture("CNN", CNN, 150)


def application(name: str) -> Case:
    """A picture to a model of keras.applications."""
    return _picture(name, name, 224)


def _picture(name: str, model: str, side: int) -> Case:
    # Peers resize a picture by picking pixels, Keraport by averaging them. At the size of the model
    # there is nothing to resize, and the answers must be the same.
    return Case(name, PICTURE, model, jpeg(), _at_size(side))


@cache
def _at_size(side: int) -> bytes:
    out = io.BytesIO()
    picture = Image.open(io.BytesIO(jpeg())).resize((side, side))
    picture.save(out, "JPEG", quality=90)
    return out.getvalue()


def tensor() -> Case:
    """A batch of 32 pictures as floats, 19 MB, to MobileNet."""
    batch = pixels()
    return Case("19 MB tensor", TENSOR, "tensor", batch, batch, FEW_CONNECTIONS)


def agree(case: Case, ours: Answer, theirs: Answer, *, coarse: bool = False) -> bool:
    """Whether two answers to the input to check mean the same. coarse: one is of bfloat16; of a
    batch, then most rows must have the same favourite."""
    tolerance = COARSE_TOLERANCE if coarse else case.tolerance
    if isinstance(ours, tuple) and isinstance(theirs, tuple):
        return ours[0] == theirs[0] and abs(ours[1] - theirs[1]) <= tolerance
    mine, others = np.asarray(ours), np.asarray(theirs)
    if mine.shape != others.shape:
        return False
    if coarse and mine.ndim:
        rows = len(case.check)
        same = mine.reshape(rows, -1).argmax(1) == others.reshape(rows, -1).argmax(1)
        return bool(same.mean() > 0.5)
    return bool(np.allclose(mine, others, rtol=0, atol=tolerance))


NAMES = ("row", "CNN", *APPLICATIONS, "19 MB tensor")


def make(name: str, models: Path) -> Case:
    """The case of a name in NAMES; `models` holds those that come with Keraport."""
    if name == "row":
        return row(models)
    if name == "CNN":
        return cnn()
    return tensor() if name == "19 MB tensor" else application(name)
