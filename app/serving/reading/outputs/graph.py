"""The meanings of a model's outputs, from its graph and its training."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import h5py

from app.serving.reading.keras.keras_file import KerasFile
from app.serving.reading.outputs import rules
from app.serving.reading.outputs.facts import UNKNOWN, Fact, numbers
from app.serving.reading.outputs.meaning import meaning_of, reconstruction
from app.serving.reading.outputs.training import read_training
from app.serving.reading.outputs.walk import Place, Walk
from app.serving.signature import OutputMeaning

log = logging.getLogger(__name__)

# Units from which on an output of the input's shape is taken for a copy of the input.
RECONSTRUCTED = 16


def compile_config(file: KerasFile) -> Any:
    """Return the compile configuration in a Keras file; None if it has none that can be read."""
    if file.kind != "hdf5":
        return file.config.get("compile_config")
    with h5py.File(file.path, "r") as opened, suppress(ValueError, TypeError):
        return json.loads(opened.attrs.get("training_config", "null"))
    return None


def keras_meanings(function: Any, names: Sequence[str], training: Any) -> tuple[OutputMeaning, ...]:
    """Return the meanings of the outputs of a Keras model.

    function: the traced ConcreteFunction of the model. names: those of its outputs. training: its
    compile configuration.
    """
    trained = read_training(training, names)
    walk = Walk(rules.fact)
    own = function.inputs[: len(function.inputs) - len(function.captured_inputs)]
    inputs = {_row(tensor) for tensor in own}
    skips = any(
        op.type == "ConcatV2" and _is_map(op.outputs[0]) for op in function.graph.get_operations()
    )
    meanings = []
    for tensor, said in zip(function.outputs, trained, strict=True):
        meaning = meaning_of(_fact(walk, tensor), said, _shape(tensor))
        row = _row(tensor) or ()
        units = math.prod(size or 0 for size in row)
        # One with connections past its narrowest layer, such as a U-Net, learns something else.
        copied = units >= RECONSTRUCTED and row in inputs and not (skips and _is_map(tensor))
        meanings.append(reconstruction(meaning) if copied else meaning)
    return tuple(meanings)


def graph_meanings(graph: Any, tensors: Sequence[str]) -> tuple[OutputMeaning, ...]:
    """Return the meanings of tensors of a graph that says nothing of its training; empty if none of
    them is known to be probabilities, or logarithms of some."""
    walk = Walk(rules.fact)
    found = []
    for name in tensors:
        tensor = graph.get_tensor_by_name(name)
        fact = _fact(walk, tensor)
        # What logits are, and plain numbers, a graph alone does not tell.
        proven = fact if fact.form in ("shares", "each") else UNKNOWN
        found.append(meaning_of(proven, None, _shape(tensor)))
    return tuple(found) if any(each.proven for each in found) else ()


def _fact(walk: Walk, tensor: Any) -> Fact:
    if not tensor.dtype.is_floating:
        return numbers("whole numbers") if tensor.dtype.is_integer else UNKNOWN
    try:
        return walk.fact(Place(tensor))
    except Exception as error:  # a graph may hold anything; what it does not tell is not known
        log.warning("what %s is was not found out: %s", tensor.name, error)
        return UNKNOWN


def _shape(tensor: Any) -> tuple[int | None, ...] | None:
    return None if tensor.shape.rank is None else tuple(tensor.shape.as_list())


def _is_map(tensor: Any) -> bool:
    """Tell whether a tensor has rows, a height, a width and channels."""
    return bool(tensor.shape.rank == 4)


def _row(tensor: Any) -> tuple[int | None, ...] | None:
    shape = _shape(tensor)
    return None if shape is None else shape[1:]
