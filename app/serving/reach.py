"""What the graph of a model may reach, found out before anything of it runs.

A graph is a program of TensorFlow's operations, and some of these read files, write them or talk to
other machines. Operations with a side effect must be known to keep it within the session; those
without one must not be among the few that reach out all the same. What a model may do beyond that,
its card says (`trusted: true`).

Loading a SavedModel runs parts of it: the restore op of its saver, then its init op. So these are
looked at as well, and may do what they are there for: read the checkpoint beside the graph, and
fill tables from the SavedModel's own assets.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import tensorflow as tf
from google.protobuf import json_format  # type: ignore[import-untyped]
from tensorflow.core.framework import types_pb2, variable_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow.python.framework import op_def_registry

from app.errors import LoadError
from app.serving.card import TRUSTING_CARD
from app.serving.reached import Named, Reached, data_inputs, tensor_name, values

# Operations with state or side effects that stay within their session. Everything else that
# TensorFlow calls stateful is refused, whatever a later version brings.
STATEFUL_WITHIN = re.compile(
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
# Operations that reach out although TensorFlow calls them stateless: files, data sets, what a
# debugger dumps, compiled code by its name, the process itself (Abort).
STATELESS_BEYOND = re.compile(
    r"ReadFile|MatchingFiles|ImmutableConst|GenerateVocabRemapping|InitializeTableFromTextFile"
    r"|\w*Dataset\w*|Reader[A-Z]\w*|Debug\w+|Copy(Host)?|CustomAggregator|PyFuncStateless|Abort"
    r"|XlaCustomCall(V2)?|XlaLaunch(V2)?|MlirPassthroughOp|\w*TPU\w*|Infeed\w+"
)
# For the message: what of the refused has to do with files.
FILES = re.compile(
    r".*(File|Save|Restore|Checkpoint|Summary|Dataset|Iterator|Reader|VocabRemapping|DebugIdentity"
    r"|Proto|CandidateSampler).*|Print.*|ImmutableConst|Skipgram|RecordInput|DumpTensor|ImportEvent"
    r"|LoadAndRemapMatrix|CalibrationStatisticsSaver"
)
# Operations that call a Python function of the process that made the graph, and fail in any other.
PYTHON_OPS = frozenset({"PyFunc", "PyFuncStateless", "EagerPyFunc"})
TABLES_FROM_FILES = frozenset({"InitializeTableFromTextFile", "InitializeTableFromTextFileV2"})
# By the input that names the file.
RESTORE_OPS = frozenset({"RestoreV2", "Restore", "RestoreSlice"})
# Where tf.print may write.
STREAMS = frozenset({b"stderr", b"stdout", b"log(info)", b"log(warning)", b"log(error)"})
# Operations that make a tensor out of bytes, and the attribute with its type.
PARSERS = {
    "ParseTensor": "out_type",
    "DeserializeSparse": "dtype",
    "DeserializeManySparse": "dtype",
    "RestoreV2": "dtypes",
    "Restore": "dt",
    "RestoreSlice": "dt",
}
# A tensor of these types names something in the session. Written out, it could name anything.
HANDLES = frozenset({types_pb2.DT_RESOURCE, types_pb2.DT_VARIANT}) | {
    types_pb2.DT_RESOURCE_REF,
    types_pb2.DT_VARIANT_REF,
}
INIT_SIGNATURE = "__saved_model_init_op"
INIT_COLLECTIONS = ("saved_model_main_op", "legacy_init_op")
ASSET_COLLECTION = "saved_model_assets"
# What a saver is made for, where the SavedModel brings none.
VARIABLE_COLLECTIONS = ("variables", "saveable_objects")
FILES_WORDS = "uses files of this server"
BEYOND_WORDS = "reaches out of its graph"


def check_graph(graph: Any, *, trusted: bool) -> None:
    """Refuse a GraphDef, all of which may run, that reaches out of itself. Raises LoadError."""
    reached = Reached(Named(graph), [node.name for node in graph.node])
    _check_python(reached)
    if not trusted:
        for node in reached.nodes:
            _check(node)


def check_operations(definitions: Iterable[Any]) -> None:
    """Refuse operations, as a Keras file holds them, that reach out of a graph. Keras runs them
    while it reads the file. Raises LoadError."""
    for definition in definitions:
        node = tf.compat.v1.NodeDef()
        try:  # the way in which tf_keras reads it
            if isinstance(definition, dict):
                json_format.ParseDict(definition, node)
            else:
                node.ParseFromString(definition.encode())
        except Exception as error:
            raise LoadError(f"the file has a damaged operation as a layer: {error}") from None
        _check(node)


def check_saved_model(path: Path, meta: Any, served: Iterable[str], *, trusted: bool) -> None:
    """Refuse the MetaGraphDef `meta` of the SavedModel at `path` if what runs of it reaches out.

    served: the tensors that requests feed and fetch.
    Raises LoadError.
    """
    graph = Named(meta.graph_def)
    saver = meta.saver_def if meta.HasField("saver_def") else None
    serving = [*served, *_variables(meta)]
    starting = _init_ops(meta)
    restoring = [saver.restore_op_name] if saver else []
    every = Reached(graph, [*serving, *starting, *restoring])
    _check_python(every)
    if trusted:
        return
    assets = _assets(path, meta)
    for node in Reached(graph, serving).nodes:
        _check(node)
    for scope, node in Reached(graph, starting).placed:
        if node.op not in TABLES_FROM_FILES:
            _check(node)
        elif not every.comes_from(scope, node, 1, assets, through_variables=True):
            raise _refusal("fills a table from a file that is none of its assets", node)
    filename = {tensor_name(saver.filename_tensor_name)} if saver else set()
    for scope, node in Reached(graph, restoring).placed:
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
    """Every init op; TensorFlow runs the first that there is."""
    signature = meta.signature_def.get(INIT_SIGNATURE)
    found = [info.name for info in signature.outputs.values()] if signature else []
    for key in INIT_COLLECTIONS:
        if key in meta.collection_def:
            found += meta.collection_def[key].node_list.value
    return found


def _assets(path: Path, meta: Any) -> set[str]:
    """The tensors that are fed with the path of an asset. Raises LoadError if one lies
    elsewhere."""
    found = list(meta.asset_file_def)
    if not found and ASSET_COLLECTION in meta.collection_def:
        for packed in meta.collection_def[ASSET_COLLECTION].any_list.value:
            asset = meta_graph_pb2.AssetFileDef()
            packed.Unpack(asset)
            found.append(asset)
    home = path.resolve()
    for asset in found:
        # In the SavedModel, and not only through a link of that name.
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


def _check_python(reached: Reached) -> None:
    for node in reached.nodes:
        if node.op in PYTHON_OPS:
            raise LoadError(
                f"the model calls Python code (tf.py_function, in {node.name!r}) that its graph "
                "cannot hold: write that part with TensorFlow's own functions"
            )


def _check(node: Any) -> None:
    if _reaches_out(node):
        raise _refusal(FILES_WORDS if FILES.fullmatch(node.op) else BEYOND_WORDS, node)
    _check_handles(node)


def _check_handles(node: Any) -> None:
    if _writes_a_handle(node):
        raise _refusal(BEYOND_WORDS, node)


def _refusal(does: str, node: Any) -> LoadError:
    return LoadError(
        f"the model {does} ({node.op}, in {node.name!r}): take that out of its graph, or give the "
        f"model {TRUSTING_CARD} if it is meant"
    )


def _reaches_out(node: Any) -> bool:
    definition = op_def_registry.get(node.op)
    if definition is None:  # a call of a function, whose own nodes are looked at
        return False
    pattern_fits = (STATEFUL_WITHIN if definition.is_stateful else STATELESS_BEYOND).fullmatch(
        node.op
    )
    if bool(pattern_fits) != definition.is_stateful:
        return True
    # What these reach depends on an attribute. One that the caller of a function fills in has no
    # text here, and is refused too.
    if node.op == "PrintV2":
        return _text(node, "output_stream", b"stderr") not in STREAMS
    if node.op == "FixedUnigramCandidateSampler":
        return _text(node, "vocab_file") != b""
    if node.op in ("DecodeProtoV2", "EncodeProto"):
        source = _text(node, "descriptor_source", b"local://")
        return source is None or not (source in (b"", b"local://") or source[:8] == b"bytes://")
    return False


def _text(node: Any, name: str, default: bytes = b"") -> bytes | None:
    """The attribute's text; None if it is none."""
    if name not in node.attr:
        return default
    value = node.attr[name]
    text: bytes | None = value.s if value.WhichOneof("value") == "s" else None
    return text


def _writes_a_handle(node: Any) -> bool:
    """Whether it makes a handle out of bytes: of a variable that it should not know, or of what
    only an operation could make that is refused."""
    for value in values(node):
        tensors = (value.tensor, *value.list.tensor)
        if any(tensor.dtype in HANDLES for tensor in tensors):
            return True
    if node.op not in PARSERS:
        return False
    value = node.attr[PARSERS[node.op]]
    types = {value.type, *value.list.type} - {0}
    return not types or bool(types & HANDLES)


def _computed_on_import(graph: Named) -> list[Any]:
    """The nodes that TensorFlow may compute while it reads the graph, to know shapes: those of
    constants only."""
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
