"""Keras 1 files: refusals name what is not translated. (test_convert.py compares the answers of
those that are.)"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from app.errors import LoadError
from app.serving.reading.convert import convert
from tests.models.fixtures import expected, fixture, run

Layer = dict[str, Any]


def _layers(config: Any) -> list[Layer]:
    inner = config["config"]
    layers: list[Layer] = inner if isinstance(inner, list) else inner["layers"]
    return layers


def _changed(name: str, tmp_path: Path, change: Callable[[list[Layer]], object]) -> Path:
    """A copy of the fixture with other layers in its configuration."""
    source = Path(shutil.copy(fixture(name), tmp_path))
    with h5py.File(source, "r+") as file:
        raw = file.attrs["model_config"]
        config = json.loads(raw)
        change(_layers(config))
        file.attrs["model_config"] = json.dumps(config).encode()
    return source


def _first(layers: list[Layer], kind: str) -> Layer:
    found: Layer = next(layer for layer in layers if layer["class_name"] == kind)
    return found


def _set(kind: str, **settings: Any) -> Callable[[list[Layer]], object]:
    return lambda layers: _first(layers, kind)["config"].update(settings)


def _rename(kind: str, new: str) -> Callable[[list[Layer]], object]:
    return lambda layers: _first(layers, kind).update(class_name=new)


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("keras1_cnn", _set("BatchNormalization", mode=1), "'BatchNormalization', mode 1"),
        ("keras1_cnn", _set("BatchNormalization", mode=2), "'BatchNormalization', mode 2"),
        ("keras1_merge", _set("Merge", mode="cos"), "'Merge', mode 'cos'"),
        ("keras1_merge", _set("Merge", mode_type="function"), "'Merge', mode 'function'"),
        *[
            ("keras1_mlp", _rename("Dense", kind), f"layer 'dense_1' of the class '{kind}'")
            for kind in ("Highway", "MaxoutDense", "SReLU", "Deconvolution2D", "MyOwn")
        ],
        ("keras1_mlp", _set("Dense", name="renamed"), r"do not belong.*dense_1, renamed"),
        ("keras1_mlp", lambda layers: layers.pop(), r"do not belong.*dense_3"),
        ("keras1_mlp", lambda layers: layers[0]["config"].pop("name"), "incomplete: KeyError"),
        ("keras1_mlp", _set("Dense", output_dim=5), "do not fit the translated model"),
        ("keras1_mlp", _set("Dense", activation="halo"), "halo"),
    ],
)
def test_what_is_not_translated_is_refused_by_name(
    name: str, change: Callable[[list[Layer]], object], reason: str, tmp_path: Path
) -> None:
    with pytest.raises(LoadError, match=reason):
        convert(_changed(name, tmp_path, change), tmp_path, trusted=False)


def test_a_lambda_of_keras_1_is_refused_even_when_trusted(tmp_path: Path) -> None:
    source = _changed("keras1_mlp", tmp_path, _rename("Dense", "Lambda"))
    for trusted in (False, True):
        with pytest.raises(LoadError, match="a Lambda layer, which is not translated"):
            convert(source, tmp_path, trusted=trusted)


def test_a_file_of_before_1_0(tmp_path: Path) -> None:
    source = Path(shutil.copy(fixture("keras1_mlp"), tmp_path))
    with h5py.File(source, "r+") as file:
        del file["model_weights"].attrs["layer_names"]
        file["model_weights"].attrs["nb_layers"] = 3
    with pytest.raises(LoadError, match=r"a Keras before 1\.0"):
        convert(source, tmp_path, trusted=False)


def test_theano_mirrors_its_kernels(tmp_path: Path) -> None:
    """The same file, with weight names as TensorFlow writes them, computes something else."""
    inputs, outputs = expected("keras1_theano_th")
    source = Path(shutil.copy(fixture("keras1_theano_th"), tmp_path))
    with h5py.File(source, "r+") as file:
        for layer in file["model_weights"].attrs["layer_names"]:
            group = file["model_weights"][layer]
            for name in group.attrs["weight_names"]:
                group.move(name, name + b":0")
            group.attrs["weight_names"] = [n + b":0" for n in group.attrs["weight_names"]]
    (got,) = run(convert(source, tmp_path, trusted=False), list(inputs.values()))
    assert np.abs(got - outputs["0"]).max() > 0.001


@pytest.mark.parametrize(
    ("padding", "shape"),
    [
        ([1, 2], (16, 14)),
        ([1, 0, 2, 0], (14, 13)),
        ({"top_pad": 1, "left_pad": 3}, (15, 13)),
    ],
)
def test_every_way_to_write_padding(padding: Any, shape: tuple[int, int], tmp_path: Path) -> None:
    """(columns, rows) of a picture of 12 x 12 after padding."""

    def change(layers: list[Layer]) -> None:
        pad = {"name": "pad", "padding": padding, "batch_input_shape": [None, 12, 12, 3]}
        layers[:] = [{"class_name": "ZeroPadding2D", "config": pad}]

    source = _changed("keras1_cnn", tmp_path, change)
    with h5py.File(source, "r+") as file:
        for layer in file["model_weights"].attrs["layer_names"]:
            file["model_weights"][layer].attrs["weight_names"] = np.array([], "S1")
    (out,) = convert(source, tmp_path, trusted=False).signature.outputs
    assert out.shape == (None, shape[1], shape[0], 3)
