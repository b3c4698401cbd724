"""What the sides of pictures must be multiples of, for a model that takes them in any size."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from app.errors import InferenceError, InvalidInput
from app.serving.arrays import Array

Run = Callable[[Sequence[Array]], Sequence[Array]]
# A size that nearly every such model takes.
SIZE = 64
_TRIED = (1, 2, 4, 8, 16, 32)


def size_multiple(run: Run, example: Mapping[str, Array], name: str) -> int:
    """Return the least power of two that a model takes all multiples of, by trying.

    Layers that halve a picture and join it with what it was need even sides; others answer for a
    part of an odd picture only. So the output has to grow with the input; a border that a model
    leaves out stays as wide.

    run: runs the model. example: rows of each input, in the model's order. name: of the input,
    which is (rows, height, width, …).
    """
    whole = _sizes(run, example, name, SIZE)
    twice = None if whole is None else _sizes(run, example, name, 2 * SIZE)
    if whole is None or twice is None:
        return 1
    growth = [a and b and (b - a) / SIZE for a, b in zip(whole, twice, strict=True)]
    for multiple in _TRIED:
        found = _sizes(run, example, name, SIZE + multiple)
        if found == [a and g and a + g * multiple for a, g in zip(whole, growth, strict=True)]:
            return multiple
    return SIZE


def _sizes(
    run: Run, example: Mapping[str, Array], name: str, side: int
) -> list[float | None] | None:
    """Return the heights of outputs that have one, for a square picture; None where the model does
    not take it."""
    old = example[name]
    square = np.zeros((len(old), side, side, *old.shape[3:]), old.dtype)
    try:
        outputs = run([square if key == name else array for key, array in example.items()])
    except (InvalidInput, InferenceError):
        return None
    return [float(out.shape[1]) if out.ndim > 2 else None for out in outputs]
