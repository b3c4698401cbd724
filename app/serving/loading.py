"""A model file becomes something that a plain TensorFlow session can run.

Keras files (`.keras`, `.h5`, `.hdf5`) are read by Keras 3 or, where it refuses, by tf_keras, and
exported; a SavedModel directory is taken as it is. Either way the result is a SavedModel, whose
variables are then frozen into constants where that can be done. Lookup tables cannot be frozen and
graphs over 2 GB do not fit into one protocol buffer: these stay SavedModels.

All of it happens in a process of its own (`app.serving.loader`): Keras keeps global state, runs
eagerly and executes parts of what it reads, none of which belongs into the serving process.
"""

from __future__ import annotations

import importlib.util
import json
import re
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import keras
import tensorflow as tf
import tf_keras
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework.convert_to_constants import (
    convert_variables_to_constants_from_session_graph as freeze_graph,
)

from app.errors import LoadError
from app.serving.signature import Converted, Signature, TensorSpec

CUSTOM_FILE = "custom.py"
# Layers that carry Python bytecode or call any function by name.
CODE_LAYERS = frozenset({"Lambda"})
RESCALING_LAYERS = frozenset({"Rescaling", "Normalization"})
# Protocol buffers end at 2 GiB; leave room for the graph itself.
MAX_FROZEN_BYTES = 1_900_000_000
# Nodes that hold state which a frozen graph would lose.
STATEFUL_OPS = re.compile(r"VarHandleOp|Variable(V2)?$|.*Table(V2)?$|.*Table.*Handle|.*Iterator.*")


def convert(source: Path, out: Path, *, trusted: bool) -> Converted:
    """Turn the model at `source` into files under the empty folder `out`.

    trusted: allow Lambda layers and run the `custom.py` beside the model.
    Raises LoadError, in words for the model's author.
    """
    if source.is_dir():
        saved, names = source, None
    else:
        saved, names = out / "saved_model", _export_keras(source, out, trusted)
    tags, signature = _read_saved_model(saved)
    if names is not None:
        signature = names(signature)
    frozen = _freeze(saved, tags, signature)
    if frozen is None:
        return Converted(saved, signature, frozen=False, tags=tags)
    path = out / "graph.pb"
    path.write_bytes(frozen)
    return Converted(path, signature, frozen=True)


# --- Keras files -------------------------------------------------------------------------------


def _export_keras(source: Path, out: Path, trusted: bool) -> Callable[[Signature], Signature]:
    """Write `out/saved_model`; the function returned puts the Keras names into its signature."""
    config, version = _inspect(source)
    classes = set(_class_names(config))
    if classes & CODE_LAYERS and not trusted:
        raise LoadError(
            "the model has a Lambda layer, which is Python code that would run on this server: "
            "set 'trusted: true' in model.yaml if you trust the file, or replace the layer"
        )
    custom = _custom_objects(source.parent / CUSTOM_FILE) if trusted else {}
    model = _load_keras(source, out, version, custom, trusted)
    parameters = int(model.count_params())
    if not getattr(model, "inputs", None):
        raise LoadError(
            "the model has no fixed inputs (it is a subclass that was never built on a known "
            "shape): save it as a SavedModel with model.export() instead"
        )
    specs = [
        tf.TensorSpec(tensor.shape, tensor.dtype, name=f"in{i}")
        for i, tensor in enumerate(model.inputs)
    ]

    def serve(*args: Any) -> dict[str, Any]:
        inputs = _packed(model, list(args))
        outputs = tf.nest.flatten(model(inputs, training=False))
        return {f"out{i}": tensor for i, tensor in enumerate(outputs)}

    target = str(out / "saved_model")
    if isinstance(model, tf_keras.Model):
        function = tf.function(serve, input_signature=specs)
        tf.saved_model.save(model, target, signatures={"serving_default": function})
    else:
        archive = keras.export.ExportArchive()
        archive.track(model)
        archive.add_endpoint("serve", serve, input_signature=specs)
        archive.write_out(target, verbose=False)
    input_names = [_plain_name(t.name) for t in model.inputs]
    output_names = list(getattr(model, "output_names", None) or ["output"])
    last = model.layers[-1] if getattr(model, "layers", None) else None
    activation = getattr(getattr(last, "activation", None), "__name__", None)
    if activation is None and type(last).__name__ in ("Softmax", "Sigmoid"):
        activation = type(last).__name__.lower()

    def named(raw: Signature) -> Signature:
        return Signature(
            inputs=_renamed(raw.inputs, "in", input_names),
            outputs=_renamed(raw.outputs, "out", output_names),
            activation=activation or "linear",
            parameters=parameters,
            rescales=bool(classes & RESCALING_LAYERS),
        )

    return named


def _packed(model: Any, tensors: list[Any]) -> Any:
    """The inputs in the structure that the model was built on: one tensor, a list or a dict."""
    if isinstance(model, (keras.Sequential, tf_keras.Sequential)):
        return tensors[0]
    return tf.nest.pack_sequence_as(model.input, tensors)


def _renamed(
    tensors: tuple[TensorSpec, ...], prefix: str, names: list[str]
) -> tuple[TensorSpec, ...]:
    by_name = {t.name: t for t in tensors}
    return tuple(replace(by_name[f"{prefix}{i}"], name=name) for i, name in enumerate(names))


def _plain_name(name: str) -> str:
    return name.split(":")[0]


def _inspect(source: Path) -> tuple[dict[str, Any], str]:
    """The model's configuration and the Keras version that wrote it, without building anything."""
    with source.open("rb") as file:
        head = file.read(64)
    if head.startswith(b"version https://git-lfs"):
        raise LoadError("this is a Git LFS pointer, not the model: run 'git lfs pull'")
    if zipfile.is_zipfile(source):
        return _inspect_zip(source)
    if head.startswith(b"\x89HDF"):
        return _inspect_hdf5(source)
    if head.startswith(b"PK"):
        raise LoadError("the file is truncated or corrupt: the zip archive has no end")
    raise LoadError("not a Keras model: the file is neither HDF5 nor a Keras zip archive")


def _inspect_zip(source: Path) -> tuple[dict[str, Any], str]:
    try:
        with zipfile.ZipFile(source) as archive:
            broken = archive.testzip()
            if broken:
                raise LoadError(f"the file is corrupt: {broken} in it fails its checksum")
            names = archive.namelist()
            if "config.json" not in names:
                raise LoadError("not a Keras model: the zip archive holds no config.json")
            config = json.loads(archive.read("config.json"))
            metadata = json.loads(archive.read("metadata.json")) if "metadata.json" in names else {}
    except (zipfile.BadZipFile, ValueError, OSError, EOFError) as error:
        raise LoadError(f"the file is truncated or corrupt: {error}") from None
    return config, str(metadata.get("keras_version", ""))


def _inspect_hdf5(source: Path) -> tuple[dict[str, Any], str]:
    try:
        with h5py.File(source, "r") as file:
            raw = file.attrs.get("model_config")
            version = file.attrs.get("keras_version", "")
            # Reads every weight once, so that damage in the middle is found here.
            file.visititems(
                lambda _, item: item[()].nbytes and None if isinstance(item, h5py.Dataset) else None
            )
    except (OSError, RuntimeError, KeyError) as error:
        raise LoadError(f"the file is truncated or corrupt: {error}") from None
    if raw is None:
        raise LoadError(
            "weights without an architecture: the file was written by save_weights(); "
            "save the whole model with model.save('model.keras')"
        )
    text = raw.decode() if isinstance(raw, bytes) else raw
    version = version.decode() if isinstance(version, bytes) else str(version)
    try:
        config = json.loads(text)
    except ValueError as error:
        raise LoadError(f"the file is corrupt: its model_config is not JSON: {error}") from None
    return config, version


def _class_names(config: Any) -> Iterator[str]:
    """Every `class_name` anywhere in a model's configuration."""
    if isinstance(config, dict):
        if isinstance(config.get("class_name"), str):
            yield config["class_name"].split(">")[-1]
        for value in config.values():
            yield from _class_names(value)
    elif isinstance(config, list):
        for value in config:
            yield from _class_names(value)


def _custom_objects(path: Path) -> dict[str, Any]:
    """Run `custom.py` and take every class and function that it defines."""
    if not path.is_file():
        return {}
    spec = importlib.util.spec_from_file_location("custom", path)
    if spec is None or spec.loader is None:
        raise LoadError(f"{CUSTOM_FILE} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules["custom"] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise LoadError(f"{CUSTOM_FILE} fails: {type(error).__name__}: {error}") from None
    return {
        name: value
        for name, value in vars(module).items()
        if callable(value) and getattr(value, "__module__", None) == "custom"
    }


def _load_keras(
    source: Path, out: Path, version: str, custom: dict[str, Any], trusted: bool
) -> Any:
    """The model, by Keras 3 or else tf_keras. Raises LoadError with what the better one said."""
    # Both pick their reader by the suffix; old Keras wrote HDF5 under `.keras` too.
    suffix = ".keras" if zipfile.is_zipfile(source) else ".h5"
    if source.suffix != suffix:
        link = out / f"model{suffix}"
        link.symlink_to(source.resolve())
        source = link
    errors = []
    for library in (keras, tf_keras):
        try:
            return library.models.load_model(
                source, custom_objects=custom, compile=False, safe_mode=not trusted
            )
        except Exception as error:  # whatever a file can provoke
            errors.append(error)
    by_keras3, by_tf_keras = errors
    better = by_tf_keras if version.startswith(("1.", "2.")) else by_keras3
    unknown = _unknown_class(str(better))
    if unknown:
        raise LoadError(
            f"the model uses the custom class {unknown!r}, which is not part of Keras: put its "
            f"source into {CUSTOM_FILE} beside the model and set 'trusted: true' in model.yaml, "
            "or save the model as a SavedModel with model.export()"
        )
    lines = [line for line in str(better).splitlines() if line.strip()] or [repr(better)]
    raise LoadError(
        f"Keras cannot read the file{f' (written by Keras {version})' if version else ''}: "
        f"{type(better).__name__}: {lines[0][:500]}"
    )


def _unknown_class(message: str) -> str | None:
    found = re.search(
        r"(?:Could not locate (?:class|function|object)|Unknown (?:layer|object|activation function"
        r"|function|initializer|regularizer|constraint)):? '?\"?([\w.>]+)",
        message,
    )
    return found[1].split(">")[-1] if found else None


# --- SavedModels -------------------------------------------------------------------------------


def _read_saved_model(path: Path) -> tuple[tuple[str, ...], Signature]:
    """The tags and the default signature of a SavedModel directory."""
    proto = saved_model_pb2.SavedModel()
    try:
        proto.ParseFromString((path / "saved_model.pb").read_bytes())
    except Exception as error:
        raise LoadError(f"saved_model.pb is truncated or corrupt: {error}") from None
    graphs = [g for g in proto.meta_graphs if "serve" in g.meta_info_def.tags] or [
        *proto.meta_graphs
    ]
    if not graphs:
        raise LoadError("saved_model.pb holds no graph")
    signatures = {name: s for name, s in graphs[0].signature_def.items() if s.inputs or s.outputs}
    chosen = signatures.get("serving_default") or next(iter(signatures.values()), None)
    if chosen is None or not chosen.outputs:
        raise LoadError(
            "the SavedModel has no signature: save it with signatures={'serving_default': …} or "
            "model.export()"
        )
    return tuple(graphs[0].meta_info_def.tags), Signature(
        inputs=tuple(_spec(n, info) for n, info in sorted(chosen.inputs.items())),
        outputs=tuple(_spec(n, info) for n, info in sorted(chosen.outputs.items())),
    )


def _spec(name: str, info: Any) -> TensorSpec:
    dtype = tf.dtypes.as_dtype(info.dtype)
    shape = info.tensor_shape
    return TensorSpec(
        name=name,
        node=info.name,
        dtype=dtype.name,
        shape=None
        if shape.unknown_rank
        else tuple(None if d.size < 0 else int(d.size) for d in shape.dim),
    )


def _freeze(path: Path, tags: tuple[str, ...], signature: Signature) -> bytes | None:
    """The SavedModel's graph with variables as constants, serialised; None if it cannot be."""
    size = sum(f.stat().st_size for f in path.glob("variables/variables.data*"))
    if size > MAX_FROZEN_BYTES:
        return None
    graph = tf.Graph()
    with graph.as_default(), tf.compat.v1.Session(graph=graph) as session:
        try:
            tf.compat.v1.saved_model.load(session, list(tags), str(path))
        except Exception as error:
            lines = str(error).splitlines() or [repr(error)]
            raise LoadError(f"TensorFlow cannot load the SavedModel: {lines[0][:500]}") from None
        try:
            frozen = freeze_graph(
                session, graph.as_graph_def(), [t.node.split(":")[0] for t in signature.outputs]
            )
        except Exception:  # resources that cannot become constants
            return None
    nodes = [*frozen.node, *(n for f in frozen.library.function for n in f.node_def)]
    if any(STATEFUL_OPS.match(node.op) for node in nodes):
        return None
    data: bytes = frozen.SerializeToString()
    return data
