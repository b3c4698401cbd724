"""Replaces lambdas in the configuration of a Keras file with functions of `custom.py`.

Keras saves a lambda as bytecode that only its own version of Python can run, as a name, or in a
form that it cannot read back. A function from the author's source replaces it, under the name of
its layer.
"""

from __future__ import annotations

import json
import keyword
import re
import shutil
import sys
import zipfile
from collections.abc import Collection, Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py

from app.serving.reading.keras import bytecode, keras_config

LAMBDA = "<lambda>"
_CONFIG = "config.json"
# Parameters of lambdas that do not take a single tensor.
_PARAMETERS = {"mask": "inputs, mask", "residual_fn": "inputs, outputs"}


@dataclass(frozen=True)
class Lambda:
    """A lambda of a model. name: that of the function in `custom.py` which replaces it. code: its
    bytecode as Keras wrote it; None if Keras cannot read it. place: the settings that contain it,
    and its key there."""

    name: str
    layer: str
    code: str | None
    place: tuple[dict[str, Any], str]

    @property
    def description(self) -> str:
        """Its description, such as `the Lambda layer 'scale'`, and why it does not run here."""
        _, key = self.place
        what = f"the Lambda layer {self.layer!r}"
        if key != "function":
            what = f"a lambda as the {key} of its layer {self.layer!r}"
        if self.code is None:
            return f"{what}, whose code cannot be read from the file"
        here = ".".join(map(str, sys.version_info[:2]))
        return (
            f"{what}, bytecode of {bytecode.in_words(bytecode.python_versions(self.code))} that "
            f"{here} cannot run"
        )

    @property
    def stub(self) -> str:
        """The line of `custom.py` that replaces it, as far as it is known."""
        settings, key = self.place
        parameters = _PARAMETERS.get(key, "x")
        arguments = settings.get("arguments") if key == "function" else None
        if isinstance(arguments, dict):
            parameters = ", ".join([parameters, *filter(str.isidentifier, arguments)])
        return f"def {self.name}({parameters}): return …"

    @property
    def runs_here(self) -> bool:
        """Whether this Python may run its bytecode, or nothing is known of that."""
        if self.code is None:
            return False
        written_by = bytecode.python_versions(self.code)
        return not written_by or sys.version_info[:2] in written_by

    def replace(self, *, by_name: bool) -> None:
        """Replace it in the configuration by the function. by_name: in the form of Keras 2."""
        name = self.name
        settings, key = self.place
        if f"{key}_type" in settings:  # as Keras 2 writes a Lambda
            prefix = "" if key == "function" else f"{key}_"
            settings |= {key: name, f"{key}_type": "function", f"{prefix}module": None}
        elif by_name:
            settings[key] = name
        else:
            settings[key] = {
                "module": "builtins",
                "class_name": "function",
                "config": name,
                "registered_name": name,
            }
        # Keras finds it out by calling the function.
        if key == "function" and _code_in(settings, "output_shape") is not None:
            settings["output_shape"] = None
            if "output_shape_type" in settings:
                settings["output_shape_type"] = "raw"


def find_lambdas(objects: Iterable[dict[str, Any]]) -> list[Lambda]:
    """Find the lambdas among the objects of a configuration, except the output shapes of Lambda
    layers, which follow from calling their functions."""
    found: list[Lambda] = []
    for node in objects:
        settings = node.get("config")
        if not isinstance(settings, dict) or node["class_name"] == "__lambda__":
            continue
        of_lambda = node["class_name"].rpartition(">")[2] == "Lambda"
        layer = str(settings.get("name") or node["class_name"])
        for key in settings:
            code = _code_in(settings, key)
            if code is not None and not (of_lambda and key == "output_shape"):
                name = layer if of_lambda and key == "function" else f"{layer}_{key}"
                taken = {each.name for each in found if each.code != (code[0] or None)}
                found.append(
                    Lambda(_free_identifier(name, taken), layer, code[0] or None, (settings, key))
                )
    return found


def with_functions(config: Any, names: Collection[str], *, by_name: bool) -> Any:
    """Return the configuration with the functions of these names in place of their lambdas.
    by_name: in the form of Keras 2."""
    changed = deepcopy(config)
    for each in find_lambdas(keras_config.objects(changed)):
        if each.name in names:
            each.replace(by_name=by_name)
    return changed


def rewrite(path: Path, config: Any, scratch: Path) -> Path:
    """Write a copy of the Keras file, or the folder of an unzipped one, with `config` as its
    architecture. scratch: an empty folder. Returns the path of the copy."""
    copy = scratch / path.name
    text = json.dumps(config)
    if path.is_dir():
        shutil.copytree(path, copy, symlinks=True)
        (copy / _CONFIG).unlink()
        (copy / _CONFIG).write_text(text, encoding="utf-8")
        return copy
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as old, zipfile.ZipFile(copy, "w") as new:
            new.writestr(_CONFIG, text)
            for entry in old.namelist():
                if entry != _CONFIG and not entry.endswith("/"):
                    with old.open(entry) as source, new.open(entry, "w", force_zip64=True) as into:
                        shutil.copyfileobj(source, into)
        return copy
    shutil.copyfile(path, copy)
    with h5py.File(copy, "r+") as file:
        file.attrs["model_config"] = text
    return copy


def _code_in(settings: dict[str, Any], key: str) -> tuple[str | None] | None:
    """Return a lambda's bytecode in a 1-tuple, holding None if Keras cannot read it; None for any
    other value."""
    value = settings.get(key)
    if value == LAMBDA:
        return (None,)
    if isinstance(value, dict):
        if value.get("class_name") == "__lambda__" and isinstance(value.get("config"), dict):
            return (_text(value["config"].get("code")),)
        # The form in which Keras saves an activation, and then refuses it.
        if value.keys() == {"value"} and _is_dump(value["value"]):
            return (None,)
    if settings.get(f"{key}_type") == "lambda":
        return (_text(value[0] if isinstance(value, list) and value else value),)
    return None


def _text(code: Any) -> str | None:
    return code if isinstance(code, str) else None


def _is_dump(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and isinstance(value[0], str)


def _free_identifier(name: str, taken: Collection[str]) -> str:
    """Return a Python identifier made from `name` that is not in `taken`."""
    plain = re.sub(r"\W", "_", name, flags=re.ASCII)
    if not plain.isidentifier() or keyword.iskeyword(plain):
        plain = f"_{plain}"
    return next(each for each in _numbered(plain) if each not in taken)


def _numbered(name: str) -> Iterator[str]:
    yield name
    number = 2
    while True:
        yield f"{name}_{number}"
        number += 1
