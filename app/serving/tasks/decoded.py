"""The rows of a request, with its pictures decoded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from app.serving.arrays import Array, rows_of


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a request.

    arrays: one an input of the model, in its order; of several pictures in their own sizes, one of
    objects. placed: where the picture of each row lies in the model's input, by the names of inputs
    that take some: arrays of `Placement`. shares: of unknown words, one array an input of tokens.
    texts: of a single row, by the names of inputs.
    """

    arrays: list[Array]
    placed: dict[str, Array]
    shares: list[Array] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)

    @property
    def uneven(self) -> bool:
        """Whether pictures may have different shapes."""
        return bool(self.placed) and any(_is_uneven(array) for array in self.arrays)

    def alike(self) -> list[list[int]]:
        """Return the places of the rows, in lists of rows of the same shapes."""
        found: dict[tuple[Any, ...], list[int]] = {}
        uneven = [array for array in self.arrays if self.placed and _is_uneven(array)]
        for i in range(rows_of(self.arrays)):
            found.setdefault(tuple(array[i].shape for array in uneven), []).append(i)
        return [*found.values()]

    def take(self, at: list[int]) -> Rows:
        """Return the rows at these places, which have the same shapes. To be called in a native
        thread where they are several and `uneven`."""
        part: Any = at
        if at == [*range(at[0], at[-1] + 1)]:
            # Not copied.
            part = slice(at[0], at[-1] + 1)
        arrays = [
            _stacked([array[i] for i in at]) if self.placed and _is_uneven(array) else array[part]
            for array in self.arrays
        ]
        placed = {name: places[part] for name, places in self.placed.items()}
        return Rows(arrays, placed, [shares[part] for shares in self.shares])


def _stacked(rows: list[Array]) -> Array:
    return rows[0][None] if len(rows) == 1 else np.stack(rows)


def _is_uneven(array: Array) -> bool:
    """Tell whether an array is one of pictures."""
    return array.dtype == object and array.ndim == 1 and isinstance(array[0], np.ndarray)
