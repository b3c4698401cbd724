"""Adds the weights of a frozen graph to the session that serves it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.serving.engine.sessions import tf
from app.serving.signature import Weight


def nbytes(weight: Weight) -> int:
    """Return the size of a weight in memory, in bytes."""
    return math.prod(weight.shape) * int(tf.as_dtype(weight.dtype).size)


def read(weight: Weight, folder: Path) -> NDArray[Any]:
    """Return the values of the weight, mapped from its file."""
    dtype = tf.as_dtype(weight.dtype).as_numpy_dtype
    return np.memmap(folder / weight.file, dtype, "r", shape=weight.shape)


def add_weights(weights: Iterable[Weight], folder: Path) -> tuple[dict[str, Any], list[Any]]:
    """Add the weights to the default graph. Returns the tensors by the names of the placeholders
    that they replace, and the operations to run once, after which the files are no longer needed.

    A variable that is assigned from ImmutableConst keeps the mapping of the file, which processes
    of one machine share.
    """
    tensors, assignments = {}, []
    for weight in weights:
        dtype = tf.as_dtype(weight.dtype)
        if not weight.mapped:
            tensors[weight.node] = tf.constant(read(weight, folder))
            continue
        variable = tf.VarHandleOp(
            dtype=dtype, shape=weight.shape, shared_name=f"keraport/{weight.file}"
        )
        mapping = tf.ImmutableConst(
            dtype=dtype, shape=weight.shape, memory_region_name=str(folder / weight.file)
        )
        assignments.append(tf.AssignVariableOp(resource=variable, value=mapping))
        tensors[weight.node] = tf.ReadVariableOp(resource=variable, dtype=dtype)
    return tensors, assignments
