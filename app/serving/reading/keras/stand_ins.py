"""Stand-ins for classes and functions in a Keras file that are not part of Keras, but whose
computation is known without the author's code.

Only what is known for certain gets a stand-in: a model that loads must be right.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from app.serving.reading.keras.keras_config import Findings, plain_name

log = logging.getLogger(__name__)

# The settings of a functional model, and of a Sequential one, which no other class saves.
FUNCTIONAL = {"layers", "input_layers", "output_layers"}
SEQUENTIAL = {"layers", "build_input_shape"}
# Settings that both may have as well. A class with settings of its own may compute something else.
COMMON = {"name", "trainable", "dtype"}


def stand_ins(findings: Findings, library: Any) -> dict[str, Any]:
    """Return stand-ins for foreign classes and functions, by every name under which the file asks
    for them. library: `keras` or `tf_keras`."""
    found: dict[str, Any] = {}
    by_name: dict[str, list[dict[str, Any]]] = {}
    nodes = {id(node): node for node in (*findings.foreign, *findings.unknown)}
    for node in nodes.values():
        by_name.setdefault(plain_name(node), []).append(node)
    for name, alike in by_name.items():
        stand_in = _stand_in(name, alike, library)
        if stand_in is not None:
            found |= dict.fromkeys(_lookup_names(alike), stand_in)
    return found


def _stand_in(name: str, nodes: list[dict[str, Any]], library: Any) -> Any:
    """Return the stand-in for objects of one name; None if their computation is unknown."""
    if any(node["class_name"] == "function" for node in nodes):
        functions = all(node["class_name"] == "function" for node in nodes)
        return renamed_functions(library).get(name) if functions else None
    if not all(map(_is_found_by_name, nodes)) or hasattr(library.layers, name):
        return None
    settings = [set(node["config"]) for node in nodes]
    if name in AUTOKERAS and all(keys <= COMMON for keys in settings):
        return type(name, (library.layers.Layer,), {"call": AUTOKERAS[name]})
    if all(keys >= FUNCTIONAL and keys <= FUNCTIONAL | COMMON for keys in settings):
        log.warning("the class %r is read as the functional model that its file describes", name)
        return type(name, (library.Model,), {})
    if all(keys >= SEQUENTIAL and keys <= SEQUENTIAL | COMMON for keys in settings):
        log.warning("the class %r is read as the Sequential model that its file describes", name)
        return type(name, (library.Sequential,), {})
    return None


def _is_found_by_name(node: dict[str, Any]) -> bool:
    """Tell whether Keras looks the class up by a name that a stand-in can have, instead of
    importing the module that the file names."""
    if not isinstance(node.get("config"), dict):
        return False
    registered = node.get("registered_name", node["class_name"])
    return isinstance(registered, str) and registered.rpartition(">")[2] == plain_name(node)


def _lookup_names(nodes: list[dict[str, Any]]) -> Iterator[str]:
    for node in nodes:
        yield plain_name(node)
        if node["class_name"] != "function":
            yield from (node["class_name"], node.get("registered_name", node["class_name"]))


# --- functions that TensorFlow renames ------------------------------------------------------------


def log_softmax(x: Any) -> Any:
    """`tf.nn.log_softmax`, which calls itself `log_softmax_v2`."""
    return tf.nn.log_softmax(x)


def renamed_functions(library: Any) -> dict[str, Callable[..., Any]]:
    """Return the TensorFlow functions that serve as activations, by the names they have themselves.
    Files before 2023 say no more of a function than that."""
    return {
        "crelu_v2": tf.nn.crelu,
        "log_softmax_v2": log_softmax,
        "softmax_v2": library.activations.softmax,
    }


# --- layers of AutoKeras --------------------------------------------------------------------------


def _cast_to_float32(_layer: Any, inputs: Any) -> Any:
    if inputs.dtype == tf.string:
        return tf.strings.to_number(inputs, tf.float32)
    return tf.cast(inputs, tf.float32)


def _expand_last_dim(_layer: Any, inputs: Any) -> Any:
    return tf.expand_dims(inputs, axis=-1)


AUTOKERAS = {"CastToFloat32": _cast_to_float32, "ExpandLastDim": _expand_last_dim}
