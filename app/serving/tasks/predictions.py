"""The predictions of many rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, overload

from app.serving.arrays import Array
from app.serving.hub_rounds import VALUES, free_texts


class Predictions(Sequence[Any]):
    """A list of predictions, each shaped when it is read: all of them at once would stop the hub,
    and take ten times the memory of the outputs that they are made of.

    shape: makes predictions of outputs, one a row. outputs: arrays of as many rows, at least one.
    """

    def __init__(
        self, shape: Callable[[Sequence[Array]], list[Any]], outputs: Sequence[Array]
    ) -> None:
        self._shape = shape
        self._outputs = outputs
        self._rows = len(outputs[0])
        self._at_once = max(1, VALUES * self._rows // sum(out.size for out in outputs))

    def __len__(self) -> int:
        return self._rows

    @overload
    def __getitem__(self, at: int) -> Any: ...
    @overload
    def __getitem__(self, at: slice) -> list[Any]: ...
    def __getitem__(self, at: int | slice) -> Any:
        if isinstance(at, slice):
            return self._shape([out[at] for out in self._outputs])
        row = range(self._rows)[at]
        (prediction,) = self[row : row + 1]
        return prediction

    def __iter__(self) -> Iterator[Any]:
        for part in self.parts():
            yield from part

    def parts(self) -> Iterator[list[Any]]:
        """Yield all of them, in lists that each take about a millisecond."""
        for start in range(0, self._rows, self._at_once):
            yield self[start : start + self._at_once]

    def free(self) -> None:
        """Forget the outputs, once all has been read. Blocks the greenlet."""
        free_texts(self._outputs)

    def tolist(self) -> list[Any]:
        """Return all of them as a list."""
        return list(self)


def predictions(
    shape: Callable[[Sequence[Array]], list[Any]], outputs: Sequence[Array], *, rows: bool
) -> Sequence[Any]:
    """The predictions that `shape` makes of outputs, in one go where they are few. rows: whether
    the first dimension counts them."""
    if sum(out.size for out in outputs) <= VALUES:
        return shape(outputs)
    # What is not as many rows in each is for `shape` to refuse.
    if not rows or len({out.shape[:1] for out in outputs}) > 1 or not outputs[0].ndim:
        return shape(outputs)
    return Predictions(shape, outputs)
