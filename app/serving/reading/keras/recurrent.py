"""Which inputs of a Keras model seem to take rows in time order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from app.serving.signature import TensorSpec

# Parts of the names of recurrent layers, in Keras and in packages beside it.
RECURRENT = ("LSTM", "GRU", "RNN", "Bidirectional")


def series_inputs(model: Any, specs: Sequence[TensorSpec]) -> tuple[str, ...]:
    """Return the input of shape (rows, steps, columns), if there is one and the model has recurrent
    layers. Others may be matrices. specs: of the inputs."""
    kinds = [type(layer).__name__ for layer in model._flatten_layers(include_self=True)]
    if not any(part in kind for part in RECURRENT for kind in kinds):
        return ()
    found = [spec.name for spec in specs if _is_table(spec)]
    return tuple(found) if len(found) == 1 else ()


def _is_table(spec: TensorSpec) -> bool:
    shape = spec.row_shape
    return spec.dtype.startswith(("float", "bfloat")) and len(shape) == 2 and bool(shape[1])
