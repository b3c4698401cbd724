"""Differences between the answers of one model in two precisions."""

from __future__ import annotations

import io
import math
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from app.cli.profiling.measurements import Difference

_PNG = "png"
_TOP = "top"
# The keys of what depends on a label, or is one.
_LABELS = ("label", "labels", _TOP)


def compare(pairs: Sequence[tuple[Any, Any]]) -> Difference:
    """Compare the answers to each example in both precisions, as they are in JSON. Answers to the
    same request have the same keys, but lists may differ in length."""
    walk = _Walk()
    labels = others = 0
    for one, other in pairs:
        walk.has_labels = walk.labels_differ = False
        walk.visit(one, other, "", labelled=False)
        labels += walk.has_labels
        others += walk.labels_differ
    return Difference(
        len(pairs),
        walk.numbers,
        walk.where,
        labels,
        others,
        walk.changed / walk.pixels if walk.pixels else None,
        walk.unlabelled,
    )


@dataclass
class _Walk:
    """Visits two answers side by side. labelled: whether a number comes with a label, which says
    whether its difference matters."""

    numbers: float | None = None
    where: str = ""
    pixels: int = 0
    changed: int = 0
    unlabelled: bool = False
    # Of the current example.
    has_labels: bool = False
    labels_differ: bool = False

    def visit(self, one: Any, other: Any, key: str, *, labelled: bool) -> None:
        if isinstance(one, dict) and isinstance(other, dict):
            self._objects(one, other, labelled=labelled)
        elif isinstance(one, list) and isinstance(other, list):
            if len(one) != len(other):
                self._differ()
            for a, b in zip(one, other, strict=False):
                self.visit(a, b, key, labelled=labelled)
        elif _is_number(one) and _is_number(other):
            self._compare(float(one), float(other), key, labelled=labelled)
        elif one is not None or other is not None:
            self.has_labels = True
            self.labels_differ |= one != other

    def _objects(self, one: dict[str, Any], other: dict[str, Any], *, labelled: bool) -> None:
        if _PNG in one and _PNG in other:
            self._pictures(one[_PNG], other[_PNG])
        labelled = labelled or any(key in one for key in (*_LABELS, _PNG))
        for key in one.keys() & other.keys():
            if key == _PNG:
                continue
            if key == _TOP:
                # Its order may change below the first.
                a, b = ({each["label"]: each for each in top} for top in (one[key], other[key]))
                for label in a.keys() & b.keys():
                    self.visit(a[label], b[label], key, labelled=True)
            else:
                self.visit(one[key], other[key], key, labelled=labelled)

    def _compare(self, one: float, other: float, key: str, *, labelled: bool) -> None:
        difference = abs(one - other)
        if math.isnan(difference):
            return
        if self.numbers is None or difference > self.numbers:
            self.numbers, self.where = difference, key
        self.unlabelled |= difference > 0 and not labelled

    def _pictures(self, one: str, other: str) -> None:
        """Count the pixels that differ; all do where the sizes do."""
        a, b = _pixels(one), _pixels(other)
        count = math.prod(a.shape[:2])
        self.pixels += count
        if a.shape != b.shape:
            self.changed += count
        else:
            differ = a != b
            self.changed += int(np.count_nonzero(differ.any(-1) if differ.ndim > 2 else differ))

    def _differ(self) -> None:
        self.has_labels = self.labels_differ = True


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _pixels(url: str) -> Any:
    """Return the pixels of a data URL; of a palette, its indices: (height, width) or (height,
    width, channels)."""
    with Image.open(io.BytesIO(b64decode(url.partition(",")[2]))) as image:
        return np.asarray(image)
