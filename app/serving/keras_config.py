"""What the configuration inside a Keras file says, found out without building anything.

A configuration names classes and functions, and Keras fetches whatever is named: tf_keras imports
any module for it, and reads bytecode. So what a file wants is looked at here first, and what is
not Keras's own needs `trusted: true`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

# Parts of a configuration that only training reads; these may name what nobody here has.
TRAINING_KEYS = frozenset({"compile_config", "training_config"})
RESCALING_LAYERS = frozenset({"Rescaling", "Normalization"})
CODE_LAYERS = frozenset({"Lambda", "TFSMLayer", "__lambda__"})
# Where Keras keeps the functions that a configuration may name.
FUNCTION_MODULES = (
    "activations",
    "constraints",
    "initializers",
    "losses",
    "metrics",
    "optimizers",
    "regularizers",
)
# A TensorFlow function used as a layer is called with constants out of the file. These groups only
# compute; the rest can also read, write or run something.
COMPUTING_GROUPS = frozenset(
    {"__operators__", "audio", "bitwise", "dtypes", "experimental", "image", "linalg", "losses"}
    | {"math", "nn", "quantization", "ragged", "random", "sets", "signal", "sparse", "strings"}
)
UNSAFE_FUNCTIONS = frozenset(
    {"py_function", "py_func", "numpy_function", "read_file", "write_file", "matching_files"}
    | {"load_library", "load_op_library", "load_file_system_library"}
    | {"register_filesystem_plugin", "decode_proto", "encode_proto"}
    | {"fixed_unigram_candidate_sampler", "print", "Session", "InteractiveSession"}
)


def objects(config: Any) -> Iterator[dict[str, Any]]:
    """Every serialised object in the configuration, however deep: layers, initialisers,
    functions… Not those that only training needs."""
    todo = [config]
    while todo:  # not recursive: a file may nest as deep as it likes
        node = todo.pop()
        if isinstance(node, dict):
            if isinstance(node.get("class_name"), str):
                yield node
            todo.extend(v for k, v in reversed(node.items()) if k not in TRAINING_KEYS)
        elif isinstance(node, list):
            todo.extend(reversed(node))


def class_names(config: Any) -> set[str]:
    """The names of all classes, without the package that they are registered in."""
    return {node["class_name"].rpartition(">")[2] for node in objects(config)}


def code(config: Any) -> str | None:
    """What in the model is Python code or works like it, in words; None if nothing is."""
    for node in objects(config):
        kind, inner = node["class_name"], node.get("config")
        inner = inner if isinstance(inner, dict) else {}
        if kind in CODE_LAYERS:
            return f"a {kind.strip('_').replace('lambda', 'Lambda')} layer"
        # Cell wrappers carry a lambda beside its kind: {"residual_fn_type": "lambda"}.
        if any(k.endswith("_type") and v == "lambda" for k, v in inner.items()):
            return f"a lambda in its layer {_layer_name(node)}"
        if kind == "TFOpLambda" and not _computes(str(inner.get("function"))):
            return f"a call of tf.{inner.get('function')}"
        if kind == "ClassMethod" and inner.get("cls_symbol") not in (
            "RaggedTensor",
            "SparseTensor",
        ):
            return f"a call of a method of tf.{inner.get('cls_symbol')}"
    return None


def operations(config: Any) -> Iterator[Any]:
    """TensorFlow's operations that are layers (`TensorFlowOpLayer`), as the file writes them."""
    todo = [config]
    while todo:
        node = todo.pop()
        if isinstance(node, dict):
            if "node_def" in node:
                yield node["node_def"]
            todo.extend(node.values())
        elif isinstance(node, list):
            todo.extend(node)


def outside_files(config: Any) -> list[str]:
    """Paths of vocabularies that the model would read from this machine's disk."""
    inner = (node.get("config") for node in objects(config))
    return [
        c["vocabulary"]
        for c in inner
        if isinstance(c, dict) and isinstance(c.get("vocabulary"), str) and c["vocabulary"]
    ]


def foreign(config: Any, library: Any) -> list[str]:
    """The names of the classes and functions that are not Keras's own, as far as the file says
    where they come from. library: `keras` or `tf_keras`."""
    return _unique(
        _plain(node)
        for node in objects(config)
        if not _special(node) and ("module" in node or ">" in node["class_name"])
        if not _of_keras(node, library)
    )


def unknown(config: Any, library: Any) -> list[str]:
    """The names of the classes that `library` does not have. HDF5 files before 2023 do not say
    where a class comes from."""
    groups = [library.layers, library.models] + [getattr(library, m) for m in FUNCTION_MODULES]
    # Layers that Keras 2 makes of TensorFlow's own functions; they have no public name.
    names = {"Functional", "Model", "TFOpLambda", "SlicingOpLambda", "ClassMethod", "Policy"}
    names |= {"InstanceMethod", "InstanceProperty", "TensorFlowOpLayer", "TensorShape", "TypeSpec"}
    return _unique(
        _plain(node)
        for node in objects(config)
        if isinstance(node.get("config"), dict) and "module" not in node and not _special(node)
        if node["class_name"] not in names
        and not any(hasattr(group, node["class_name"]) for group in groups)
    )


def _of_keras(node: dict[str, Any], library: Any) -> bool:
    name, module, registered = node["class_name"], node.get("module"), node.get("registered_name")
    if ">" in name or ">" in str(registered):
        return False
    if name == "function":
        function = str(node.get("config"))
        known = any(hasattr(getattr(library, m), function) for m in FUNCTION_MODULES)
        return bool(known) and _root(module) in ("builtins", "keras", "tf_keras")
    # A dotted name would reach through a module of Keras into what that one imports.
    return str(name).isidentifier() and _root(module) in ("keras", "tf_keras")


def _special(node: dict[str, Any]) -> bool:
    """`__tensor__`, `__tuple__`… are values, not classes; a `__typespec__` names TensorFlow's."""
    name = node["class_name"]
    if name == "__typespec__":
        return _root(node.get("module")) == "tensorflow"
    return bool(name.startswith("__") and name.endswith("__"))


def _root(module: Any) -> str:
    return module.partition(".")[0] if isinstance(module, str) else ""


def _computes(symbol: str) -> bool:
    parts = symbol.removeprefix("compat.v1.").split(".")
    if parts[-1] in UNSAFE_FUNCTIONS:
        return False
    if parts[0] == "io":
        return parts[-1].startswith(("decode_", "encode_", "parse_"))
    if parts[0] == "keras":
        return parts[1:2] == ["backend"] or parts[1:2] == ["activations"]
    return len(parts) == 1 or parts[0] in COMPUTING_GROUPS


def _plain(node: dict[str, Any]) -> str:
    """The name that the author gave the class or function."""
    if node["class_name"] == "function":
        return str(node.get("config"))
    return str(node["class_name"].rpartition(">")[2])


def _layer_name(node: dict[str, Any]) -> str:
    inner = node.get("config")
    name = inner.get("name") if isinstance(inner, dict) else None
    return repr(name or node["class_name"])


def _unique(names: Iterator[str]) -> list[str]:
    return list(dict.fromkeys(names))
