"""Every refusal of a Keras file gives advice, which these tests follow to the letter."""

from __future__ import annotations

import base64
import json
import marshal
import re
import sys
import zipfile
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import tf_keras

from app.errors import LoadError
from app.serving.cards.read import read_card
from app.serving.reading.convert import convert
from app.serving.reading.keras.keras_file import reason
from app.serving.reading.keras.requirements import CUSTOM_FILE
from tests.models.fixtures import HDF5_NOTICES, Array, assert_equal, convert_and_run
from tests.support import DATA

pytestmark = [
    *HDF5_NOTICES,
    # Of both libraries, when an activation is a lambda.
    pytest.mark.filterwarnings("ignore:.*lambda:UserWarning"),
]

LINE = re.compile(r"'(def (\w+)\([\w, ]*\): return) …'")
BYTECODE = {
    tuple(line["python"]): line["code"]
    for line in map(json.loads, (DATA / "bytecode.jsonl").read_text().splitlines())
}
ANOTHER = sorted(BYTECODE.keys() - {sys.version_info[:2], (3, 11), (3, 12)})
LIBRARIES = {"keras3": keras, "keras2": tf_keras}
FILES = ["m.keras", "m.h5"]
ROWS = np.random.default_rng(0).normal(size=(2, 3)).astype("float32")


def _refusal(source: Path, *, trusted: bool) -> str:
    with pytest.raises(LoadError) as caught:
        convert(source, source.parent, trusted=trusted)
    return caught.value.message


def _edit(path: Path, old: str, new: str) -> None:
    """Replace a text in the configuration of the file."""
    if path.suffix == ".h5":
        with h5py.File(path, "r+") as file:
            config = file.attrs["model_config"]
            text = config.decode() if isinstance(config, bytes) else config
            assert old in text
            file.attrs["model_config"] = text.replace(old, new)
        return
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    text = entries["config.json"].decode()
    assert old in text
    entries["config.json"] = text.replace(old, new).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)


def _follow(message: str, folder: Path, imports: str = "", **bodies: str) -> bool:
    """Do what the message says. imports: the code above the lines. bodies: by function, what the
    lambda returns. Returns whether the model is trusted now."""
    lines = LINE.findall(message)
    assert {name for _, name in lines} == bodies.keys()
    assert f"into {CUSTOM_FILE} beside the model" in message
    text = "".join(f"{start} {bodies[name]}\n" for start, name in lines)
    (folder / CUSTOM_FILE).write_text(f"{imports}\n{text}")
    if "give it a folder of its own" in message:
        card = re.findall(r"'(task: tensor)' .* '(trusted: true)'", message)
        (folder / "model.yaml").write_text("\n".join(card[0]))
    card_there = read_card(folder)
    return card_there is not None and card_there.trusted


def _code(function: Any) -> str:
    """As Keras writes it, in JSON."""
    text = base64.encodebytes(marshal.dumps(function.__code__)).decode()
    return json.dumps(text)[1:-1]


def _by_another_python(source: Path, function: Any, python: tuple[int, int], kind: str) -> None:
    _edit(source, _code(function), BYTECODE[python][kind])


def _scaled(library: Any, source: Path) -> Any:
    function = lambda x: x / 255.0  # noqa: E731
    layers = library.layers
    library.Sequential(
        [layers.Input((3,)), layers.Lambda(function, name="by-255"), layers.Flatten()]
    ).save(source)
    return function


@pytest.mark.parametrize("python", ANOTHER, ids=lambda p: ".".join(map(str, p)))
@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_lambda_of_another_python(
    library: str, file: str, python: tuple[int, int], tmp_path: Path
) -> None:
    """The first message names it, and the way out needs neither that Python nor its Keras."""
    source = tmp_path / file
    _by_another_python(source, _scaled(LIBRARIES[library], source), python, "one")
    message = _refusal(source, trusted=False)
    assert re.search(rf"the Lambda layer 'by-255', bytecode of Python .*{python[0]}\.", message)
    assert f"{sys.version_info[0]}.{sys.version_info[1]} cannot run" in message
    assert "def by_255(x)" in message
    trusted = _follow(message, tmp_path, by_255="x / 255.0")
    _, got = convert_and_run(source, tmp_path / "out", ROWS, trusted=trusted)
    assert_equal(got, [ROWS / 255])


def test_trust_alone_runs_no_bytecode_of_another_python(tmp_path: Path) -> None:
    """It would crash, or compute something else."""
    source = tmp_path / "m.keras"
    _by_another_python(source, _scaled(keras, source), (3, 6), "one")
    message = _refusal(source, trusted=True)
    assert "there is no custom.py beside the model" in message
    (tmp_path / CUSTOM_FILE).write_text("")
    message = _refusal(source, trusted=True)
    assert "custom.py beside the model does not define it" in message
    _follow(message, tmp_path, by_255="x / 255.0")
    _, got = convert_and_run(source, tmp_path / "out", ROWS, trusted=True)
    assert_equal(got, [ROWS / 255])


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("library", LIBRARIES)
def test_lambdas_with_arguments_shapes_masks_and_one_name(
    library: str, file: str, tmp_path: Path
) -> None:
    """Two models inside have a layer of one name, whose lambdas differ."""
    k, source = LIBRARIES[library], tmp_path / file
    layers = k.layers
    shape = lambda s: s  # noqa: E731
    mask = lambda i, m: m  # noqa: E731
    # Keras 3 warns of a mask where a model inside follows.
    masked = {"mask": mask} if library == "keras2" else {}
    times, plus = (lambda x, n: x * n), (lambda x: x + 1.0)
    inner = [
        k.Sequential([layers.Input((3,)), layers.Lambda(f, name="class", **more)], name=name)
        for name, f, more in (
            ("a", times, {"arguments": {"n": 3.0}, "output_shape": shape, **masked}),
            ("b", plus, {}),
        )
    ]
    x = k.Input((3,))
    k.Model(x, inner[1](inner[0](x))).save(source)
    _by_another_python(source, times, (3, 6), "lines")
    for function in (plus, *masked.values()):
        _by_another_python(source, function, (3, 6), "one")
    message = _refusal(source, trusted=False)
    assert "def _class(x, n)" in message
    bodies = {"_class": "x * n", "_class_2": "x + 1.0"}
    if masked:
        bodies["class_mask"] = "mask"
    trusted = _follow(message, tmp_path, **bodies)
    _, got = convert_and_run(source, tmp_path / "out", ROWS, trusted=trusted)
    assert_equal(got, [ROWS * 3 + 1])


def _with_activation(library: Any, source: Path) -> Array:
    layers = library.layers
    model = library.Sequential(
        [
            layers.Input((3,)),
            layers.Dense(2, activation=lambda x: x * x, name="squares"),
            layers.Dense(2, activation=lambda x: x - 1.0, name="less"),
        ]
    )
    model.save(source)
    answer: Array = np.asarray(model(ROWS))
    return answer


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("library", LIBRARIES)
def test_an_activation_that_is_a_lambda(
    library: str, file: str, named: bool, tmp_path: Path
) -> None:
    """Keras itself cannot read it back. named: as Keras wrote it until 2.12, without its code."""
    source = tmp_path / file
    wanted = _with_activation(LIBRARIES[library], source)
    if named:
        config = _config(source)
        for value in re.findall(r'"activation": (\{"value": \[.*?\]\})', config):
            _edit(source, value, '"<lambda>"')
    message = _refusal(source, trusted=False)
    assert "a lambda as the activation of its layer 'squares'" in message
    assert "whose code cannot be read from the file" in message
    bodies = {"squares_activation": "x * x", "less_activation": "x - 1.0"}
    trusted = _follow(message, tmp_path, **bodies)
    _, got = convert_and_run(source, tmp_path / "out", ROWS, trusted=trusted)
    assert_equal(got, [wanted])


def _config(path: Path) -> str:
    if path.suffix == ".keras":
        return zipfile.ZipFile(path).read("config.json").decode()
    with h5py.File(path) as file:
        config = file.attrs["model_config"]
        return config.decode() if isinstance(config, bytes) else str(config)


def test_a_lambda_of_a_cell(tmp_path: Path) -> None:
    layers, source = tf_keras.layers, tmp_path / "m.h5"
    residual = lambda i, o: i + o  # noqa: E731
    wrapper = tf_keras.src.layers.rnn.cell_wrappers.ResidualWrapper
    cell = wrapper(layers.LSTMCell(2), residual_fn=residual, name="around")
    model = tf_keras.Sequential([layers.Input((3, 2)), layers.RNN(cell)])
    model.save(source)
    _by_another_python(source, residual, (3, 6), "one")
    message = _refusal(source, trusted=False)
    trusted = _follow(message, tmp_path, around_residual_fn="inputs + outputs")
    rows = np.ones((1, 3, 2), "float32")
    _, got = convert_and_run(source, tmp_path / "out", rows, trusted=trusted)
    assert_equal(got, [np.asarray(model(rows))])


def test_a_lambda_that_lacks_an_import(tmp_path: Path) -> None:
    """Keras gives the names of its own module to what it reads."""
    source = tmp_path / "m.keras"
    names: dict[str, Any] = {}
    exec("import tensorflow as tf\nf = lambda x: tf.sin(x)", names)
    layers = tf_keras.layers
    tf_keras.Sequential([layers.Input((3,)), layers.Lambda(names["f"], name="wave")]).save(source)
    _edit(source, _code(names["f"]), _code(lambda x: np_of_mine.sin(x)))  # type: ignore[name-defined] # noqa: F821
    message = _refusal(source, trusted=True)
    assert "np_of_mine" in message
    _follow(message, tmp_path, "import tensorflow as np_of_mine", wave="np_of_mine.sin(x)")
    _, got = convert_and_run(source, tmp_path / "out", ROWS, trusted=True)
    assert_equal(got, [np.sin(ROWS)])


# --- several reasons at once ----------------------------------------------------------------------

CUSTOM = """
import LIBRARY

class Halo(LIBRARY.layers.Layer):
    def call(self, x):
        return x + 1.0
"""


def test_a_function_of_a_lambda_layer(tmp_path: Path) -> None:
    """Keras 2 saved its bytecode as well, Keras 3 saves its name."""
    source = tmp_path / "m.keras"
    names: dict[str, Any] = {"__name__": "theirs"}
    text = "def scaled(x):\n    return x / 255.0\n"
    exec(text, names)
    for k in LIBRARIES.values():
        layers = k.layers
        k.Sequential([layers.Input((3,)), layers.Lambda(names["scaled"], name="scale")]).save(
            source
        )
        if k is tf_keras:
            _by_another_python(source, names["scaled"], (3, 6), "one")
            _follow(_refusal(source, trusted=False), tmp_path, scale="x / 255.0")
        else:
            assert "'scaled'" in _refusal(source, trusted=True)
            (tmp_path / CUSTOM_FILE).write_text(text)
        _, got = convert_and_run(source, tmp_path / k.__name__, ROWS, trusted=True)
        assert_equal(got, [ROWS / 255])


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_lambda_and_a_class_are_reported_at_once(library: str, file: str, tmp_path: Path) -> None:
    k, source = LIBRARIES[library], tmp_path / file
    imports = CUSTOM.replace("LIBRARY", k.__name__)
    names: dict[str, Any] = {"__name__": "theirs"}
    exec(imports, names)
    function = lambda x: x * 2.0  # noqa: E731
    layers = k.layers
    k.Sequential([layers.Input((3,)), layers.Lambda(function, name="twice"), names["Halo"]()]).save(
        source
    )
    plain = _refusal(source, trusted=False)
    assert "Lambda layer" in plain
    assert "custom class 'Halo'" in plain
    _by_another_python(source, function, (3, 8), "one")
    for trusted in (False, True):
        message = _refusal(source, trusted=trusted)
        assert "the Lambda layer 'twice', bytecode of Python 3.8 or 3.9" in message
        assert "custom class 'Halo'" in message
        assert message.count("put its source into custom.py") == 1
    assert "there is no custom.py" in message
    _follow(message, tmp_path, imports, twice="x * 2.0")
    _, got = convert_and_run(source, tmp_path / "out", ROWS, trusted=True)
    assert_equal(got, [ROWS * 2 + 1])


def test_a_vocabulary_elsewhere_is_reported_as_well(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("a\nb\n")
    layers = tf_keras.layers
    look_up = layers.StringLookup(vocabulary=str(tmp_path / "words.txt"))
    x = tf_keras.Input((1,), dtype="string")
    tf_keras.Model(x, layers.Lambda(lambda x: x)(look_up(x))).save(tmp_path / "m.h5")
    message = _refusal(tmp_path / "m.h5", trusted=False)
    assert "a Lambda layer" in message
    assert "words.txt" in message


@pytest.mark.parametrize(
    ("stamp", "advice"),
    [
        ("2.1.6", None),
        ("2.3.1", None),
        ("2.2.4-tf", r"model\.save\('folder', save_format='tf'\)"),
        ("2.4.0", r"model\.save\('folder', save_format='tf'\)"),
        ("2.12.0", r"model\.save\('folder', save_format='tf'\)"),
        ("2.13.1", r"model\.export\('folder'\)"),
        ("3.8.0", r"model\.export\('folder'\)"),
    ],
)
def test_no_call_is_named_that_its_keras_does_not_have(
    stamp: str, advice: str | None, tmp_path: Path
) -> None:
    source = tmp_path / "m.h5"
    _scaled(keras if stamp[0] == "3" else tf_keras, source)
    with h5py.File(source, "r+") as file:
        file.attrs["keras_version"] = stamp
    message = _refusal(source, trusted=False)
    assert bool(advice) == ("SavedModel" in message)
    if advice:
        assert re.search(advice, message)


def test_a_lambda_of_keras_1_is_refused_at_once(tmp_path: Path) -> None:
    """Trust would not help."""
    source = tmp_path / "m.h5"
    layer = {"name": "l", "function": "c\0", "function_type": "lambda", "arguments": {}}
    config = {"class_name": "Sequential", "config": [{"class_name": "Lambda", "config": layer}]}
    with h5py.File(source, "w") as file:
        file.attrs["model_config"] = json.dumps(config)
        file.attrs["keras_version"] = "1.2.2"
    for trusted in (False, True):
        assert "a Lambda layer, which is not translated" in _refusal(source, trusted=trusted)


# --- advice of the libraries ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "left"),
    [
        (
            "This file contains pickled (object) data. If you trust the file you can load it "
            "unsafely using the `allow_pickle=` keyword argument or `pickle.load()`.",
            "This file contains pickled (object) data.",
        ),
        (
            "Object arrays cannot be loaded when allow_pickle=False",
            "ValueError",
        ),
        (
            "Could not locate class 'X'. Make sure custom classes are decorated with "
            "`@keras.saving.register_keras_serializable()`. It is of module y.",
            "Could not locate class 'X'. It is of module y.",
        ),
    ],
)
def test_advice_for_programs_is_left_out(said: str, left: str) -> None:
    got = reason(ValueError(said))
    assert got.strip(": ") == left


def test_pickled_weights_name_no_argument(tmp_path: Path) -> None:
    """Nobody here can give it."""
    source = tmp_path / "m.keras"
    _scaled(keras, source)
    keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(1)]).save(source)
    with zipfile.ZipFile(source) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(source, "w") as archive:
        for name, data in entries.items():
            if not name.endswith(".weights.h5"):
                archive.writestr(name, data)
        with archive.open("model.weights.npz", "w") as file:
            np.savez(file, layers=np.array([{}], object))
    message = _refusal(source, trusted=False)
    assert "keras cannot read the file" in message
    assert "pickle" not in message
