"""What a graph shows of the texts that it takes: as they are, or as the ids of their words."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from itertools import chain, islice
from typing import Any

from tensorflow.python.ops import handle_data_util

from app.serving.reading.outputs import rules
from app.serving.reading.outputs.walk import Place, Walk
from app.serving.signature import TensorSpec, TextEvidence

log = logging.getLogger(__name__)

# Operations on bytes that are no text: pictures, sounds, records.
_NOT_TEXT = re.compile(r"Decode\w*|Parse\w*|Audio\w*")
# Operations that look up rows of a table, and those that indices may pass on their way there, with
# the input that they pass.
_LOOK_UP = frozenset({"ResourceGather", "GatherV2", "Gather"})
_PASSED = {"Cast": 0, "Reshape": 0, "Squeeze": 0, "ExpandDims": 0, "SelectV2": 2, "Minimum": 0}
# Of operations that are looked at, and of those that indices pass.
_MOST_OPERATIONS = 20_000
_MOST_PASSED = 20


def text_evidence(
    graph: Any, nodes: Mapping[str, Any], specs: Sequence[TensorSpec]
) -> dict[str, TextEvidence]:
    """Return the evidence for each input that seems to take texts, by name.

    nodes: the tensors of the inputs in the graph, by name. specs: of the inputs.
    """
    strings = [spec for spec in specs if _may_be_a_text(spec)]
    numbers = {nodes[spec.name].name: spec for spec in specs if _may_be_ids(spec)}
    if not strings and not numbers:
        return {}
    try:
        return _found(graph, strings, numbers)
    except Exception as error:  # a graph may hold anything; what it does not tell is not known
        log.warning("whether the model takes texts was not found out: %s", error)
        return {}


def _may_be_a_text(spec: TensorSpec) -> bool:
    return spec.dtype == "string" and spec.shape in ((None,), (None, 1))


def _may_be_ids(spec: TensorSpec) -> bool:
    shape = spec.shape
    numbers = spec.dtype.startswith(("int", "uint", "float"))
    return numbers and shape is not None and len(shape) == 2 and shape[0] is None and shape[1] != 1


def _found(
    graph: Any, strings: Sequence[TensorSpec], numbers: Mapping[str, TensorSpec]
) -> dict[str, TextEvidence]:
    walk = Walk(rules.fact)
    found: dict[str, TextEvidence] = {}
    if strings and not _reads_bytes(graph):
        found |= {spec.name: TextEvidence(ids=False) for spec in strings}
    operations = walk.operations(graph) if numbers else iter(())
    for place in islice(operations, _MOST_OPERATIONS):
        if place.tensor.op.type in _LOOK_UP:
            spec = numbers.get(_source(walk, place.input(1)))
            if spec is not None and walk.is_weight(place.input(0)):
                rows = _rows(walk, place.input(0))
                known = found.get(spec.name)
                least = [n for n in (rows, known.tokens if known else None) if n is not None]
                found[spec.name] = TextEvidence(ids=True, tokens=min(least, default=None))
    return found


def _reads_bytes(graph: Any) -> bool:
    """Tell whether operations read pictures, sounds or records, anywhere in the graph: loops over
    rows have them in functions."""
    definition = graph.as_graph_def()
    bodies = (function.node_def for function in definition.library.function)
    return any(_NOT_TEXT.fullmatch(node.op) for node in chain(definition.node, *bodies))


def _source(walk: Walk, place: Place) -> str:
    """Return the name of the graph's tensor that indices are a copy of; empty for any others."""
    for _ in range(_MOST_PASSED):
        place = walk.resolved(place)
        passed = _PASSED.get(place.tensor.op.type)
        if passed is None:
            break
        place = place.input(passed)
    return place.tensor.name if place.call is None else ""


def _rows(walk: Walk, place: Place) -> int | None:
    """Return the number of rows of a table of weights; None where it is unknown."""
    place = walk.resolved(place)
    while place.tensor.op.type == "ReadVariableOp":
        place = walk.resolved(place.input(0))
    tensor = place.tensor
    shape = tensor.shape
    if tensor.dtype.name == "resource":
        captured = getattr(tensor.graph, "captures", ())
        outer = next((a for a, b in captured if b is tensor), tensor)
        if tensor.op.type == "VarHandleOp":
            shape = tensor.op.get_attr("shape")
            return int(shape.dim[0].size) if shape.dim else None
        data = handle_data_util.get_handle_data(outer)
        if data is None or not data.is_set or not data.shape_and_type:
            return None
        sizes = [int(d.size) for d in data.shape_and_type[0].shape.dim]
        return sizes[0] if sizes and sizes[0] > 0 else None
    return None if shape.rank in (None, 0) else shape.as_list()[0]
