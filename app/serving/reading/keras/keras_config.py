"""Inspects the configuration in a Keras file, without building anything.

A configuration names classes and functions, and Keras loads whatever it names: tf_keras imports any
module for it, and reads bytecode. So the names are checked here first, and anything that is not
part of Keras needs `trusted: true`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

# Parts of a configuration that only training reads. They may name code that is not installed.
TRAINING_KEYS = frozenset({"compile_config", "training_config"})
# Layers with `adapt()`, and the setting that holds what they have learned.
LEARNED_SETTINGS = {
    "TextVectorization": "vocabulary",
    "StringLookup": "vocabulary",
    "IntegerLookup": "vocabulary",
    "Discretization": "bin_boundaries",
}
CODE_LAYERS = frozenset({"Lambda", "__lambda__"})
# Modules of Keras with functions that a configuration may name.
FUNCTION_MODULES = (
    "activations",
    "constraints",
    "initializers",
    "losses",
    "metrics",
    "optimizers",
    "regularizers",
)
# A TensorFlow function used as a layer is called with constants from the file. Functions in these
# modules only compute; others may also read, write or run something.
COMPUTING_MODULES = frozenset(
    {"__operators__", "audio", "bitwise", "dtypes", "experimental", "image", "linalg", "losses"}
    | {"math", "nn", "quantization", "ragged", "random", "sets", "signal", "sparse", "strings"}
)
UNSAFE_FUNCTIONS = frozenset(
    {"py_function", "py_func", "numpy_function", "read_file", "write_file", "matching_files"}
    | {"load_library", "load_op_library", "load_file_system_library"}
    | {"register_filesystem_plugin", "decode_proto", "encode_proto"}
    | {"fixed_unigram_candidate_sampler", "print", "Session", "InteractiveSession"}
)
# Classes without a public name, such as the layers that Keras 2 makes of TensorFlow functions.
# `app.serving.reading.keras.cudnn` reads the last two.
NOT_PUBLIC = frozenset(
    {"Functional", "Model", "TFOpLambda", "SlicingOpLambda", "ClassMethod", "Policy"}
    | {"InstanceMethod", "InstanceProperty", "TensorFlowOpLayer", "TensorShape", "TypeSpec"}
    | {"CuDNNLSTM", "CuDNNGRU"}
)


@dataclass(frozen=True)
class Findings:
    """The parts of a configuration that matter for reading it.

    objects: every serialised object at any depth, in the order of the file: layers, initialisers,
    functions… Those that only training needs are left out. operations: TensorFlow operations used
    as layers (`TensorFlowOpLayer`), as the file has them. foreign: the objects that are not part of
    Keras, as far as the file says where they come from. unknown: those that the library does not
    have; HDF5 files before 2023 do not say where a class comes from.
    classes: the names of all classes, without the package in which they are registered. functions:
    the names of functions that are objects of their own. code: descriptions of Python code, and of
    anything that works like it. vocabularies: paths that the model would read from this machine's
    disk.
    tfsm_layer: the name of a layer that only refers to a SavedModel, and the path of that.
    unsaved_layer: the name of a layer whose `adapt()` has learned a vocabulary, or the bounds of
    bins, that the file has neither in its weights nor in its configuration. needs_scipy: whether a
    layer computes its window with SciPy, a package of 100 MB for this alone.
    """

    objects: Sequence[dict[str, Any]]
    operations: Sequence[Any]
    foreign: Sequence[dict[str, Any]]
    unknown: Sequence[dict[str, Any]]
    classes: frozenset[str]
    functions: frozenset[str]
    code: Sequence[str]
    vocabularies: Sequence[str]
    tfsm_layer: tuple[str, str] | None
    unsaved_layer: str | None
    needs_scipy: bool


def inspect_config(config: Any, library: Any) -> Findings:
    """Inspect `config` in one walk. library: `keras` or `tf_keras`, whichever reads the file."""
    objects, operations = [], []
    for node, training_only in _nodes(config):
        if "node_def" in node:
            operations.append(node["node_def"])
        if not training_only and isinstance(node.get("class_name"), str):
            objects.append(node)
    settings = [(node, node["class_name"].rpartition(">")[2], _settings(node)) for node in objects]
    return Findings(
        objects=objects,
        operations=operations,
        foreign=[node for node in objects if _is_foreign(node, library)],
        unknown=[node for node in objects if _is_unknown(node, library)],
        classes=frozenset(name for _, name, _ in settings),
        functions=frozenset(
            str(node.get("config")) for node in objects if node["class_name"] == "function"
        ),
        code=list(dict.fromkeys(words for node in objects for words in _code(node))),
        vocabularies=[
            path
            for _, _, own in settings
            if isinstance(path := own.get("vocabulary"), str) and path
        ],
        tfsm_layer=next(
            (
                (str(own.get("name")), str(own.get("filepath")))
                for node, name, own in settings
                if name == "TFSMLayer" and isinstance(node.get("config"), dict)
            ),
            None,
        ),
        unsaved_layer=next(
            (
                str(own.get("name") or node["class_name"])
                for node, name, own in settings
                if name in LEARNED_SETTINGS
                and isinstance(node.get("config"), dict)
                and not own.get(LEARNED_SETTINGS[name])
            ),
            None,
        ),
        needs_scipy=any(
            node["class_name"] == "STFTSpectrogram" and own.get("window")
            for node, _, own in settings
        ),
    )


def objects(config: Any) -> Iterator[dict[str, Any]]:
    """Yield every serialised object in the configuration, as in `Findings.objects`."""
    for node, training_only in _nodes(config):
        if not training_only and isinstance(node.get("class_name"), str):
            yield node


def _nodes(config: Any) -> Iterator[tuple[dict[str, Any], bool]]:
    """Yield every mapping in the configuration, and whether only training reads it."""
    todo = [(config, False)]
    while todo:  # not recursive: files may be nested to any depth
        node, training_only = todo.pop()
        if isinstance(node, dict):
            yield node, training_only
            todo.extend((v, training_only or k in TRAINING_KEYS) for k, v in reversed(node.items()))
        elif isinstance(node, list):
            todo.extend((v, training_only) for v in reversed(node))


def _settings(node: dict[str, Any]) -> dict[str, Any]:
    settings = node.get("config")
    return settings if isinstance(settings, dict) else {}


def is_of_keras3(config: Any) -> bool:
    """Tell whether an architecture without a version is of Keras 3, which names the module of each
    class and calls the shape of an input `batch_shape`."""
    old = any("batch_input_shape" in _settings(node) for node in objects(config))
    return "module" in config and not old


def is_of_keras2(config: Any) -> bool:
    """Tell whether an architecture without a version is of Keras 2, not of Keras 1."""
    return any("kernel_initializer" in _settings(node) for node in objects(config))


def _code(node: dict[str, Any]) -> Iterator[str]:
    """Yield descriptions of Python code in the object, and of anything that works like it."""
    name, settings = node["class_name"], _settings(node)
    if name in CODE_LAYERS:
        yield f"a {name.strip('_').replace('lambda', 'Lambda')} layer"
    # Cell wrappers store a lambda beside its type: {"residual_fn_type": "lambda"}.
    elif any(k.endswith("_type") and v == "lambda" for k, v in settings.items()):
        yield f"a lambda in its layer {settings.get('name') or name!r}"
    if name == "TFOpLambda" and not _only_computes(str(settings.get("function"))):
        yield f"a call of tf.{settings.get('function')}"
    if name == "ClassMethod" and settings.get("cls_symbol") not in (
        "RaggedTensor",
        "SparseTensor",
    ):
        yield f"a call of a method of tf.{settings.get('cls_symbol')}"


def _is_foreign(node: dict[str, Any], library: Any) -> bool:
    says = "module" in node or ">" in node["class_name"]
    return says and not _is_special(node) and not _of_keras(node, library)


def _is_unknown(node: dict[str, Any], library: Any) -> bool:
    if not isinstance(node.get("config"), dict) or "module" in node or _is_special(node):
        return False
    name = node["class_name"]
    groups = [library.layers, library.models] + [getattr(library, m) for m in FUNCTION_MODULES]
    return name not in NOT_PUBLIC and not any(hasattr(group, name) for group in groups)


def _of_keras(node: dict[str, Any], library: Any) -> bool:
    name, module, registered = node["class_name"], node.get("module"), node.get("registered_name")
    if ">" in name or ">" in str(registered):
        return False
    if name == "function":
        function = str(node.get("config"))
        known = any(hasattr(getattr(library, m), function) for m in FUNCTION_MODULES)
        return bool(known) and _root(module) in ("builtins", "keras", "tf_keras")
    # A dotted name could reach what a module of Keras imports.
    return str(name).isidentifier() and _root(module) in ("keras", "tf_keras")


def _is_special(node: dict[str, Any]) -> bool:
    """Tell whether the object is a value (`__tensor__`, `__tuple__`…) or names a type of TensorFlow
    (`__typespec__`), instead of a class."""
    name = node["class_name"]
    if name == "__typespec__":
        return _root(node.get("module")) == "tensorflow"
    return bool(name.startswith("__") and name.endswith("__"))


def _root(module: Any) -> str:
    return module.partition(".")[0] if isinstance(module, str) else ""


def _only_computes(symbol: str) -> bool:
    parts = symbol.removeprefix("compat.v1.").split(".")
    if parts[-1] in UNSAFE_FUNCTIONS:
        return False
    if parts[0] == "io":
        return parts[-1].startswith(("decode_", "encode_", "parse_"))
    if parts[0] == "keras":
        return parts[1:2] == ["backend"] or parts[1:2] == ["activations"]
    return len(parts) == 1 or parts[0] in COMPUTING_MODULES


def plain_name(node: dict[str, Any]) -> str:
    """Return the name that the author gave the class or function."""
    if node["class_name"] == "function":
        return str(node.get("config"))
    return str(node["class_name"].rpartition(">")[2])
