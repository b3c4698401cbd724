"""Serves SavedModels without a signature, such as those of TensorFlow Hub and onnx2tf, through
their only function: as a copy with that function as the signature."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf

from app.errors import LoadError
from app.serving.engine.sessions.session import first_line
from app.serving.reading.graph_rules import check_graph

_FUNCTIONS = frozenset({"function", "bare_concrete_function"})


def add_signature(path: Path, meta: Any, copy: Path, *, trusted: bool) -> Path | None:
    """Write a copy of the SavedModel at `path` to `copy`, with its only function as the signature.

    meta: its MetaGraphDef. Returns `copy`; None if it has no function, or several.
    Raises LoadError, also for functions that break the rules for graphs and are not trusted.
    """
    _check(meta, trusted=trusted)
    try:
        loaded = tf.saved_model.load(str(path), list(meta.meta_info_def.tags))
        found = list(_concrete_functions(loaded, _root_functions(meta)))
        if len(found) != 1:
            return None
        (function,) = found
        serve = _signature(function)
        module = tf.Module()
        module.loaded = loaded
        tf.saved_model.save(module, str(copy), signatures={"serving_default": serve})
    except Exception as error:  # TensorFlow may raise anything here
        raise LoadError(
            f"the SavedModel has no signature, and its function cannot be served: "
            f"{first_line(error)}"
        ) from None
    return copy


def function_names(meta: Any) -> list[str]:
    """Return the names of the SavedModel's functions, without `__call__`."""
    return [name for name in _root_functions(meta) if name != "__call__"]


def _root_functions(meta: Any) -> list[str]:
    """Return the functions of the root object; only `__call__` if it has that."""
    nodes = meta.object_graph_def.nodes
    found = [
        child.local_name
        for child in (nodes[0].children if nodes else ())
        if nodes[child.node_id].WhichOneof("kind") in _FUNCTIONS
    ]
    return ["__call__"] if "__call__" in found else found


def _check(meta: Any, *, trusted: bool) -> None:
    """Check all functions of its objects: loading may run any of them."""
    graph = tf.compat.v1.GraphDef(library=meta.graph_def.library)
    for number, name in enumerate(meta.object_graph_def.concrete_functions):
        graph.node.add(name=f"call_{number}", op=name)
    check_graph(graph, trusted=trusted)


def _concrete_functions(loaded: Any, names: list[str]) -> Iterator[Any]:
    """Yield the concrete functions that take only tensors, apart from arguments that are off or
    empty, such as `training=False`."""
    functions = [loaded] if hasattr(loaded, "structured_input_signature") else []
    for name in [] if functions else names:
        function = getattr(loaded, name)
        functions += getattr(function, "concrete_functions", [function])
    for function in functions:
        leaves = tf.nest.flatten(function.structured_input_signature)
        tensors = [leaf for leaf in leaves if isinstance(leaf, tf.TensorSpec)]
        if tensors and all(isinstance(leaf, tf.TensorSpec) or not leaf for leaf in leaves):
            yield function


def _signature(function: Any) -> Any:
    leaves = tf.nest.flatten(function.structured_input_signature)
    specs = [leaf for leaf in leaves if isinstance(leaf, tf.TensorSpec)]

    @tf.function(input_signature=specs, autograph=False)  # type: ignore[untyped-decorator]
    def serve(*tensors: Any) -> dict[str, Any]:
        answer = function(*tensors)
        if isinstance(answer, dict):
            return answer
        return {f"output_{i}": each for i, each in enumerate(tf.nest.flatten(answer))}

    return serve.get_concrete_function()
