"""Reads Keras files (`.keras`, `.h5`, `.hdf5`) of every version into models in memory, and folders
and pairs of files with the same contents.

The version in the file decides which library reads it: Keras 3 its own files, tf_keras those of
Keras 2, and `app.serving.reading.keras.keras1` those of Keras 1. No other library is tried: Keras 3
reads some files of Keras 2 without complaint and computes something else.
"""

from __future__ import annotations

import importlib.util
import json
import re
import sys
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import h5py
import keras
import tf_keras
from keras.src.saving import serialization_lib as keras3_lib
from tf_keras.src.saving import serialization_lib as tf_keras_lib

from app.errors import LoadError
from app.serving.cards import architecture_files
from app.serving.reading import model_contents
from app.serving.reading.keras import (
    architecture,
    cudnn,
    keras1,
    keras2_archive,
    keras_folder,
    lambdas,
)
from app.serving.reading.keras.first_layer import build_from_first_layer
from app.serving.reading.keras.keras_config import (
    Findings,
    inspect_config,
    is_of_keras2,
    is_of_keras3,
)
from app.serving.reading.keras.requirements import CUSTOM_FILE, Requirements
from app.serving.reading.keras.stand_ins import renamed_functions, stand_ins

WEIGHTS_IN_ZIP = "model.weights.h5"
# A damaged header can claim any size. Compression by more than a factor of a thousand is rare.
MAX_COMPRESSION = 1000
# Occurs in sentences of Keras and NumPy about arguments that only a program can pass.
_ADVICE = re.compile(
    r"\b(allow_pickle|pickle\.load|safe_mode|custom_objects|custom_object_scope|enable_unsafe_deserialization"
    r"|register_keras_serializable)\b"
)

FileKind = Literal["zip", "hdf5", "folder", "weights"]


@dataclass(frozen=True)
class KerasFile:
    """A Keras file that has been inspected, but not read.

    path: has the suffix of its contents, which the readers go by; for the kind "folder", a folder
    of links to the files to read. kind: "weights" means weights alone, with the architecture from
    another file. keras_version: that of the Keras which wrote it, as the file has it. version: its
    first two numbers.
    """

    path: Path
    kind: FileKind
    config: Any
    keras_version: str
    version: tuple[int, int]

    @property
    def library(self) -> Any:
        """The library that reads it: `keras` or `tf_keras`."""
        return keras if self.version >= (3, 0) else tf_keras

    @cached_property
    def findings(self) -> Findings:
        """The findings of its configuration."""
        return inspect_config(self.config, self.library)


def inspect(source: Path, scratch: Path, design: Path | None = None) -> KerasFile:
    """Inspect a Keras file, or the folder of an unzipped one, without building anything.

    scratch: a folder for a link to the file with the suffix of its contents. design: the file with
    the architecture; default: the one beside `source` with its name.
    Raises LoadError if it is damaged, or not a whole Keras model.
    """
    if source.is_dir():
        return _inspect_folder(source, scratch)
    try:
        with source.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        raise LoadError(f"the file cannot be read: {error.strerror}") from None
    if head.startswith(b"version https://git-lfs"):
        raise LoadError("this is a Git LFS pointer, not the model: run 'git lfs pull'")
    kind: FileKind
    if head.startswith(b"\x89HDF"):
        if model_contents.contents_of(source) == "weights":
            design = design or architecture_files.beside(source)
            if design is not None:
                return _inspect_parts(source, design, scratch)
        kind, (config, keras_version) = "hdf5", _guarded(_inspect_hdf5, source)
    elif head.startswith(b"PK"):
        kind, (config, keras_version) = "zip", _guarded(_inspect_zip, source)
    else:
        raise LoadError(
            "not a Keras model: the file is neither HDF5 nor a Keras zip archive"
            if head
            else "the file is empty"
        )
    suffix = ".keras" if kind == "zip" else ".h5"
    path = source
    if source.suffix != suffix:
        path = scratch / f"model{suffix}"
        path.symlink_to(source.resolve())
    return KerasFile(path, kind, config, keras_version, _version(keras_version, kind, config))


def read(file: KerasFile, folder: Path, *, trusted: bool) -> Any:
    """Read the model, with its weights. folder: where the file really is, perhaps with a
    `custom.py`.

    Raises LoadError.
    """
    _check_layers(file.findings, trusted)
    known = stand_ins(file.findings, file.library)
    requirements = Requirements.of(file, folder, known)
    requirements.refuse_untranslated()
    if not trusted:
        requirements.refuse_untrusted()
    custom = _custom_objects(folder / CUSTOM_FILE, file.library) if trusted else {}
    requirements.refuse_lambdas(custom)
    if any(each.name in custom for each in requirements.lambdas):
        of_keras2 = file.library is tf_keras
        config = lambdas.with_functions(file.config, custom, by_name=of_keras2)
        scratch = Path(tempfile.mkdtemp())
        path = file.path  # weights alone contain no configuration
        if file.kind != "weights":
            path = lambdas.rewrite(file.path, config, scratch)
        file = replace(file, path=path, config=config)
    custom = renamed_functions(file.library) | _without(known, custom) | custom
    try:
        model = _load(file, custom, trusted)
        build_from_first_layer(model)
        return model
    except LoadError:
        raise
    except Exception as error:  # a file can cause any error
        requirements.refuse_custom(custom)
        raise LoadError(
            f"{file.library.__name__} cannot read the file (written by Keras "
            f"{file.keras_version}): {reason(error)}{requirements.hint(custom)}"
        ) from None


def _check_layers(findings: Findings, trusted: bool) -> None:
    """Refuse layers whose computation is not in the file. Raises LoadError."""
    tfsm_layer = findings.tfsm_layer
    if tfsm_layer and not (trusted and Path(tfsm_layer[1]).is_dir()):
        raise LoadError(
            f"the layer {tfsm_layer[0]!r} is a TFSMLayer: all it has is the path of a SavedModel, "
            f"{tfsm_layer[1]!r}, on the machine that saved it; copy that folder into the folder of "
            "models, in place of this file"
        )
    if findings.needs_scipy and find_spec("scipy") is None:
        raise LoadError(
            "the layer STFTSpectrogram needs SciPy, which this server does not have: export the "
            "model with model.export(), which needs it no more"
        )


def reason(error: BaseException) -> str:
    """Return the last part of an error message of Keras, without the configurations it quotes and
    without advice for programmers."""
    text = str(error).rpartition("Exception encountered:")[2]
    text = re.split(r"Full object config:|\n\nconfig=|\n\nArguments received by", text)[0]
    text = re.sub(r"\x1b\[\d*m", "", text)
    text = " ".join(s for s in re.split(r"(?<=[.!?])\s+|\n+", text) if not _ADVICE.search(s))
    # `KeyError: 'units'` says more than `'units'`.
    prefix = "" if " " in text.strip() else f"{type(error).__name__}: "
    text = prefix + " ".join(text.split())
    return text if len(text) <= 500 else f"{text[:500]}…"


def _load(file: KerasFile, custom: dict[str, Any], trusted: bool) -> Any:
    if file.version < (2, 0):
        return keras1.read(file.path, file.config)
    # tf_keras cannot read the functions that it has written to HDF5 since 2023.
    named = (
        file.kind == "hdf5" and file.library is tf_keras and custom.keys() & file.findings.functions
    )
    if file.kind == "weights" or named:
        return _load_parts(file, custom, trusted)
    load = file.library.models.load_model
    options: dict[str, Any] = {"custom_objects": custom, "compile": False, "safe_mode": not trusted}
    if file.library is keras:
        return load(file.path, **options)
    if file.kind == "hdf5":
        options["custom_objects"] = cudnn.PORTABLE | custom
    layout = keras2_archive.layout_of(file.version) if file.kind == "zip" else nullcontext()
    # For HDF5 tf_keras ignores its own `safe_mode`.
    with layout, tf_keras_lib.SafeModeScope(not trusted):
        return load(file.path, **options)


def _load_parts(file: KerasFile, custom: dict[str, Any], trusted: bool) -> Any:
    safe = keras3_lib.SafeModeScope
    if file.library is tf_keras:
        safe, custom = tf_keras_lib.SafeModeScope, cudnn.PORTABLE | custom
    with safe(not trusted):
        model = file.library.models.model_from_json(json.dumps(file.config), custom)
    with keras2_archive.layout_of(file.version):
        model.load_weights(file.path)
    return model


# --- inspecting files ----------------------------------------------------------------------------


def _guarded(inspect: Callable[[Path], tuple[Any, str]], source: Path) -> tuple[Any, str]:
    try:
        return inspect(source)
    except LoadError:
        raise
    except Exception as error:  # zipfile, zlib, h5py and json raise several kinds for damaged files
        # h5py's lock hides the error that was raised under it.
        shown = error.__cause__ if isinstance(error, SystemError) and error.__cause__ else error
        raise LoadError(f"the file is truncated or corrupt: {reason(shown)}") from None


def _inspect_folder(source: Path, scratch: Path) -> KerasFile:
    config, keras_version = _guarded(keras_folder.read_config, source)
    weights = source / WEIGHTS_IN_ZIP
    if weights.is_file():
        _guarded(_check_weights, weights)
    version = _version(keras_version, "zip", config)
    if version < (3, 0):
        return KerasFile(
            keras_folder.write_archive(source, scratch), "zip", config, keras_version, version
        )
    return KerasFile(
        keras_folder.link_files(source, scratch), "folder", config, keras_version, version
    )


def _inspect_parts(weights: Path, design: Path, scratch: Path) -> KerasFile:
    """Inspect weights, and the architecture that they belong to."""
    config, keras_version = architecture.read(design)
    by_name, own_version = _guarded(_check_weights, weights)
    keras_version = keras_version or own_version
    path = scratch / ("model.h5" if by_name else WEIGHTS_IN_ZIP)
    path.symlink_to(weights.resolve())
    file = KerasFile(
        path, "weights", config, keras_version, _version(keras_version, "weights", config)
    )
    if unsaved_layer := file.findings.unsaved_layer:
        raise LoadError(
            f"what the layer {unsaved_layer!r} has learned is neither in {design.name} nor in "
            f"{weights.name}: save the whole model with model.save('model.keras')"
        )
    return file


def _check_weights(path: Path) -> tuple[bool, str]:
    """Check a file of weights. Returns whether it has them by layer name, as up to Keras 2, and its
    version of Keras."""
    with h5py.File(path, "r") as file:
        _check_datasets(file, path.stat().st_size)
        return "layer_names" in file.attrs, _text(file.attrs.get("keras_version", ""))


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _inspect_zip(source: Path) -> tuple[Any, str]:
    with zipfile.ZipFile(source) as archive:
        names = archive.namelist()
        if "config.json" not in names:
            raise LoadError("not a Keras model: the zip archive holds no config.json")
        broken = archive.testzip()
        if broken:
            raise LoadError(f"the file is corrupt: {broken} in it fails its checksum")
        config = json.loads(archive.read("config.json"))
        metadata = json.loads(archive.read("metadata.json")) if "metadata.json" in names else {}
        if WEIGHTS_IN_ZIP in names:
            size = archive.getinfo(WEIGHTS_IN_ZIP).file_size
            with archive.open(WEIGHTS_IN_ZIP) as stream, h5py.File(stream, "r") as weights:
                _check_datasets(weights, size)
    if not isinstance(config, dict) or "class_name" not in config:
        raise LoadError("not a Keras model: config.json in the zip archive describes none")
    return config, str(metadata.get("keras_version", ""))


def _inspect_hdf5(source: Path) -> tuple[Any, str]:
    with h5py.File(source, "r") as file:
        _check_datasets(file, source.stat().st_size)
        raw, keras_version = file.attrs.get("model_config"), file.attrs.get("keras_version", "")
        if raw is None:
            weights = "layer_names" in file.attrs or {"layers", "vars"} & set(file)
            raise LoadError(
                "weights without an architecture: the file was written by save_weights(); "
                "save the whole model with model.save('model.keras')"
                if weights
                else "not a Keras model: the HDF5 file holds no model_config"
            )
    config = json.loads(raw)
    if not isinstance(config, dict) or "class_name" not in config:
        raise LoadError("not a Keras model: model_config in the HDF5 file describes none")
    return config, _text(keras_version)


def _check_datasets(file: Any, size: int) -> None:
    """Refuse impossible sizes before memory is allocated for them, and weights in other files of
    this machine. Reads headers only."""

    def check(name: str, link: Any) -> str | None:
        if isinstance(link, h5py.ExternalLink):
            return f"the file links {name!r} to another file, which is not part of it"
        item = file.get(name) if isinstance(link, h5py.HardLink) else None
        if not isinstance(item, h5py.Dataset):
            return None
        if item.external or item.is_virtual:
            return f"the file keeps {name!r} in another file, which is not part of it"
        if item.nbytes > size * (MAX_COMPRESSION if item.chunks else 1):
            return f"the file is corrupt: {name!r} claims {item.nbytes:,} bytes in one of {size:,}"
        return None

    # Not raised within `check`, which the HDF5 library calls.
    problem = file.visititems_links(check)
    if problem:
        raise LoadError(problem)


def _version(keras_version: str, kind: str, config: Any) -> tuple[int, int]:
    """Return the first two numbers of `3.15.1`, `2.2.4-tf`… HDF5 files lack a version only if Keras
    1 wrote them, or if other tools have changed them."""
    found = re.match(r"(\d+)(?:\.(\d+))?", keras_version)
    if found:
        return int(found[1]), int(found[2] or 0)
    if kind == "zip" or (kind == "weights" and is_of_keras3(config)):
        return 3, 0
    return (2, 0) if is_of_keras2(config) else (1, 0)


# --- the author's own classes --------------------------------------------------------------------


def _without(known: dict[str, Any], custom: dict[str, Any]) -> dict[str, Any]:
    """Return the stand-ins that the author's own code does not define."""
    return {name: value for name, value in known.items() if name.rpartition(">")[2] not in custom}


def _custom_objects(path: Path, library: Any) -> dict[str, Any]:
    """Run `custom.py` and return every class and function that it defines."""
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
    found = {
        name: value
        for name, value in vars(module).items()
        if callable(value) and getattr(value, "__module__", None) == "custom"
    }
    other = tf_keras if library is keras else keras
    for name, value in found.items():
        if isinstance(value, type) and issubclass(value, other.layers.Layer):
            raise LoadError(
                f"{CUSTOM_FILE}: {name} is a layer of {other.__name__}, but the model was saved by "
                f"a Keras that {library.__name__} reads: import {library.__name__} there"
            )
    return found
