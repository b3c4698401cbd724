"""Names that are not part of Keras but whose computation is known need no code of the author;
others do."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tf_keras

from app.errors import LoadError
from app.serving.reading.convert import convert
from app.serving.reading.keras.keras_config import inspect_config
from app.serving.reading.keras.stand_ins import renamed_functions, stand_ins
from tests.models.fixtures import assert_equal, convert_and_run, fixture

pytestmark = pytest.mark.filterwarnings("ignore:You are saving a model that has not yet been built")
Node = dict[str, Any]
FUNCTIONAL = {"name": "m", "layers": [], "input_layers": [], "output_layers": []}


def _node(name: str, config: Any, **more: Any) -> Node:
    return {"class_name": name, "module": None, "registered_name": name, "config": config, **more}


@pytest.mark.parametrize("library", [keras, tf_keras], ids=["keras3", "keras2"])
@pytest.mark.parametrize(
    "node",
    [
        _node("Mine", FUNCTIONAL),
        _node("Mine", FUNCTIONAL, registered_name="my_package>Mine"),
        _node("Mine", FUNCTIONAL, module="my.models"),
        {"class_name": "Mine", "config": FUNCTIONAL},
        _node("Mine", {"name": "m", "layers": [], "build_input_shape": [None, 4]}),
        _node("function", "log_softmax_v2", module="builtins"),
        _node("CastToFloat32", {"name": "c"}, registered_name="Custom>CastToFloat32"),
    ],
    ids=str,
)
def test_what_is_known(node: Node, library: Any) -> None:
    found = stand_ins(inspect_config({"config": [node, node]}, library), library)
    # What Keras looks up, which keeps it from importing what the file names.
    key = node["config"] if node["class_name"] == "function" else node.get("registered_name")
    assert (key or node["class_name"]) in found


@pytest.mark.parametrize("library", [keras, tf_keras], ids=["keras3", "keras2"])
@pytest.mark.parametrize(
    "nodes",
    [
        # It has settings of its own, and may do anything with them.
        [_node("Mine", FUNCTIONAL | {"temperature": 2.0})],
        [_node("Mine", {"name": "m", "layers": []})],
        [_node("Mine", {"units": 3})],
        [_node("Mine", None)],
        # Keras would look it up by another name, and import the module.
        [_node("Popen", FUNCTIONAL, module="subprocess", registered_name="other")],
        [_node("Popen", FUNCTIONAL, module="subprocess", registered_name=None)],
        # Of two that share a name, one is not known.
        [_node("Mine", FUNCTIONAL), _node("Mine", {"units": 3})],
        [_node("Mine", FUNCTIONAL), _node("function", "Mine", module="os")],
        [_node("softmax_v2", {"units": 3}, module="os")],
        [_node("function", "system", module="os")],
        [_node("function", "softmax", module="my.activations")],
        [_node("CastToFloat32", {"name": "c", "factor": 2}, module="x")],
        # A name of Keras's own stays Keras's.
        [_node("Dense", FUNCTIONAL, module="mine")],
    ],
    ids=str,
)
def test_what_is_not(nodes: list[Node], library: Any) -> None:
    assert stand_ins(inspect_config({"config": nodes}, library), library) == {}


@pytest.mark.parametrize("library", [keras, tf_keras], ids=["keras3", "keras2"])
def test_renamed_functions(library: Any, tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(2, 4)).astype("float32")
    for name, function in renamed_functions(library).items():
        layers = [library.layers.Input((4,)), library.layers.Activation(function)]
        model = library.Sequential(layers)
        path = tmp_path / f"{name}.keras"
        model.save(path)
        _rename(path, name)
        _, got = convert_and_run(path, tmp_path / name, rows)
        assert_equal(got, [np.asarray(model(rows))])


def _rename(path: Path, new: str) -> None:
    """As if TensorFlow's own function had been saved."""
    with zipfile.ZipFile(path) as archive:
        entries = {n: archive.read(n) for n in archive.namelist()}
    config = json.loads(entries["config.json"])
    node = _node("function", new, module="builtins", registered_name="function")
    config["config"]["layers"][-1]["config"]["activation"] = node
    entries["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)


def test_log_softmax_is_said_to_be_one(tmp_path: Path) -> None:
    model = convert(fixture("keras3_log_softmax"), tmp_path, trusted=False)
    assert model.signature.meanings
    assert model.signature.meanings[0].numbers == "log-probabilities"


@pytest.mark.parametrize(
    "name", ["keras3_train_step", "tf213_train_step_keras", "tf213_train_step_h5"]
)
def test_the_authors_class_counts_where_it_is_trusted(name: str, tmp_path: Path) -> None:
    source = fixture(name)
    copy = tmp_path / source.name
    copy.write_bytes(source.read_bytes())
    library = "keras" if name.startswith("keras3") else "tf_keras"
    (tmp_path / "custom.py").write_text(
        f"import {library}\n\n\nclass Distiller({library}.Model):\n"
        "    def call(self, x, training=None, mask=None):\n"
        "        return super().call(x) + 1000\n"
    )
    rows = np.zeros((1, 4), "float32")
    _, plain = convert_and_run(copy, tmp_path / "plain", rows)
    _, trusted = convert_and_run(copy, tmp_path / "trusted", rows, trusted=True)
    assert np.all(np.abs(plain[0]) < 100)
    assert np.all(trusted[0] > 900)


def test_a_savedmodel_elsewhere_is_never_read(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=r"TFSMLayer.*'exported'.*copy that folder") as caught:
        convert(fixture("keras3_tfsm"), tmp_path, trusted=False)
    assert "code" not in caught.value.message


def test_a_model_that_was_never_called_and_knows_its_input(tmp_path: Path) -> None:
    normalise = keras.layers.Normalization()
    normalise.adapt(np.array([[1.0, 2.0], [3.0, 6.0], [5.0, 1.0]]))
    keras.Sequential([normalise]).save(tmp_path / "m.keras")
    rows = np.array([[1.0, 2.0]], "float32")
    model, got = convert_and_run(tmp_path / "m.keras", tmp_path / "out", rows)
    assert model.signature.inputs[0].shape == (None, 2)
    assert_equal(got, [np.asarray(normalise(rows))])


@pytest.mark.parametrize(
    "layers",
    [
        [keras.layers.StringLookup(vocabulary=["a"])],
        [keras.layers.TextVectorization(vocabulary=["a"]), keras.layers.Embedding(3, 2)],
    ],
    ids=["shape", "weights"],
)
def test_a_model_that_was_never_called_and_lacks_something(
    layers: list[Any], tmp_path: Path
) -> None:
    """Weights that are not in the file would be random ones."""
    keras.Sequential(layers).save(tmp_path / "m.keras")
    with pytest.raises(LoadError, match="saved before its first call"):
        convert(tmp_path / "m.keras", tmp_path, trusted=False)
