"""Masks: what each pixel of a picture shows."""

from __future__ import annotations

import colorsys
import math
from typing import Any

import numpy as np
from PIL import Image

from app.serving.arrays import Array
from app.serving.cards.card import ClassesOutput
from app.serving.cards.drawn_outputs import MaskOutput
from app.serving.cards.kinds import Kind
from app.serving.reductions import MOST_CLASSES, MaskReduction
from app.serving.signature import OutputMeaning, Signature, TensorSpec
from app.serving.tasks.base import Drawing, object_schema
from app.serving.tasks.files.placement import Placement
from app.serving.tasks.outputs.classes import UNKNOWN, conversion
from app.serving.tasks.outputs.drawn import Drawn, drawn_schema, png_of
from app.serving.threads import Check

# The first class is most often the background. The next are distinct for colour-blind people as
# well (M. Okabe and K. Ito, Color Universal Design, 2008).
_FIRST = ("000000", "e69f00", "56b4e9", "009e73", "f0e442", "0072b2", "d55e00", "cc79a7")
# The golden angle as a part of the circle: hues far from those before.
_GOLDEN = 0.381966
_NONE = "808080"
# Pixels whose classes are counted at once.
_COUNTED = 2**20


class Mask(Drawn):
    """The class of each pixel. labels: of the classes, with one for none of them where pixels may
    show none. Raises CardError from `__init__` where card and model do not fit."""

    kind = "mask"
    resized = True
    reduction: MaskReduction
    labels: list[str]

    def __init__(self, kind: Kind[MaskOutput], signature: Signature) -> None:
        (spec,) = kind.specs
        super().__init__(kind.name, spec, kind.card.covers, signature.grids.get(spec.name))
        self.reduction = _reduction(kind, spec, signature.meaning(spec) or UNKNOWN)
        classes = self.reduction.classes
        self.labels = [str(i) for i in range(classes)]
        if isinstance(kind.card.labels, list):
            self.labels = kind.card.labels
        if len(self.labels) != classes:
            held = "1 channel" if self.reduction.how == "second" else f"{classes} channels"
            raise kind.place.stated(
                f"{len(self.labels)} labels do not match the model's output of {held}: expected "
                f"{classes} labels"
            )
        self.colors = [_color(i) for i in range(classes)]
        if self.reduction.how in ("several", "numbers"):
            self.labels = [*self.labels, "none of these"]
            self.colors.append(_NONE)
        # One more for what the model has not seen.
        self._palette = bytes.fromhex("".join([*self.colors, "000000"]))

    def draw(self, row: Array, placed: Placement | None, drawing: Drawing, check: Check) -> Any:
        """Return the classes with their shares, and the picture."""
        row, place = self.shown(row, placed)
        image = Image.fromarray(np.ascontiguousarray(row))
        counts = _counts(image, check)
        shares = [round(count / row.size, 6) for count in counts[: len(self.labels)]]
        options: dict[str, Any] = {}
        box = {}
        if place is not None and drawing.at_model_size:
            box = {} if place.whole else {"box": place.box}
        elif place is not None:
            check()
            image, whole = _laid_over(image, place, unseen=len(self.labels))
            options = {} if whole else {"transparency": len(self.labels)}
        colors = len(self.labels) + (1 if options else 0)
        image.putpalette(self._palette[: 3 * colors])
        return {
            "classes": [
                {"label": label, "share": share, "color": f"#{color}"}
                for label, share, color in zip(self.labels, shares, self.colors, strict=True)
            ],
            "size": [image.height, image.width],
            "png": png_of(image, drawing, check, **options),
            **box,
        }

    def schema(self) -> dict[str, Any]:
        """JSON Schema of a value."""
        label = {"type": "string", "enum": list(dict.fromkeys(self.labels))}
        share = {"type": "number", "minimum": 0, "maximum": 1}
        color = {"type": "string", "pattern": "^#[0-9a-f]{6}$"}
        count = len(self.labels)
        return drawn_schema(
            "A PNG with a palette: each pixel has the number of its class, in the size of the "
            "picture that was sent, or of the model's with `?size=model`.",
            classes={
                "type": "array",
                "items": object_schema({"label": label, "share": share, "color": color}),
                "minItems": count,
                "maxItems": count,
                "description": "All classes, each with its share of the pixels.",
            },
        )

    def about(self) -> dict[str, Any]:
        """The labels with their colours, and what decides between them."""
        about: dict[str, Any] = {"labels": self.labels, "colors": [f"#{c}" for c in self.colors]}
        if self.reduction.how in ("second", "several"):
            about["threshold"] = self.reduction.threshold
        return about


def _reduction(kind: Kind[MaskOutput], spec: TensorSpec, meaning: OutputMeaning) -> MaskReduction:
    card, place, shape = kind.card, kind.place, spec.shape
    maps = shape is not None and len(shape) in (3, 4) and spec.dtype != "string"
    channels = 1 if not maps or shape is None or len(shape) == 3 else shape[3]
    if not maps or channels is None or channels > MOST_CLASSES:
        raise place.problem(
            "needs an output of shape (rows, height, width, channels) with at most "
            f"{MOST_CLASSES} channels, or (rows, height, width), this model's is {spec.dtype} of "
            f"shape {shape}"
        )
    if not spec.dtype.startswith(("float", "bfloat")) and channels == 1:
        if not isinstance(card.labels, list):
            raise place.wrong("labels", ": the model gives numbers of classes: say what they are")
        return MaskReduction("numbers", len(card.labels))
    if channels == 1 and card.activation == "softmax":
        raise place.wrong("activation", ": softmax needs several channels, this output has one")
    wanted = ClassesOutput(kind="classes", activation=card.activation)
    made = conversion(meaning, wanted.activation)
    middle = 0.5 if made.probable else meaning.middle
    threshold = middle if card.threshold is None else card.threshold
    if channels == 1:
        return MaskReduction("second", 2, _before(threshold, made.function))
    if made.multi:
        return MaskReduction("several", channels, _before(threshold, made.function))
    if card.threshold is not None:
        raise place.wrong(
            "threshold",
            ": the channels are classes of which one holds: the highest counts; leave it out",
        )
    return MaskReduction("highest", channels)


def _before(threshold: float, function: str | None) -> float:
    """Return the threshold of the model's own numbers. function: what makes probabilities of them,
    which `threshold` is one of."""
    if function == "exp":
        return math.log(threshold)
    return math.log(threshold / (1 - threshold)) if function is not None else threshold


def _counts(image: Image.Image, check: Check) -> list[int]:
    """Count the pixels of each class. Counting holds the interpreter's lock, so part by part."""
    rows = max(1, _COUNTED // image.width)
    total = [0] * 256
    for top in range(0, image.height, rows):
        check()
        part = image.crop((0, top, image.width, min(top + rows, image.height)))
        total = [a + b for a, b in zip(total, part.histogram(), strict=True)]
    return total


def _laid_over(image: Image.Image, placed: Placement, unseen: int) -> tuple[Image.Image, bool]:
    """Return a mask in the size of its picture, and whether the model has seen the whole of it.
    unseen: the number of pixels that it has not seen."""
    left, top, right, bottom = map(round, placed.part)
    inner = max(1, right - left), max(1, bottom - top)
    if image.size != inner:
        image = image.resize(inner, Image.Resampling.NEAREST)
    if inner == placed.size:
        return image, True
    whole = Image.new("L", placed.size, unseen)
    whole.paste(image, (left, top))
    return whole, False


def _color(number: int) -> str:
    if number < len(_FIRST):
        return _FIRST[number]
    red, green, blue = colorsys.hsv_to_rgb(
        number * _GOLDEN % 1, 0.5 + number % 3 * 0.2, 0.95 - number % 2 * 0.25
    )
    return f"{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"
