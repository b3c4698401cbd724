"""Keras files (`.keras`, `.h5`, `.hdf5`) of every age become a model in memory.

The file's own stamp says which Keras wrote it, and decides who reads it: Keras 3 its own files,
tf_keras those of Keras 2, and `app.serving.keras1` those of Keras 1. The others are not tried
instead: Keras 3 reads some files of Keras 2 without complaint and computes something else.
"""

from __future__ import annotations

import importlib.util
import json
import platform
import re
import sys
import zipfile
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import h5py
import keras
import tf_keras
from tf_keras.src.saving.serialization_lib import SafeModeScope

from app.errors import LoadError
from app.serving import keras1, keras2_zip, keras_config, reach
from app.serving.card import TRUSTING_CARD

CUSTOM_FILE = "custom.py"
WEIGHTS_IN_ZIP = "model.weights.h5"
# A damaged header can claim any size; compressed data are rarely a thousandth of what they hold.
MAX_COMPRESSION = 1000


@dataclass(frozen=True)
class KerasFile:
    """A file that has been looked at, but not read.

    path: ends as its content demands, since the readers go by that. stamp: the version of Keras
    that wrote it, as the file says. version: its first two numbers.
    """

    path: Path
    kind: Literal["zip", "hdf5"]
    config: Any
    stamp: str
    version: tuple[int, int]

    @property
    def library(self) -> Any:
        """The library that reads it: `keras` or `tf_keras`."""
        return keras if self.version >= (3, 0) else tf_keras


def inspect(source: Path, scratch: Path) -> KerasFile:
    """Look into the file without building anything.

    scratch: a folder for a link to the file under a name that fits its content.
    Raises LoadError when it is damaged, or no whole Keras model.
    """
    try:
        with source.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        raise LoadError(f"the file cannot be read: {error.strerror}") from None
    if head.startswith(b"version https://git-lfs"):
        raise LoadError("this is a Git LFS pointer, not the model: run 'git lfs pull'")
    kind: Literal["zip", "hdf5"]
    if head.startswith(b"\x89HDF"):
        kind, (config, stamp) = "hdf5", _guarded(_inspect_hdf5, source)
    elif head.startswith(b"PK"):
        kind, (config, stamp) = "zip", _guarded(_inspect_zip, source)
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
    return KerasFile(path, kind, config, stamp, _version(stamp, kind, config))


def read(file: KerasFile, folder: Path, *, trusted: bool) -> Any:
    """The model, with its weights. folder: where the file really lies, maybe with a `custom.py`.

    Raises LoadError.
    """
    code = keras_config.code(file.config)
    if code and not trusted:
        raise LoadError(
            f"the model has {code}, which is Python code that would run on this server: "
            f"if you trust the file, give it {TRUSTING_CARD}, or replace the layer"
        )
    elsewhere = keras_config.outside_files(file.config)
    if elsewhere and not trusted:
        raise LoadError(
            f"the model reads its vocabulary from {elsewhere[0]!r}, which is not part of it: "
            "give the layer the words themselves as vocabulary=[…] and save it again"
        )
    if not trusted:
        reach.check_operations(keras_config.operations(file.config))
    foreign = keras_config.foreign(file.config, file.library)
    # Only a guess: what these are called, tf_keras may know by a name that is not public.
    strange = [*foreign, *keras_config.unknown(file.config, file.library)]
    if foreign and not trusted:
        raise LoadError(_custom_message(strange, trusted))
    custom = _custom_objects(folder / CUSTOM_FILE, file.library) if trusted else {}
    try:
        return _load(file, custom, trusted)
    except LoadError:
        raise
    except Exception as error:  # whatever a file can provoke
        missing = [name for name in strange if name not in custom]
        if missing:
            raise LoadError(_custom_message(missing, trusted)) from None
        raise LoadError(
            f"{file.library.__name__} cannot read the file (written by Keras {file.stamp}): "
            f"{reason(error)}{_bytecode_hint() if code else ''}"
        ) from None


def reason(error: BaseException) -> str:
    """What Keras says at the end of an error message, without the configurations it quotes."""
    text = str(error).rpartition("Exception encountered:")[2]
    text = re.split(r"Full object config:|\n\nconfig=|\n\nArguments received by", text)[0]
    text = re.sub(r"\x1b\[\d*m", "", text)
    # `KeyError: 'units'` says more than `'units'`.
    prefix = "" if " " in text.strip() else f"{type(error).__name__}: "
    text = prefix + " ".join(text.split())
    return text if len(text) <= 500 else f"{text[:500]}…"


def _bytecode_hint() -> str:
    return (
        "; a Lambda layer holds bytecode that only the Python that saved it can read, and this is "
        f"Python {platform.python_version()}: export the model there with model.export()"
    )


def _load(file: KerasFile, custom: dict[str, Any], trusted: bool) -> Any:
    if file.version < (2, 0):
        return keras1.read(file.path, file.config)
    load = file.library.models.load_model
    options = {"custom_objects": custom, "compile": False, "safe_mode": not trusted}
    if file.library is keras:
        return load(file.path, **options)
    layout = keras2_zip.layout_of(file.version) if file.kind == "zip" else nullcontext()
    # For HDF5 tf_keras ignores its own `safe_mode`.
    with layout, SafeModeScope(not trusted):
        return load(file.path, **options)


# --- looking into files --------------------------------------------------------------------------


def _guarded(inspect: Callable[[Path], tuple[Any, str]], source: Path) -> tuple[Any, str]:
    try:
        return inspect(source)
    except LoadError:
        raise
    except Exception as error:  # zipfile, zlib, h5py and json each have several for damaged files
        # h5py's lock hides what went wrong under it.
        shown = error.__cause__ if isinstance(error, SystemError) and error.__cause__ else error
        raise LoadError(f"the file is truncated or corrupt: {reason(shown)}") from None


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
        raw, stamp = file.attrs.get("model_config"), file.attrs.get("keras_version", "")
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
    return config, stamp.decode() if isinstance(stamp, bytes) else str(stamp)


def _check_datasets(file: Any, size: int) -> None:
    """Refuse what cannot be right before anybody asks for that much memory, and weights that
    lie in other files of this machine. Reads headers only."""

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

    # Not raised from within: the HDF5 library stands in between.
    problem = file.visititems_links(check)
    if problem:
        raise LoadError(problem)


def _version(stamp: str, kind: str, config: Any) -> tuple[int, int]:
    """The first two numbers of `3.15.1`, `2.2.4-tf`… Only Keras 1 left its HDF5 without a stamp,
    and files that passed through other hands."""
    found = re.match(r"(\d+)(?:\.(\d+))?", stamp)
    if found:
        return int(found[1]), int(found[2] or 0)
    if kind == "zip":
        return 3, 0
    settings = (node.get("config") for node in keras_config.objects(config))
    of_keras2 = any(isinstance(s, dict) and "kernel_initializer" in s for s in settings)
    return (2, 0) if of_keras2 else (1, 0)


# --- the author's own classes --------------------------------------------------------------------


def _custom_message(names: list[str], trusted: bool) -> str:
    listed = " and ".join(repr(name) for name in names[:3])
    what = f"the custom class{'es' if len(names) > 1 else ''} {listed}"
    if trusted:
        return (
            f"the model uses {what}, which is not part of Keras, and {CUSTOM_FILE} beside the "
            "model does not define it"
        )
    return (
        f"the model uses {what}, which is not part of Keras: put its source into {CUSTOM_FILE} "
        f"beside the model and give it {TRUSTING_CARD}, or save the model as a SavedModel with "
        "model.export()"
    )


def _custom_objects(path: Path, library: Any) -> dict[str, Any]:
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
