"""Reads SavedModel directories of TensorFlow 1 and 2: their signatures, and their graphs with the
variables frozen."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework import op_def_registry

from app.errors import LoadError
from app.serving.engine.sessions.session import first_line
from app.serving.reading import saved_function
from app.serving.reading.freezing import FrozenGraph, freeze_session
from app.serving.reading.graph_rules import check_saved_model
from app.serving.reading.graph_walk import tensor_name
from app.serving.reading.outputs.graph import graph_meanings
from app.serving.reading.outputs.grid import grids
from app.serving.reading.text_evidence import text_evidence
from app.serving.signature import (
    DEFAULT_SIGNATURE,
    PREDICT_METHOD,
    Signature,
    SignatureDef,
    TensorSpec,
)

log = logging.getLogger(__name__)

SERVE = "serve"
# Prefix of the signatures that TensorFlow writes for its own use.
INTERNAL = "__saved_model"
# Start of the pointer that Git leaves in place of a large file that it has not fetched.
_LFS = b"version https://git-lfs"
_S = TypeVar("_S", bound=SignatureDef)
Shape = tuple[int | None, ...] | None


@dataclass(frozen=True, slots=True)
class SavedModelSignatures:
    """The signatures of a SavedModel: the tags of the graph to serve, its default signature (called
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


class NoSignature(LoadError):
    """A SavedModel without a signature to serve. meta: its MetaGraphDef."""

    def __init__(self, meta: Any) -> None:
        self.meta = meta
        functions = ", ".join(saved_function.function_names(meta)) or "none"
        super().__init__(
            "the SavedModel has no signature with inputs and outputs, and not exactly one function "
            f"to serve in its place (its functions: {functions}); in Python, m = "
            "tf.saved_model.load('folder') and tf.saved_model.save(m, 'new', "
            "signatures=m.NAME.get_concrete_function(tf.TensorSpec(SHAPE, TYPE))) make one of the "
            "function NAME"
        )


def read_signatures(path: Path, *, trusted: bool) -> SavedModelSignatures:
    """Read the signatures of the SavedModel at `path`, without running any of it.

    Raises LoadError, also if its graph breaks the rules for graphs and is not trusted.
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
    if not graphs:  # as in modules of TensorFlow Hub, beside a graph for training
        untagged = [g for g in proto.meta_graphs if not g.meta_info_def.tags]
        graphs = untagged if len(untagged) == 1 else []
    if not graphs:
        found = "; ".join(", ".join(g.meta_info_def.tags) or "none" for g in proto.meta_graphs)
        raise LoadError(
            f"the SavedModel has no graph with the tag 'serve' (its tags: {found}): export it for "
            "serving"
        )
    # As a set, as TensorFlow looks it up again: it must load the graph that is checked here.
    graph = min(graphs, key=lambda g: len(set(g.meta_info_def.tags)))
    _check_operations(graph.graph_def)
    usable = {
        name: s
        for name, s in graph.signature_def.items()
        if s.inputs and s.outputs and not name.startswith(INTERNAL)
    }
    if not usable:
        _check_variables(path, graph)
        raise NoSignature(graph)
    default = DEFAULT_SIGNATURE if DEFAULT_SIGNATURE in usable else min(usable)
    others = {}
    for name in sorted(usable.keys() - {default}):
        # Problems of other signatures do not affect the model.
        try:
            others[name] = _definition(SignatureDef, name, usable[name])
        except LoadError as error:
            _warn_left_out(path, name, error.message)
    for name in sorted(graph.signature_def.keys() - usable.keys()):
        if not name.startswith(INTERNAL):
            _warn_left_out(path, name, "it has no inputs or no outputs")
    _check_variables(path, graph)
    signature = _definition(Signature, default, usable[default])
    signatures = SavedModelSignatures(tuple(graph.meta_info_def.tags), default, signature, others)
    check_saved_model(path, graph, signatures.nodes, trusted=trusted)
    return _with_graph_shapes(signatures, graph.graph_def)


def _warn_left_out(path: Path, name: str, reason: str) -> None:
    log.warning("%s: the signature %r is not offered: %s", path, name, reason)


def _check_variables(path: Path, graph: Any) -> None:
    """Refuse a SavedModel that was copied without the values of its variables."""
    if not graph.HasField("saver_def"):
        return
    folder = path / "variables"
    data = sorted(folder.glob("variables.data-*"))
    if not (folder / "variables.index").is_file() or not data:
        raise LoadError(
            "the values of the SavedModel's variables are missing, for its folder was not copied "
            f"whole: copy its folder variables (variables.index and variables.data-…) to {folder}"
        )
    for file in (folder / "variables.index", *data):
        with file.open("rb") as stream:
            if stream.read(len(_LFS)) == _LFS:
                raise LoadError(f"{file} is a Git LFS pointer, not the data: run 'git lfs pull'")


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
        if shape.unknown_rank or not info.HasField("tensor_shape")
        else tuple(None if d.size < 0 else int(d.size) for d in shape.dim),
    )


def _with_graph_shapes(signatures: SavedModelSignatures, graph: Any) -> SavedModelSignatures:
    """Return the signatures with the shapes that the GraphDef gives their tensors: any that the
    signatures leave out, and for inputs those of their placeholders, which TensorFlow uses."""
    every = (signatures.signature, *signatures.others.values())
    missing = {t.node for s in every for t in (*s.inputs, *s.outputs) if t.shape is None}
    shapes = _infer_shapes(graph, missing) if missing else {}
    for node in graph.node:
        dims = node.attr["shape"].shape.dim if node.op.startswith("Placeholder") else ()
        if dims:  # no dimensions stand for any rank in graphs of TensorFlow before 1.3
            shapes.setdefault(f"{node.name}:0", tuple(None if d.size < 0 else d.size for d in dims))

    def known(signature: _S) -> _S:
        inputs, outputs = (
            tuple(replace(t, shape=_merged(t.shape, shapes.get(tensor_name(t.node)))) for t in side)
            for side in (signature.inputs, signature.outputs)
        )
        return replace(signature, inputs=inputs, outputs=outputs)

    others = {name: known(signature) for name, signature in signatures.others.items()}
    return replace(signatures, signature=known(signatures.signature), others=others)


def _infer_shapes(graph: Any, nodes: Iterable[str]) -> dict[str, Shape]:
    """Return the shapes that TensorFlow infers for these tensors. Raises LoadError."""
    with tf.Graph().as_default() as imported:
        try:
            tf.import_graph_def(graph, name="")
            tensors = [imported.get_tensor_by_name(tensor_name(node)) for node in nodes]
        except Exception as error:
            raise LoadError(f"TensorFlow cannot load the SavedModel: {first_line(error)}") from None
    return {t.name: None if t.shape.rank is None else tuple(t.shape.as_list()) for t in tensors}


def _merged(said: Shape, found: Shape) -> Shape:
    """Return the shape of the signature with the dimensions that the graph knows, which win."""
    if said is None or found is None or len(said) != len(found):
        return said if found is None else found
    return tuple(a if b is None else b for a, b in zip(said, found, strict=True))


def _check_operations(graph: Any) -> None:
    functions = {f.signature.name for f in graph.library.function}
    bodies = (f.node_def for f in graph.library.function)
    for op in {node.op for node in chain(graph.node, *bodies)} - functions:
        if op_def_registry.get(op) is None:
            raise LoadError(
                f"the model uses the operation {op!r}, which this TensorFlow does not have: it "
                "comes from another library or a later version; save the model without it"
            )


def freeze(
    path: Path, signatures: SavedModelSignatures, folder: Path
) -> tuple[FrozenGraph | None, Signature]:
    """Freeze the graph, with its large weights in `folder`. Returns None if it has state that
    cannot be frozen, and the default signature with what the graph shows of its inputs and outputs.

    Raises LoadError if TensorFlow cannot restore the model.
    """
    graph = tf.Graph()
    with graph.as_default(), tf.compat.v1.Session(graph=graph) as session:
        try:
            tf.compat.v1.saved_model.load(session, list(signatures.tags), str(path))
            # Inputs too: one that no output depends on can still be fed.
            kept = [graph.get_tensor_by_name(node).op.name for node in signatures.nodes]
        except Exception as error:
            raise LoadError(f"TensorFlow cannot load the SavedModel: {first_line(error)}") from None
        signature = signatures.signature
        given = {t.name: graph.get_tensor_by_name(tensor_name(t.node)) for t in signature.outputs}
        meanings = graph_meanings(graph, [t.node for t in signature.outputs])
        fed = {t.name: graph.get_tensor_by_name(tensor_name(t.node)) for t in signature.inputs}
        texts = text_evidence(graph, fed, signature.inputs)
        about = replace(signature, meanings=meanings, texts=texts, grids=grids(given))
        return freeze_session(session, kept, folder), about
