"""Arrays of rows, as models take and give them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]


def rows_of(inputs: Sequence[Array]) -> int:
    """Count the rows; a single value counts as one."""
    return len(inputs[0]) if inputs and inputs[0].ndim else 1
