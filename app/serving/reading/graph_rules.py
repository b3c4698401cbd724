"""Rules for graphs: which operations a model may use, checked before any part of it runs.

A graph is a program of TensorFlow operations, some of which read or write files or talk to other
machines. An operation with side effects must be known to keep them within its session; one without
must not be among the few that access something outside all the same. A card with `trusted: true`
lifts these rules.

Loading a SavedModel runs parts of it: the restore op of its saver, then its init op. These are
checked as well, and may do their work: read the checkpoint beside the graph, and fill tables from
the SavedModel's own assets.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import tensorflow as tf
from google.protobuf import json_format
from tensorflow.core.framework import types_pb2, variable_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow.python.framework import op_def_registry

from app.errors import LoadError
from app.serving.cards.card import TRUSTING_CARD
from app.serving.reading.graph_walk import (
    GraphIndex,
    ReachableNodes,
    data_inputs,
    tensor_name,
    values,
)

# Operations whose state and side effects stay within their session. All others that TensorFlow
# calls stateful are refused, including those of later versions.
STATEFUL_ALLOWED = re.compile(
    "|".join(
        (
            r"(Temporary)?Variable(V2)?|VarHandleOp|VarIsInitializedOp|ReadVariableOp",
            r"VariableShape|DestroyResourceOp|DisableCopyOnRead|Assign((Add|Sub)?VariableOp)?",
            r"Resource(Gather(Nd)?|Scatter\w+|StridedSliceAssign|CountUpTo|(Sparse)?Apply\w+)",
            r"(Anonymous)?(Mutable(Dense)?)?HashTable(OfTensors)?(V2)?|InitializeTableV2",
            r"LookupTable(Export|Find|Import|Insert|Remove|Size)V2|(Is)?BoostedTrees\w+",
            r"(Add(Many)?SparseTo|TakeManySparseFrom)TensorsMap",
            r"TensorArray\w*|Stack(Push|Pop|Close)?(V2)?|Empty|DeepCopy|GuaranteeConst",
            r"If|While|Case|StatefulPartitionedCall|DeviceIndex",
            r"Random(Crop|Gamma|Poisson(V2)?|Shuffle|StandardNormal|Uniform(Int)?)",
            r"(Parameterized)?TruncatedNormal|Multinomial|NonDeterministicInts",
            r"Stateful(RandomBinomial|StandardNormal(V2)?|TruncatedNormal|Uniform(Full)?(Int)?)",
            r"Rng(ReadAndSkip|Skip)|StatelessRandomGetAlg|\w+CandidateSampler",
            r"SampleDistortedBoundingBox(V2)?|CudnnRNN(Backprop)?(V[23])?",
            r"Assert|CheckNumerics(V2)?|Print(V2)?|Timestamp",
        )
    )
)
# Operations that access something outside although TensorFlow calls them stateless: files, data
# sets, debugger dumps, compiled code by name, the process itself (Abort).
STATELESS_REFUSED = re.compile(
    r"ReadFile|MatchingFiles|ImmutableConst|GenerateVocabRemapping|InitializeTableFromTextFile"
    r"|\w*Dataset\w*|Reader[A-Z]\w*|Debug\w+|Copy(Host)?|CustomAggregator|PyFuncStateless|Abort"
    r"|XlaCustomCall(V2)?|XlaLaunch(V2)?|MlirPassthroughOp|\w*TPU\w*|Infeed\w+"
)
# Refused operations that concern files, for the message.
FILES = re.compile(
    r".*(File|Save|Restore|Checkpoint|Summary|Dataset|Iterator|Reader|VocabRemapping|DebugIdentity"
    r"|Proto|CandidateSampler).*|Print.*|ImmutableConst|Skipgram|RecordInput|DumpTensor|ImportEvent"
    r"|LoadAndRemapMatrix|CalibrationStatisticsSaver"
)
# Operations that call a Python function of the process that made the graph, and fail in any other.
PYTHON_OPS = frozenset({"PyFunc", "PyFuncStateless", "EagerPyFunc"})
TABLES_FROM_FILES = frozenset({"InitializeTableFromTextFile", "InitializeTableFromTextFileV2"})
# Operations that read a checkpoint, whose first input names the file.
RESTORE_OPS = frozenset({"RestoreV2", "Restore", "RestoreSlice"})
# Where tf.print may write.
STREAMS = frozenset({b"stderr", b"stdout", b"log(info)", b"log(warning)", b"log(error)"})
# Operations that parse tensors from bytes, and the attribute with the type.
PARSERS = {
    "ParseTensor": "out_type",
    "DeserializeSparse": "dtype",
    "DeserializeManySparse": "dtype",
    "RestoreV2": "dtypes",
    "Restore": "dt",
    "RestoreSlice": "dt",
}
# A tensor of these types refers to something in the session. As a constant, it could refer to
# anything.
HANDLES = frozenset({types_pb2.DT_RESOURCE, types_pb2.DT_VARIANT}) | {
    types_pb2.DT_RESOURCE_REF,
    types_pb2.DT_VARIANT_REF,
}
INIT_SIGNATURE = "__saved_model_init_op"
INIT_COLLECTIONS = ("saved_model_main_op", "legacy_init_op")
ASSET_COLLECTION = "saved_model_assets"
# Variables that TensorFlow makes a saver for, if the SavedModel has none.
VARIABLE_COLLECTIONS = ("variables", "saveable_objects")
USES_FILES = "uses files of this server"
USES_MORE = "uses operations that access files, the network or the process"


def check_graph(graph: Any, *, trusted: bool) -> None:
    """Refuse a GraphDef that accesses more than its own tensors; any part of it may run. Raises
    LoadError."""
    reached = ReachableNodes(GraphIndex(graph), [node.name for node in graph.node])
    _check_python(reached)
    if not trusted:
        for node in reached.nodes:
            _check(node)


def check_operations(definitions: Iterable[Any]) -> None:
    """Refuse operations in a Keras file that access more than their own tensors: Keras runs them
    while it reads the file. definitions: as the file has them. Raises LoadError."""
    for definition in definitions:
        node = tf.compat.v1.NodeDef()
        try:  # as tf_keras reads it
            if isinstance(definition, dict):
                json_format.ParseDict(definition, node)
            else:
                node.ParseFromString(definition.encode())
        except Exception as error:
            raise LoadError(f"the file has a damaged operation as a layer: {error}") from None
        _check(node)


def check_saved_model(path: Path, meta: Any, served: Iterable[str], *, trusted: bool) -> None:
    """Refuse the MetaGraphDef `meta` of the SavedModel at `path` if any part that runs accesses
    more than its own tensors.

    served: the tensors that requests feed and fetch.
    Raises LoadError.
    """
    graph = GraphIndex(meta.graph_def)
    saver = meta.saver_def if meta.HasField("saver_def") else None
    serving = [*served, *_variables(meta)]
    starting = _init_ops(meta)
    restoring = [saver.restore_op_name] if saver else []
    every = ReachableNodes(graph, [*serving, *starting, *restoring])
    _check_python(every)
    if trusted:
        return
    assets = _assets(path, meta)
    for node in ReachableNodes(graph, serving).nodes:
        _check(node)
    for scope, node in ReachableNodes(graph, starting).placed:
        if node.op not in TABLES_FROM_FILES:
            _check(node)
        elif not every.comes_from(scope, node, 1, assets, through_variables=True):
            raise _refusal("fills a table from a file that is none of its assets", node)
    filename = {tensor_name(saver.filename_tensor_name)} if saver else set()
    for scope, node in ReachableNodes(graph, restoring).placed:
        if node.op in RESTORE_OPS and every.comes_from(scope, node, 0, filename):
            _check_handles(node)
        else:
            _check(node)
    for node in _computed_on_import(graph):
        if node.name not in every.names:
            _check(node)


def _variables(meta: Any) -> list[str]:
    found = []
    for key in VARIABLE_COLLECTIONS:
        if key in meta.collection_def:
            collection = meta.collection_def[key]
            found += collection.node_list.value
            for packed in collection.bytes_list.value:
                try:
                    variable = variable_pb2.VariableDef.FromString(packed)
                except Exception:
                    raise LoadError(f"saved_model.pb is corrupt: its {key}") from None
                found += [variable.variable_name, variable.snapshot_name]
    return found


def _init_ops(meta: Any) -> list[str]:
    """Return every init op; TensorFlow runs the first that exists."""
    signature = meta.signature_def.get(INIT_SIGNATURE)
    found = [info.name for info in signature.outputs.values()] if signature else []
    for key in INIT_COLLECTIONS:
        if key in meta.collection_def:
            found += meta.collection_def[key].node_list.value
    return found


def _assets(path: Path, meta: Any) -> set[str]:
    """Return the tensors that are fed with the paths of assets. Raises LoadError for an asset
    outside the SavedModel."""
    found = list(meta.asset_file_def)
    if not found and ASSET_COLLECTION in meta.collection_def:
        for packed in meta.collection_def[ASSET_COLLECTION].any_list.value:
            asset = meta_graph_pb2.AssetFileDef()
            packed.Unpack(asset)
            found.append(asset)
    home = path.resolve()
    for asset in found:
        # Within the SavedModel, also once links are resolved.
        inside = (home / "assets", (home / "assets").resolve())
        file = home / "assets" / asset.filename
        if ".." in Path(asset.filename).parts or not (
            file.is_relative_to(inside[0])
            and file.resolve().is_relative_to(inside[1])
            and inside[1].is_relative_to(home)
        ):
            raise LoadError(
                f"the asset {asset.filename!r} of the SavedModel lies outside its folder assets: "
                f"copy the file into it, or give the model {TRUSTING_CARD} if it is meant"
            )
    return {tensor_name(asset.tensor_info.name) for asset in found}


def _check_python(reached: ReachableNodes) -> None:
    for node in reached.nodes:
        if node.op in PYTHON_OPS:
            raise LoadError(
                f"the model calls Python code (tf.py_function, in {node.name!r}) that its graph "
                "cannot hold: write that part with TensorFlow's own functions"
            )


def _check(node: Any) -> None:
    if _is_refused(node):
        raise _refusal(USES_FILES if FILES.fullmatch(node.op) else USES_MORE, node)
    _check_handles(node)


def _check_handles(node: Any) -> None:
    if _makes_a_handle(node):
        raise _refusal(USES_MORE, node)


def _refusal(does: str, node: Any) -> LoadError:
    return LoadError(
        f"the model {does} ({node.op}, in {node.name!r}): take that out of its graph, or give the "
        f"model {TRUSTING_CARD} if it is meant"
    )


def _is_refused(node: Any) -> bool:
    definition = op_def_registry.get(node.op)
    if definition is None:  # a function call: the function's nodes are checked too
        return False
    pattern_fits = (STATEFUL_ALLOWED if definition.is_stateful else STATELESS_REFUSED).fullmatch(
        node.op
    )
    if bool(pattern_fits) != definition.is_stateful:
        return True
    # What these operations access depends on an attribute. One that the function's caller fills in
    # has no text here, and is refused as well.
    if node.op == "PrintV2":
        return _text(node, "output_stream", b"stderr") not in STREAMS
    if node.op == "FixedUnigramCandidateSampler":
        return _text(node, "vocab_file") != b""
    if node.op in ("DecodeProtoV2", "EncodeProto"):
        source = _text(node, "descriptor_source", b"local://")
        return source is None or not (source in (b"", b"local://") or source[:8] == b"bytes://")
    return False


def _text(node: Any, name: str, default: bytes = b"") -> bytes | None:
    """Return the attribute's text; None if it is of another type."""
    if name not in node.attr:
        return default
    value = node.attr[name]
    text: bytes | None = value.s if value.WhichOneof("value") == "s" else None
    return text


def _makes_a_handle(node: Any) -> bool:
    """Tell whether the node makes a handle out of bytes: of a variable that it should not know, or
    of something that only a refused operation could make."""
    for value in values(node):
        tensors = (value.tensor, *value.list.tensor)
        if any(tensor.dtype in HANDLES for tensor in tensors):
            return True
    if node.op not in PARSERS:
        return False
    value = node.attr[PARSERS[node.op]]
    types = {value.type, *value.list.type} - {0}
    return not types or bool(types & HANDLES)


def _computed_on_import(graph: GraphIndex) -> list[Any]:
    """Return the nodes that TensorFlow may compute while it imports the graph, to infer shapes:
    those that depend on constants alone."""
    consumers: dict[str, list[str]] = {}
    todo = []
    for name, node in graph.nodes.items():
        definition = op_def_registry.get(node.op)
        if node.op.startswith("Placeholder") or (definition and definition.is_stateful):
            todo.append(name)
        for tensor in data_inputs(node):
            consumers.setdefault(tensor.partition(":")[0], []).append(name)
    varying: set[str] = set()
    while todo:
        name = todo.pop()
        if name not in varying:
            varying.add(name)
            todo += consumers.get(name, [])
    return [node for name, node in graph.nodes.items() if name not in varying]
