"""Python code that a Keras file names or holds: refused unless the model is trusted."""

from __future__ import annotations

import json
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from app.errors import LoadError
from app.serving.reading.convert import convert
from tests.models.fixtures import (
    HDF5_NOTICES,
    MODELS,
    assert_as_expected,
    assert_equal,
    convert_and_run,
    fixture,
)

pytestmark = HDF5_NOTICES


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="the bytecode is that of Python 3.11")
def test_a_trusted_lambda_runs(tmp_path: Path) -> None:
    assert_as_expected("keras3_lambda", convert(fixture("keras3_lambda"), tmp_path, trusted=True))


def _lambda_models() -> dict[str, tuple[Callable[[], Any], str]]:
    def in_wrapper(k: Any) -> Any:
        twice = k.layers.TimeDistributed(k.layers.Lambda(lambda x: x * 2))
        return k.Sequential([k.layers.Input((3, 2)), twice])

    def in_submodel(k: Any) -> Any:
        inner = k.Sequential([k.layers.Input((2,)), k.layers.Lambda(lambda x: x * 2)])
        return k.Sequential([k.layers.Input((2,)), inner, k.layers.Dense(1)])

    def in_cell() -> Any:
        cell = tf_keras.layers.LSTMCell(2)
        wrapper = tf_keras.src.layers.rnn.cell_wrappers.ResidualWrapper
        cell = wrapper(cell, residual_fn=lambda i, o: i + o)
        return tf_keras.Sequential([tf_keras.layers.Input((3, 2)), tf_keras.layers.RNN(cell)])

    return {
        "keras3 in a wrapper": (lambda: in_wrapper(keras), "m.keras"),
        "keras3 in a submodel": (lambda: in_submodel(keras), "m.keras"),
        "keras3 in HDF5": (lambda: in_submodel(keras), "m.h5"),
        "keras2 in a wrapper": (lambda: in_wrapper(tf_keras), "m.h5"),
        "keras2 in a submodel": (lambda: in_submodel(tf_keras), "m.keras"),
        "keras2 in a cell": (in_cell, "m.h5"),
    }


@pytest.mark.parametrize("case", sorted(_lambda_models()))
def test_a_lambda_is_found_wherever_it_is(case: str, tmp_path: Path) -> None:
    make, file = _lambda_models()[case]
    make().save(tmp_path / file)
    with pytest.raises(LoadError, match=r"[Ll]ambda.*trusted: true"):
        convert(tmp_path / file, tmp_path, trusted=False)


def test_functions_of_tensorflow_as_layers_need_no_trust(tmp_path: Path) -> None:
    """`x[:, 1:]` and `tf.math.sin(x)` become layers that look like code and are not."""
    x = tf_keras.Input((4,), name="x")
    h = tf.concat([tf.math.sin(x)[:, 1:], tf.nn.relu(x) * 2.0 + 1.0], axis=-1)
    model = tf_keras.Model(x, tf_keras.layers.Dense(2)(h))
    rows = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    for file in ("m.h5", "m.keras"):
        model.save(tmp_path / file)
        _, got = convert_and_run(tmp_path / file, tmp_path / f"{file}.out", rows)
        assert_equal(got, [model(rows).numpy()])


def _reach(node: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    node.clear()
    node.update(new)
    return node


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"class_name": "function", "module": "os", "config": "system"}, "'system'"),
        ({"class_name": "function", "module": "builtins", "config": "eval"}, "'eval'"),
        ({"class_name": "Popen", "module": "subprocess", "config": {}}, "'Popen'"),
        ({"class_name": "os.system", "module": "keras.src.backend", "config": {}}, "'os.system'"),
        ({"class_name": "__lambda__", "config": {"code": ""}}, "[Ll]ambda"),
        ({"class_name": "TFOpLambda", "config": {"function": "io.gfile.remove"}}, "gfile.remove"),
        ({"class_name": "TFOpLambda", "config": {"function": "load_library"}}, "load_library"),
        ({"class_name": "TFOpLambda", "config": {"function": "compat.v1.read_file"}}, "read_file"),
        ({"class_name": "ClassMethod", "config": {"cls_symbol": "keras.Model"}}, "keras.Model"),
    ],
)
@pytest.mark.parametrize("name", ["keras3_mlp", "tf2_hard_sigmoid"])
def test_a_file_cannot_name_code_to_run(
    change: dict[str, Any], reason: str, name: str, tmp_path: Path
) -> None:
    """Keras loads anything that a configuration names, from any module."""
    source = Path(shutil.copy(fixture(name), tmp_path / "m.h5"))
    with h5py.File(source, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        layer = config["config"]["layers"][-1]["config"]
        layer["activation"] = {"registered_name": None, **change}
        file.attrs["model_config"] = json.dumps(config)
    with pytest.raises(LoadError, match=f"{reason}.*trusted: true"):
        convert(source, tmp_path, trusted=False)


def test_what_only_training_needs_may_be_unknown(tmp_path: Path) -> None:
    source = tmp_path / "m.keras"
    with zipfile.ZipFile(fixture("keras3_jax")) as old, zipfile.ZipFile(source, "w") as new:
        for entry in old.namelist():
            data = old.read(entry)
            if entry == "config.json":
                config = json.loads(data)
                loss = {"class_name": "function", "module": "my.losses", "config": "focal"}
                config["compile_config"]["loss"] = loss
                data = json.dumps(config).encode()
            new.writestr(entry, data)
    (tmp_path / "out").mkdir()
    assert_as_expected("keras3_jax", convert(source, tmp_path / "out", trusted=False))


def test_a_vocabulary_on_this_machine_is_not_read(tmp_path: Path) -> None:
    words = tmp_path / "words.txt"
    words.write_text("a\nb\n")
    layer = tf_keras.layers.StringLookup(vocabulary=str(words))
    model = tf_keras.Sequential([tf_keras.layers.Input((1,), dtype="string"), layer])
    model.save(tmp_path / "m.h5")
    with pytest.raises(LoadError, match=r"vocabulary from '.*words\.txt'"):
        convert(tmp_path / "m.h5", tmp_path, trusted=False)


def _with_custom(tmp_path: Path, source: str) -> Path:
    (tmp_path / "custom.py").write_text(source)
    return Path(shutil.copy(fixture("keras3_custom"), tmp_path))


def test_custom_py_brings_the_class(tmp_path: Path) -> None:
    source = _with_custom(tmp_path, (MODELS / "keras3_custom.custom.py").read_text())
    (tmp_path / "out").mkdir()
    assert_as_expected("keras3_custom", convert(source, tmp_path / "out", trusted=True))
    with pytest.raises(LoadError, match="custom class 'HaloLayer'"):
        convert(source, tmp_path, trusted=False)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import tf_keras\nclass HaloLayer(tf_keras.layers.Layer): pass", "import keras there"),
        ("1 / 0", r"custom\.py fails: ZeroDivisionError"),
        ("def (", r"custom\.py fails: SyntaxError"),
    ],
)
def test_a_custom_py_that_does_not_help(source: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=reason):
        convert(_with_custom(tmp_path, source), tmp_path, trusted=True)


CUSTOM2 = """
import tf_keras
class Twice(tf_keras.layers.Layer):
    def call(self, x):
        return x * 2.0
def wave(x):
    return x * x
"""


def test_custom_classes_and_functions_of_keras_2(tmp_path: Path) -> None:
    names: dict[str, Any] = {"__name__": "my_layers"}
    exec(CUSTOM2, names)
    layers = tf_keras.layers
    model = tf_keras.Sequential(
        [layers.Input((3,)), names["Twice"](), layers.Dense(2, activation=names["wave"])]
    )
    model.save(tmp_path / "m.keras")
    with pytest.raises(LoadError, match="custom classes 'Twice' and 'wave'"):
        convert(tmp_path / "m.keras", tmp_path, trusted=False)
    with pytest.raises(LoadError, match=r"'Twice'.*there is no custom\.py beside the model"):
        convert(tmp_path / "m.keras", tmp_path, trusted=True)
    (tmp_path / "custom.py").write_text(CUSTOM2)
    rows = np.random.default_rng(0).normal(size=(3, 3)).astype("float32")
    _, got = convert_and_run(tmp_path / "m.keras", tmp_path / "out", rows, trusted=True)
    assert_equal(got, [model(rows).numpy()])


def test_an_old_hdf5_does_not_say_where_a_class_is_from(tmp_path: Path) -> None:
    source = Path(shutil.copy(fixture("keras2_mlp"), tmp_path))
    with h5py.File(source, "r+") as file:
        config = file.attrs["model_config"]
        text = config.decode() if isinstance(config, bytes) else config
        file.attrs["model_config"] = text.replace('"Dropout"', '"Halo"')
    with pytest.raises(LoadError, match="custom class 'Halo'"):
        convert(source, tmp_path, trusted=False)
