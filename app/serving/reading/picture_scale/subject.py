"""A model that is looked into, and the pictures that it is fed with meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from app.serving.reading.picture_scale.interception import run_until
from app.serving.reading.picture_scale.photographs import photographs
from app.serving.signature import TensorSpec

Array = NDArray[Any]
# Calls the model with one tensor for each input.
Call = Callable[[list[Any]], Any]


@dataclass(frozen=True)
class Subject:
    """A model and one of its inputs, which takes pictures.

    specs: of all inputs. position: of this one. shape: of a picture that is fed for a trial,
    (height, width) or (height, width, channels).
    """

    model: Any
    call: Call
    specs: Sequence[TensorSpec]
    position: int
    shape: tuple[int, ...]

    @property
    def channels(self) -> int:
        """1, 3 or 4."""
        return self.shape[2] if len(self.shape) == 3 else 1

    def photographs(self, count: int) -> NDArray[np.uint8]:
        """Return photographs of its shape: see `photographs`."""
        return photographs(count, self.shape[0], self.shape[1], self.channels)

    def run(
        self, pictures: Any, layers: list[Any], wanted: Callable[[Any, Any], bool]
    ) -> Any | None:
        """Run the model on scaled pictures, and on zeros for all other inputs: see `run_until`."""
        inputs = []
        for position, spec in enumerate(self.specs):
            if position == self.position:
                inputs.append(tf.cast(tf.reshape(pictures, (-1, *self.shape)), spec.dtype))
            else:
                shape = (len(pictures), *(size or 1 for size in spec.row_shape))
                inputs.append(tf.zeros(shape, spec.dtype))
        return run_until(lambda: self.call(inputs), layers, wanted)


def rows_of(tensor: Any) -> Array:
    """Return a tensor as float64."""
    return np.asarray(tf.cast(tensor, tf.float64))
