"""SavedModel directories, of TensorFlow 1 and 2: what they offer, and as a graph of constants."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework import op_def_registry
from tensorflow.python.framework.convert_to_constants import (
    convert_variables_to_constants_from_session_graph as freeze_graph,
)

from app.errors import LoadError
from app.serving.reach import check_saved_model
from app.serving.runtime import first_line
from app.serving.signature import (
    DEFAULT_SIGNATURE,
    PREDICT_METHOD,
    Signature,
    SignatureDef,
    TensorSpec,
)

SERVE = "serve"
# Signatures that TensorFlow writes for itself.
INTERNAL = "__saved_model"
# Protocol buffers end at 2 GiB; leave room for the graph itself.
MAX_FROZEN_BYTES = 1_900_000_000
# Nodes that hold state which a frozen graph would lose.
STATEFUL = re.compile(r"VarHandleOp|Variable(V2)?$|.*Table.*|.*Iterator.*|Assign.*")
_S = TypeVar("_S", bound=SignatureDef)


@dataclass(frozen=True, slots=True)
class Offer:
    """What a SavedModel offers: the tags of the graph to serve, its default signature (called
    `name`) and the others."""

    tags: tuple[str, ...]
    name: str
    signature: Signature
    others: dict[str, SignatureDef]

    @property
    def nodes(self) -> list[str]:
        """Every tensor that may be fed or fetched."""
        every = (self.signature, *self.others.values())
        return [t.node for s in every for t in (*s.inputs, *s.outputs)]


def read_offer(path: Path, *, trusted: bool) -> Offer:
    """What the SavedModel at `path` offers. Nothing of it is run.

    Raises LoadError, also when its graph reaches out and is not trusted.
    """
    file = path / "saved_model.pb"
    proto = saved_model_pb2.SavedModel()
    try:
        proto.ParseFromString(file.read_bytes())
    except OSError as error:
        raise LoadError(f"not a SavedModel: saved_model.pb: {error.strerror}") from None
    except Exception as error:
        raise LoadError(f"saved_model.pb is truncated or corrupt: {error}") from None
    if not proto.meta_graphs:
        raise LoadError("saved_model.pb is truncated or corrupt: it holds no graph")
    graphs = [g for g in proto.meta_graphs if SERVE in g.meta_info_def.tags]
    if not graphs:
        found = "; ".join(", ".join(g.meta_info_def.tags) or "none" for g in proto.meta_graphs)
        raise LoadError(
            f"the SavedModel has no graph with the tag 'serve' (its tags: {found}): export it for "
            "serving"
        )
    # As a set, which is how TensorFlow finds it again: it must be the graph that is looked at here.
    graph = min(graphs, key=lambda g: len(set(g.meta_info_def.tags)))
    _check_operations(graph.graph_def)
    usable = {
        name: s
        for name, s in graph.signature_def.items()
        if s.inputs and s.outputs and not name.startswith(INTERNAL)
    }
    if not usable:
        raise LoadError(
            "the SavedModel has no signature with inputs and outputs: save it with "
            "signatures={'serving_default': …} or model.export()"
        )
    default = DEFAULT_SIGNATURE if DEFAULT_SIGNATURE in usable else min(usable)
    others = {}
    for name in sorted(usable.keys() - {default}):
        # Whatever else there is costs the model nothing.
        with suppress(LoadError):
            others[name] = _definition(SignatureDef, name, usable[name])
    signature = _definition(Signature, default, usable[default])
    offer = Offer(tuple(graph.meta_info_def.tags), default, signature, others)
    check_saved_model(path, graph, offer.nodes, trusted=trusted)
    return offer


def _definition(kind: type[_S], name: str, found: Any) -> _S:
    inputs, outputs = (
        tuple(_spec(n, info, name) for n, info in sorted(side.items()))
        for side in (found.inputs, found.outputs)
    )
    return kind(inputs, outputs, found.method_name or PREDICT_METHOD)


def _spec(name: str, info: Any, signature: str) -> TensorSpec:
    if info.WhichOneof("encoding") != "name":
        raise LoadError(
            f"{name!r} of the signature {signature!r} is a sparse or ragged tensor: give the model "
            "a signature with dense tensors only"
        )
    try:
        dtype = tf.dtypes.as_dtype(info.dtype).base_dtype
    except TypeError:
        raise LoadError(f"saved_model.pb is corrupt: {name!r} has no known type") from None
    shape = info.tensor_shape
    return TensorSpec(
        name=name,
        node=info.name,
        dtype=dtype.name,
        shape=None
        if shape.unknown_rank
        else tuple(None if d.size < 0 else int(d.size) for d in shape.dim),
    )


def _check_operations(graph: Any) -> None:
    functions = {f.signature.name for f in graph.library.function}
    bodies = (f.node_def for f in graph.library.function)
    for op in {node.op for node in chain(graph.node, *bodies)} - functions:
        if op_def_registry.get(op) is None:
            raise LoadError(
                f"the model uses the operation {op!r}, which this TensorFlow does not have: it "
                "comes from another library or a later version; save the model without it"
            )


def freeze(path: Path, offer: Offer) -> bytes | None:
    """The graph with its variables as constants, serialised; None if it cannot be.

    Raises LoadError when TensorFlow cannot restore the model.
    """
    graph = tf.Graph()
    with graph.as_default(), tf.compat.v1.Session(graph=graph) as session:
        try:
            tf.compat.v1.saved_model.load(session, list(offer.tags), str(path))
            # Inputs too: one that no output needs can still be fed.
            kept = [graph.get_tensor_by_name(node).op.name for node in offer.nodes]
            definition = graph.as_graph_def()
        except Exception as error:
            raise LoadError(f"TensorFlow cannot load the SavedModel: {first_line(error)}") from None
        if sum(f.stat().st_size for f in path.glob("variables/variables.data*")) > MAX_FROZEN_BYTES:
            return None
        try:
            frozen = freeze_graph(session, definition, kept)
        except Exception:  # resources that cannot become constants
            return None
    return serialise(frozen)


def serialise(graph: Any) -> bytes | None:
    """A GraphDef of constants as bytes; None if there is state left in it, or too much."""
    functions = _functions(graph)
    nodes = chain(graph.node, *(f.node_def for f in functions))
    if graph.ByteSize() > MAX_FROZEN_BYTES or any(STATEFUL.match(node.op) for node in nodes):
        return None
    unused = {f.signature.name for f in graph.library.function}
    unused -= {f.signature.name for f in functions}
    for index in reversed(range(len(graph.library.function))):
        if graph.library.function[index].signature.name in unused:
            del graph.library.function[index]
    data: bytes = graph.SerializeToString()
    return data


def _functions(graph: Any) -> list[Any]:
    """The functions that the graph's nodes really call, directly or not."""
    library = {f.signature.name: f for f in graph.library.function}
    called: dict[str, Any] = {}
    todo = list(graph.node)
    while todo:
        node = todo.pop()
        names = [node.op]
        for value in node.attr.values():
            names += [f.name for f in (value.func, *value.list.func) if f.name]
        for name in names:
            if name in library and name not in called:
                called[name] = library[name]
                todo += library[name].node_def
    return list(called.values())
