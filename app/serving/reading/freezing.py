"""Freezes models: variables become constants of the graph, and large ones files beside it.

A graph that contains its weights is copied about ten times on its way into a session: 553 MB took 8
GB and 30 s. Here, weights go from their variables straight to files. The graph has a placeholder
for each, which `app.serving.engine.sessions.weights` replaces in the serving session.

TensorFlow's graph optimiser (Grappler) runs here as well, once, so that its copies of constants
stay out of the server. Its result depends on the features of this CPU.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow.python.framework import convert_to_constants, graph_util_impl
from tensorflow.python.grappler import tf_optimizer

from app.serving.cards.card import Precision, Runtime
from app.serving.engine.sessions.config import session_config
from app.serving.engine.sessions.weights import nbytes, read
from app.serving.engine.sessions.xla import run_natively
from app.serving.signature import Weight

GRAPH_FILE = "graph.pb"
# Smaller weights stay in the graph: a file for each bias would be thousands.
LARGE_BYTES = 100_000
# From this size on, weights are mapped, even though oneDNN, which packs constants once, would run a
# batch of 32 up to a fifth faster.
MAPPED_BYTES = 32_000_000
# Bytes of weights that Grappler receives as constants, to fold them; it copies them more than ten
# times. The smallest come first: the largest belong to the last layers, whose tensors are small.
FOLDED_BYTES = 32_000_000
# A constant takes five times its size in a session.
MAX_CONSTANT_BYTES = 1_000_000_000
# Nodes that hold state which a frozen graph would lose.
STATEFUL = re.compile(r"VarHandleOp|Variable(V2)?$|.*Table.*|.*Iterator.*|Assign.*")
# Operations that read single rows of a weight, which packing does not speed up.
_GATHERING = frozenset({"Gather", "GatherV2", "GatherNd"})
# Those that read rows of a variable, and what does the same with a constant.
_RESOURCE_GATHERING = {"ResourceGather": "GatherV2", "ResourceGatherNd": "GatherNd"}
_VARIABLES = frozenset({"Variable", "VariableV2", "VarHandleOp"})


@dataclass(frozen=True, slots=True)
class FrozenGraph:
    """A GraphDef without variables, and the weights that its placeholders stand for: files in
    `folder`."""

    graph: Any
    weights: tuple[Weight, ...]
    folder: Path


def freeze_function(function: Any, folder: Path) -> FrozenGraph | None:
    """Freeze the graph of a ConcreteFunction, with its large weights in `folder`. Returns None if
    it has state that cannot be frozen."""
    by_handle = {id(variable.handle): variable for variable in function.graph.variables}
    large = {}
    for value, placeholder in function.graph.captures:
        variable = by_handle.get(id(value))
        if value.dtype == tf.resource and variable is None:  # a table, for example
            return None
        if variable is not None and _is_large(variable.shape, variable.dtype):
            large[placeholder.op.name] = variable
    try:
        data = convert_to_constants._FunctionConverterDataInEager(
            func=function,
            lower_control_flow=True,
            aggressive_inlining=False,
            variable_names_denylist=set(large),
        )
        return _frozen(data, {n: v.numpy for n, v in large.items()}, folder)
    except Exception:  # resources that cannot become constants
        return None


def freeze_session(session: Any, kept: Sequence[str], folder: Path) -> FrozenGraph | None:
    """Freeze the graph of a session with restored variables, as far as the operations `kept` need
    it, with its large weights in `folder`. Returns None if it has state that cannot be frozen."""
    graph = graph_util_impl.extract_sub_graph(session.graph.as_graph_def(), list(kept))
    large: dict[str, Callable[[], Any]] = {}
    for node in graph.node:
        if node.op in _VARIABLES:
            shape = tf.TensorShape(node.attr["shape"].shape)
            if _is_large(shape, tf.dtypes.as_dtype(node.attr["dtype"].type)):
                read = "/Read/ReadVariableOp:0" if node.op == "VarHandleOp" else ":0"
                large[node.name] = _fetch(session, node.name + read)
    try:
        data = convert_to_constants._SessionConverterData(
            session=session,
            graph_def=graph,
            output_node_names=list(kept),
            variable_names_denylist=set(large),
        )
        return _frozen(data, large, folder)
    except Exception:  # resources that cannot become constants
        return None


def _fetch(session: Any, tensor: str) -> Callable[[], Any]:
    return lambda: session.run(tensor)


def _is_large(shape: Any, dtype: Any) -> bool:
    elements = shape.num_elements()
    return elements is not None and elements * dtype.base_dtype.size >= LARGE_BYTES


def _frozen(data: Any, large: dict[str, Callable[[], Any]], folder: Path) -> FrozenGraph | None:
    """Do what TensorFlow's `_replace_variables_by_constants` does, but write the values of `large`
    to files and put placeholders in their place."""
    source = convert_to_constants._GraphDef(data.graph_def)
    for name, small in data.tensor_data.items():
        source.nodes[name].convert_variable_to_constant(None, small)
    weights = []
    for number, (name, value_of) in enumerate(large.items()):
        value = np.asarray(value_of())
        variable = source.nodes[name]
        node = variable.converted_self().node
        _make_placeholder(node, value)
        known = convert_to_constants._TensorData(
            numpy=value, dtype=node.attr["dtype"].type, index=None
        )
        for edge in variable.outgoing_edges:
            edge.destination.convertible.convert_variable_to_constant(edge, known)
        weights.append(_write_weight(value, f"{name}:0", folder, f"variable-{number}"))
    graph = source.converted_self().graph_def
    for function in graph.library.function:
        _gather_constants(function)
    return None if _has_state(graph) else FrozenGraph(graph, tuple(weights), folder)


def _gather_constants(function: Any) -> None:
    """Look up rows of constants, in the body of a function, where they were variables: TensorFlow's
    conversion leaves these operations as they are there. The embeddings of Keras 2 are such."""
    types = {argument.name: argument.type for argument in function.signature.input_arg}
    for node in list(function.node_def):
        if node.op not in _RESOURCE_GATHERING or types.get(node.input[0]) in (
            None,
            types_pb2.DT_RESOURCE,
        ):
            continue
        indices, batch_dims = node.attr["Tindices"].type, node.attr["batch_dims"].i
        node.op = _RESOURCE_GATHERING[node.op]
        node.attr.clear()
        node.attr["Tparams"].type = types[node.input[0]]
        node.attr["Tindices"].type = indices
        if node.op == "GatherV2":
            axis = function.node_def.add(name=f"{node.name}/frozen_axis", op="Const")
            axis.attr["dtype"].type = types_pb2.DT_INT32
            axis.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(batch_dims, tf.int32))
            controls = [name for name in node.input if name.startswith("^")]
            data = [name for name in node.input if not name.startswith("^")]
            del node.input[:]
            node.input.extend([*data, f"{axis.name}:output:0", *controls])
            node.attr["Taxis"].type = types_pb2.DT_INT32
            node.attr["batch_dims"].i = batch_dims


def _make_placeholder(node: Any, value: Any) -> None:
    name = node.name
    node.Clear()
    node.name, node.op = name, "Placeholder"
    node.attr["dtype"].type = tf.dtypes.as_dtype(value.dtype).as_datatype_enum
    node.attr["shape"].shape.CopyFrom(tf.TensorShape(value.shape).as_proto())


def _write_weight(value: Any, node: str, folder: Path, file: str) -> Weight:
    np.ascontiguousarray(value).reshape(-1).view(np.uint8).tofile(folder / file)
    return Weight(node, file, tf.dtypes.as_dtype(value.dtype).name, value.shape, mapped=True)


def _has_state(graph: Any) -> bool:
    """Tell whether freezing would lose state of the graph. Removes functions that nothing calls."""
    functions = called_functions(graph)
    for index in reversed(range(len(graph.library.function))):
        if graph.library.function[index].signature.name not in functions:
            del graph.library.function[index]
    nodes = chain(graph.node, *(f.node_def for f in functions.values()))
    return any(STATEFUL.match(node.op) for node in nodes)


def called_functions(graph: Any) -> dict[str, Any]:
    """Return the functions that the graph's nodes call, directly or indirectly, by name."""
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
    return called


# --- Grappler ------------------------------------------------------------------------------------


def optimise(
    frozen: FrozenGraph, tensors: Collection[str], precision: Precision
) -> tuple[Weight, ...]:
    """Optimise the graph as a session would, and write it to `GRAPH_FILE` in its folder. Returns
    the weights that it needs afterwards: small ones that do not become variables are folded into
    it.

    tensors: the names of all tensors that are fed or fetched.
    """
    variables = _variables(frozen)
    source = meta_graph_pb2.MetaGraphDef()
    source.graph_def.CopyFrom(frozen.graph)
    run_natively(source.graph_def)
    nodes = {node.name: node for node in source.graph_def.node}
    apart, folded = [], 0
    for weight in sorted(frozen.weights, key=nbytes):
        mapped = weight in variables
        folded += 0 if mapped else nbytes(weight)
        if mapped or folded > FOLDED_BYTES:
            apart.append(replace(weight, mapped=mapped))
        else:
            _make_constant(nodes[weight.node.removesuffix(":0")], weight, frozen.folder)
    # Nodes that Grappler must leave unchanged.
    kept = source.collection_def["train_op"].node_list.value
    kept.extend(dict.fromkeys((*tensors, *(weight.node for weight in apart))))
    config = session_config(Runtime(precision=precision))
    rewrite = config.graph_options.rewrite_options
    rewrite.min_graph_nodes = -1  # small graphs, too
    if precision == "bfloat16":
        rewrite.remapping = type(rewrite).OFF  # the session fuses, see `session_config`
    # Some fusions apply only to nodes that are placed on the CPU. With CUDA they may be elsewhere.
    device = "" if tf.test.is_built_with_cuda() else "/device:CPU:0"
    for node in source.graph_def.node:
        node.device = device
    graph = tf_optimizer.OptimizeGraph(config, source)
    del source, nodes
    for node in graph.node:
        node.device = ""
    weights = [each for weight in apart for each in _cast(graph, weight, frozen.folder)]
    weights += _extract_constants(
        graph, {tensor.partition(":")[0] for tensor in tensors}, frozen.folder
    )
    _drop_control_inputs(graph, {f"^{weight.node.removesuffix(':0')}" for weight in weights})
    (frozen.folder / GRAPH_FILE).write_bytes(graph.SerializeToString())
    return tuple(weights)


def _variables(frozen: FrozenGraph) -> list[Weight]:
    """Return the weights that become variables in the session, which maps their files."""
    used = _consumers(frozen.graph)
    total = sum(nbytes(weight) for weight in frozen.weights)
    return [
        weight
        for weight in frozen.weights
        if nbytes(weight) >= MAPPED_BYTES
        or total > MAX_CONSTANT_BYTES
        or used[weight.node.removesuffix(":0")] <= _GATHERING
    ]


def _consumers(graph: Any) -> dict[str, set[str]]:
    """Return the operations that consume each placeholder, looking through Identity nodes."""
    consumers: dict[str, list[Any]] = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            consumers[name.partition(":")[0]].append(node)

    def follow(name: str) -> set[str]:
        found: set[str] = set()
        for node in consumers[name]:
            found |= follow(node.name) if node.op == "Identity" else {node.op}
        return found

    return {node.name: follow(node.name) for node in graph.node if node.op == "Placeholder"}


def _make_constant(node: Any, weight: Weight, folder: Path) -> None:
    """Turn a weight's placeholder into a constant, and remove the file."""
    path = folder / weight.file
    name, dtype = node.name, node.attr["dtype"].type
    node.Clear()
    node.name, node.op = name, "Const"
    node.attr["dtype"].type = dtype
    tensor = node.attr["value"].tensor
    tensor.dtype = dtype
    tensor.tensor_shape.CopyFrom(tf.TensorShape(weight.shape).as_proto())
    tensor.tensor_content = path.read_bytes()
    path.unlink()


def _cast(graph: Any, weight: Weight, folder: Path) -> list[Weight]:
    """Return the weight; or, if the graph only ever casts it, the results of these casts as
    weights."""
    name = weight.node.removesuffix(":0")
    consumers = [node for node in graph.node if name in (i.partition(":")[0] for i in node.input)]
    if not consumers or any(node.op != "Cast" for node in consumers):
        return [weight]
    cast: list[Weight] = []
    for node in consumers:
        dtype = tf.dtypes.as_dtype(node.attr["DstT"].type)
        value = read(weight, folder).astype(dtype.as_numpy_dtype)
        file = f"{weight.file}-{len(cast)}"
        made = _write_weight(value, f"{node.name}:0", folder, file)
        cast.append(replace(made, mapped=weight.mapped))
        _make_placeholder(node, value)
    (folder / weight.file).unlink()
    return cast


def _drop_control_inputs(graph: Any, weights: set[str]) -> None:
    """Drop control inputs that are weights, which are available from the start: they would run the
    placeholders."""
    for node in graph.node:
        if not weights.isdisjoint(node.input):
            inputs = [name for name in node.input if name not in weights]
            del node.input[:]
            node.input.extend(inputs)


def _extract_constants(graph: Any, named: Collection[str], folder: Path) -> Iterator[Weight]:
    """Move large constants to files of their own, and put placeholders in their place. named: nodes
    that are fed or fetched, which stay."""
    number = 0
    for node in graph.node:
        # A constant with control inputs belongs to a branch or a loop, where it has to stay.
        if node.op == "Const" and not node.input and node.name not in named:
            tensor = node.attr["value"].tensor
            shape, dtype = tf.TensorShape(tensor.tensor_shape), tf.dtypes.as_dtype(tensor.dtype)
            if dtype != tf.string and _is_large(shape, dtype):
                value = tf.make_ndarray(tensor)
                _make_placeholder(node, value)
                weight = _write_weight(value, f"{node.name}:0", folder, f"constant-{number}")
                yield replace(weight, mapped=False)
                number += 1
