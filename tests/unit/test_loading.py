"""Models of every age are read right, or refused with a reason that helps."""

from __future__ import annotations

import json
import os
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
from tensorflow.core.protobuf import saved_model_pb2

from app.errors import LoadError
from app.serving import saved_model
from app.serving.loading import convert
from tests.unit.fixtures import (
    MODELS,
    assert_as_expected,
    assert_equal,
    convert_and_run,
    expected,
    fixture,
    run,
)

# What one of these libraries says of itself when the other's models are read.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*HDF5 file via:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*saving your model as an HDF5:UserWarning"),
]

# The whole card, and where it goes.
TRUSTED = r"a folder of its own with a model\.yaml of .* 'task: tensor' .* 'trusted: true'"
# Refused, and what the reason must say. Everything else in the folder must be read.
REFUSED = {
    "keras2_weights_only": "weights without an architecture",
    "weights_only": "weights without an architecture",
    "keras3_custom": rf"custom class 'HaloLayer'.*custom\.py.*{TRUSTED}",
    "keras3_lambda": f"Lambda layer.*{TRUSTED}",
}
# With lookup tables, which cannot become constants.
UNFROZEN = {"keras3_text", "keras3_lookup", "tf1_table_savedmodel", "tf213_zip_text"}
READABLE = sorted(
    {p.name.split(".")[0] for p in MODELS.iterdir() if p.suffix != ".py"} - REFUSED.keys()
)
# The names that each model gives its inputs and outputs, where the file says.
NAMES = {
    "keras1_merge": (["left", "right"], ["kind", "amount"]),
    "keras1_sequential_merge": (["dense_1_input", "dense_2_input"], ["dense_3"]),
    "keras2_mlp": (["dense_1_input"], ["dense_3"]),
    "tf2_two_inputs": (["size", "place"], ["price", "kind"]),
    "tf2_two_inputs_v3": (["size", "place"], ["price", "kind"]),
    "tf212_hdf5_inside": (["picture"], ["kind"]),
    "keras3_lookup": (["amount", "colour"], ["score"]),
    "keras3_text": (["text"], ["mood"]),
    "keras3_jax": (["input_layer"], ["dense"]),
    "tf1_table_savedmodel": (["words"], ["ids"]),
    "tf2_savedmodel_keras2": (["features"], ["probabilities"]),
}


@pytest.mark.parametrize("name", READABLE)
def test_answers_what_its_own_library_answered(name: str, tmp_path: Path) -> None:
    model = convert(fixture(name), tmp_path, trusted=False)
    assert_as_expected(name, model)
    assert model.frozen == (name not in UNFROZEN)
    if name in NAMES:
        signature = model.signature
        found = [t.name for t in signature.inputs], [t.name for t in signature.outputs]
        assert found == NAMES[name]


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_is_refused_with_a_reason(name: str, tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=REFUSED[name]):
        convert(fixture(name), tmp_path, trusted=False)


def test_the_signature_says_what_the_card_needs(tmp_path: Path) -> None:
    def about(name: str) -> tuple[str | None, int | None, bool]:
        (tmp_path / name).mkdir()
        s = convert(fixture(name), tmp_path / name, trusted=False).signature
        return s.activation, s.parameters, s.rescales

    assert about("keras2_mlp") == ("linear", 471, False)
    assert about("keras3_lookup") == ("linear", 12, True)
    assert about("keras2_lstm")[0] == "softmax"  # an Activation layer at the end
    assert about("tf1_savedmodel") == (None, None, False)


def test_the_suffix_does_not_matter(tmp_path: Path) -> None:
    """Keras goes by the ending of the name; people rename files."""
    for number, (name, wrong) in enumerate(
        (("keras2_mlp", "keras"), ("keras3_jax", "h5"), ("keras3_mlp", "keras"))
    ):
        source = shutil.copy(fixture(name), tmp_path / f"{name}.{wrong}")
        (tmp_path / str(number)).mkdir()
        model = convert(Path(source), tmp_path / str(number), trusted=False)
        assert_as_expected(name, model)


@pytest.mark.parametrize(
    ("name", "stamp"),
    [("keras2_mlp", "2.2.4-tf"), ("keras2_mlp", None), ("keras1_mlp", None), ("keras1_mlp", "?")],
)
def test_the_stamp_is_read_leniently(name: str, stamp: str | None, tmp_path: Path) -> None:
    source = Path(shutil.copy(fixture(name), tmp_path / "m.h5"))
    with h5py.File(source, "r+") as file:
        del file.attrs["keras_version"]
        if stamp:
            file.attrs["keras_version"] = stamp
    (tmp_path / "out").mkdir()
    assert_as_expected(name, convert(source, tmp_path / "out", trusted=False))


# --- Python code inside ---------------------------------------------------------------------------


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
        ({"class_name": "__lambda__", "config": {"code": ""}}, "Lambda"),
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
    """Keras fetches what a configuration names, out of any module."""
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


# --- the author's own classes ---------------------------------------------------------------------


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
    with pytest.raises(LoadError, match=r"'Twice'.*custom\.py beside the model does not define"):
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


# --- shapes, types and structures -----------------------------------------------------------------


def _keras3(inputs: Any, outputs: Any) -> Any:
    return keras.Model(inputs, outputs)


@pytest.mark.parametrize("library", [keras, tf_keras], ids=["keras3", "keras2"])
def test_more_than_ten_outputs_keep_their_order(library: Any, tmp_path: Path) -> None:
    x = library.Input((1,), name="x")
    layers = [
        library.layers.Dense(1, kernel_initializer=_constant(library, i), name=f"y{i}")
        for i in range(12)
    ]
    library.Model(x, [layer(x) for layer in layers]).save(tmp_path / "m.keras")
    model, got = convert_and_run(tmp_path / "m.keras", tmp_path / "out", np.ones((1, 1)))
    assert [t.name for t in model.signature.outputs] == [f"y{i}" for i in range(12)]
    assert [float(a[0, 0]) for a in got] == list(range(12))


def _constant(library: Any, value: float) -> Any:
    return library.initializers.Constant(value)


@pytest.mark.parametrize("library", [keras, tf_keras], ids=["keras3", "keras2"])
def test_dictionaries_give_the_names(library: Any, tmp_path: Path) -> None:
    b, a = library.Input((1,), name="b"), library.Input((1,), name="a")
    total, difference = library.layers.Add()([b, a]), library.layers.Subtract()([b, a])
    model = library.Model({"b": b, "a": a}, {"total": total, "difference": difference})
    model.save(tmp_path / "m.keras")
    out, got = convert_and_run(
        tmp_path / "m.keras", tmp_path / "out", np.full((1, 1), 2.0), np.full((1, 1), 5.0)
    )
    assert [t.name for t in out.signature.inputs] == ["a", "b"]
    assert [t.name for t in out.signature.outputs] == ["difference", "total"]
    assert [float(x[0, 0]) for x in got] == [3.0, 7.0]


def test_one_layer_with_several_outputs(tmp_path: Path) -> None:
    x = keras.Input((3, 2), name="x")
    keras.Model(x, keras.layers.LSTM(2, return_state=True, name="l")(x)).save(tmp_path / "m.keras")
    model, got = convert_and_run(tmp_path / "m.keras", tmp_path / "out", np.ones((1, 3, 2)))
    assert [t.name for t in model.signature.outputs] == ["l", "l_1", "l_2"]
    assert_equal(got[:1], got[1:2])


@pytest.mark.parametrize("library", [keras, tf_keras], ids=["keras3", "keras2"])
def test_an_input_that_no_output_needs_can_be_fed(library: Any, tmp_path: Path) -> None:
    x, idle = library.Input((2,), name="x"), library.Input((5,), name="idle")
    model = library.Model([x, idle], library.layers.Dense(1)(x))
    model.save(tmp_path / "m.keras")
    rows = np.ones((2, 2), "float32")
    out, got = convert_and_run(tmp_path / "m.keras", tmp_path / "out", rows, np.ones((2, 5)))
    assert out.frozen
    assert_equal(got, [np.asarray(model([rows, np.ones((2, 5))]))])


def test_a_fixed_batch_stays_fixed(tmp_path: Path) -> None:
    keras.Sequential([keras.layers.Input(batch_shape=(4, 3)), keras.layers.Dense(2)]).save(
        tmp_path / "m.keras"
    )
    model, got = convert_and_run(tmp_path / "m.keras", tmp_path / "out", np.ones((4, 3)))
    assert model.signature.inputs[0].shape == (4, 3)
    assert not model.signature.batchable
    assert got[0].shape == (4, 2)


def test_open_sizes_stay_open(tmp_path: Path) -> None:
    layers = keras.layers
    keras.Sequential(
        [layers.Input((None, None, 3)), layers.Conv2D(2, 5), layers.GlobalMaxPooling2D()]
    ).save(tmp_path / "m.keras")
    model, got = convert_and_run(tmp_path / "m.keras", tmp_path / "out", np.ones((1, 9, 7, 3)))
    assert model.signature.inputs[0].shape == (None, None, None, 3)
    assert got[0].shape == (1, 2)


@pytest.mark.parametrize("library", [keras, tf_keras], ids=["keras3", "keras2"])
def test_requests_share_no_recurrent_state(library: Any, tmp_path: Path) -> None:
    lstm = library.layers.LSTM(2, stateful=True, name="l")
    x = library.Input(batch_shape=(1, 3, 2))
    library.Model(x, lstm(x)).save(tmp_path / "m.h5")
    (tmp_path / "out").mkdir()
    model = convert(tmp_path / "m.h5", tmp_path / "out", trusted=False)
    assert model.frozen
    rows = np.ones((1, 3, 2), "float32")
    assert_equal(run(model, [rows]), run(model, [rows]))


def test_a_sparse_input_is_refused(tmp_path: Path) -> None:
    x = tf_keras.Input((4,), sparse=True, name="x")
    tf_keras.Model(x, tf_keras.layers.Dense(1)(x)).save(tmp_path / "m.h5")
    with pytest.raises(LoadError, match="'x' is a sparse or ragged"):
        convert(tmp_path / "m.h5", tmp_path, trusted=False)


def test_pictures_with_channels_first_run_on_the_cpu(tmp_path: Path) -> None:
    layers = tf_keras.layers
    first = {"data_format": "channels_first"}
    model = tf_keras.Sequential(
        [
            layers.Input((3, 8, 8)),
            layers.Conv2D(4, 3, **first),
            layers.MaxPooling2D(2, **first),
            layers.AveragePooling2D(3, **first),
        ]
    )
    model.save(tmp_path / "m.h5")
    _, got = convert_and_run(tmp_path / "m.h5", tmp_path / "out", np.ones((1, 3, 8, 8)))
    assert got[0].shape == (1, 4, 1, 1)


@pytest.mark.parametrize("name", ["keras1_mlp", "keras2_mlp", "keras3_jax", "tf1_savedmodel"])
def test_a_model_too_large_to_freeze_stays_a_savedmodel(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saved_model, "MAX_FROZEN_BYTES", 100)
    model = convert(fixture(name), tmp_path, trusted=False)
    assert not model.frozen
    assert_as_expected(name, model)


def test_the_reason_is_what_keras_says_at_its_end(tmp_path: Path) -> None:
    """Its messages begin with pages of configuration."""
    for name, library in (("keras3_mlp", "keras"), ("tf2_hard_sigmoid", "tf_keras")):
        source = Path(shutil.copy(fixture(name), tmp_path / f"{name}.h5"))
        with h5py.File(source, "r+") as file:
            config = json.loads(file.attrs["model_config"])
            del config["config"]["layers"][-1]["config"]["units"]
            file.attrs["model_config"] = json.dumps(config)
        with pytest.raises(LoadError) as caught:
            convert(source, tmp_path, trusted=False)
        message = caught.value.message
        assert message.startswith(f"{library} cannot read the file (written by Keras ")
        assert "'units'" in message
        assert len(message) < 200


# --- not a model ----------------------------------------------------------------------------------


def _zip(path: Path, **entries: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in entries.items():
            archive.writestr(name.replace("__", "."), text)
    return path


def _hdf5(path: Path, make: Callable[[Any], object]) -> Path:
    with h5py.File(path, "w") as file:
        make(file)
    return path


def _elsewhere(file: Any) -> None:
    file.attrs["model_config"] = '{"class_name": "Sequential", "config": []}'
    file.create_dataset("w", (8,), "u1", external=[("/etc/hostname", 0, 8)])


def _linked(file: Any) -> None:
    file.attrs["model_config"] = '{"class_name": "Sequential", "config": []}'
    file["w"] = h5py.ExternalLink("other.h5", "/w")


NOT_MODELS: dict[str, tuple[Callable[[Path], object], str]] = {
    "text": (lambda p: p.write_text("hello\n" * 50), "neither HDF5 nor a Keras zip"),
    "empty": (lambda p: p.touch(), "the file is empty"),
    "noise": (lambda p: p.write_bytes(os.urandom(5000)), "neither HDF5 nor a Keras zip"),
    "lfs": (
        lambda p: p.write_text(
            "version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 9\n"
        ),
        "git lfs pull",
    ),
    "zip": (lambda p: _zip(p, a__txt="x"), r"holds no config\.json"),
    "zip with json": (lambda p: _zip(p, config__json="[1]"), "describes none"),
    "zip without json": (lambda p: _zip(p, config__json="{"), "truncated or corrupt"),
    "zip head": (lambda p: p.write_bytes(b"PK\x03\x04" + bytes(99)), "truncated or corrupt"),
    "hdf5": (lambda p: _hdf5(p, lambda f: f.create_group("a")), "holds no model_config"),
    "hdf5 head": (lambda p: p.write_bytes(b"\x89HDF\r\n\x1a\n"), "truncated or corrupt"),
    "hdf5 elsewhere": (lambda p: _hdf5(p, _elsewhere), "keeps 'w' in another file"),
    "hdf5 linked": (lambda p: _hdf5(p, _linked), "links 'w' to another file"),
    "hdf5 huge": (
        lambda p: _hdf5(p, lambda f: f.create_dataset("w", (10**12,), "f4")),
        "claims 4,000,000,000,000 bytes",
    ),
    "folder": (lambda p: p.mkdir(), r"not a SavedModel: saved_model\.pb: No such file"),
}


@pytest.mark.parametrize("kind", sorted(NOT_MODELS))
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_what_is_no_model_is_called_so(kind: str, suffix: str, tmp_path: Path) -> None:
    make, reason = NOT_MODELS[kind]
    make(tmp_path / f"m{suffix}")
    with pytest.raises(LoadError, match=reason):
        convert(tmp_path / f"m{suffix}", tmp_path, trusted=False)


def test_a_subclassed_model_is_told_to_export(tmp_path: Path) -> None:
    source = "import keras\nclass M(keras.Model):\n    def call(self, x):\n        return x\n"
    names: dict[str, Any] = {}
    exec(source, names)
    model = names["M"]()
    model(np.ones((1, 2)))
    model.save(tmp_path / "m.keras")
    (tmp_path / "custom.py").write_text(source)
    with pytest.raises(LoadError, match=r"no fixed inputs.*model\.export\(\)"):
        convert(tmp_path / "m.keras", tmp_path, trusted=True)


# --- SavedModels ----------------------------------------------------------------------------------


def _save(path: Path, **functions: Any) -> Path:
    tf.saved_model.save(tf.Module(), str(path), signatures=functions or None)
    return path


def _function(body: Callable[..., Any], *specs: Any) -> Any:
    return tf.function(body, input_signature=list(specs)).get_concrete_function()


X = tf.TensorSpec((None, 2), tf.float32, name="x")


def _edit(path: Path, change: Callable[[Any], None]) -> Path:
    proto = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    change(proto)
    (path / "saved_model.pb").write_bytes(proto.SerializeToString())
    return path


def test_the_default_signature_is_served(tmp_path: Path) -> None:
    path = _save(
        tmp_path / "sm",
        a=_function(lambda x: {"y": x + 1}, X),
        serving_default=_function(lambda x: {"y": x + 2}, X),
    )
    model, got = convert_and_run(path, tmp_path / "out", np.zeros((1, 2)))
    assert_equal(got, [np.full((1, 2), 2.0)])
    assert model.frozen


def test_without_a_default_the_first_by_name_is_served(tmp_path: Path) -> None:
    path = _save(
        tmp_path / "sm",
        b=_function(lambda x: {"y": x + 1}, X),
        a=_function(lambda x: {"y": x + 3}, X),
    )
    assert_equal(
        convert_and_run(path, tmp_path / "out", np.zeros((1, 2)))[1], [np.full((1, 2), 3.0)]
    )


def test_types_that_json_or_numpy_lack(tmp_path: Path) -> None:
    def outputs(x: Any) -> dict[str, Any]:
        return {
            "bf": tf.cast(x, tf.bfloat16),
            "bool": x > 0,
            "half": tf.cast(x, tf.float16),
            "int": tf.cast(x, tf.int8),
            "text": tf.strings.as_string(x),
        }

    path = _save(tmp_path / "sm", serving_default=_function(outputs, X))
    _, got = convert_and_run(path, tmp_path / "out", np.array([[0.0, 1.5]]))
    bf, flag, half, whole, text = got
    assert [str(a.dtype) for a in got[:4]] == ["float32", "bool", "float32", "int8"]
    assert bf.tolist() == half.tolist() == [[0.0, 1.5]]
    assert flag.tolist() == [[False, True]]
    assert whole.tolist() == [[0, 1]]
    assert text.tolist() == [[b"0.000000", b"1.500000"]]


def test_an_unused_input_of_a_savedmodel_can_be_fed(tmp_path: Path) -> None:
    """TensorFlow 1 exported whatever graph there was."""
    v1 = tf.compat.v1
    with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        x, idle = (v1.placeholder(tf.float32, (None, n), name=f"i{n}") for n in (2, 7))
        w = v1.Variable(2.0)
        session.run(w.initializer)
        builder = v1.saved_model.Builder(str(tmp_path / "sm"))
        signature = v1.saved_model.predict_signature_def({"x": x, "idle": idle}, {"y": x * w})
        signatures = {"serving_default": signature}
        builder.add_meta_graph_and_variables(session, ["serve"], signatures)
        builder.save()
    model, got = convert_and_run(
        tmp_path / "sm", tmp_path / "out", np.ones((1, 7)), np.ones((1, 2))
    )
    assert model.frozen
    assert [t.name for t in model.signature.inputs] == ["idle", "x"]
    assert_equal(got, [np.full((1, 2), 2.0)])


def _retag(*tags: str) -> Callable[[Any], None]:
    def change(proto: Any) -> None:
        del proto.meta_graphs[0].meta_info_def.tags[:]
        proto.meta_graphs[0].meta_info_def.tags.extend(tags)

    return change


def _rename_operations(proto: Any) -> None:
    for function in proto.meta_graphs[0].graph_def.library.function:
        for node in function.node_def:
            if node.op == "AddV2":
                node.op = "MyFancyAdd"


def _sparse(proto: Any) -> None:
    proto.meta_graphs[0].signature_def["serving_default"].inputs[
        "x"
    ].coo_sparse.values_tensor_name = "x:0"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_retag("train"), "no graph with the tag 'serve'.*train"),
        (_retag(), "no graph with the tag 'serve'.*none"),
        (_rename_operations, "operation 'MyFancyAdd', which this TensorFlow does not have"),
        (_sparse, "'x' of the signature 'serving_default' is a sparse"),
        (lambda proto: proto.meta_graphs[0].signature_def.clear(), "no signature"),
        (lambda proto: proto.Clear(), "holds no graph"),
    ],
)
def test_a_savedmodel_that_cannot_be_served(
    change: Callable[[Any], None], reason: str, tmp_path: Path
) -> None:
    path = _save(tmp_path / "sm", serving_default=_function(lambda x: {"y": x + 1}, X))
    with pytest.raises(LoadError, match=reason):
        convert(_edit(path, change), tmp_path, trusted=False)


def test_further_tags_do_not_matter(tmp_path: Path) -> None:
    path = _save(tmp_path / "sm", serving_default=_function(lambda x: {"y": x + 1}, X))
    _edit(path, _retag("serve", "gpu"))
    assert_equal(convert_and_run(path, tmp_path / "out", np.ones((1, 2)))[1], [np.full((1, 2), 2)])


def test_a_savedmodel_without_signatures(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="no signature with inputs and outputs"):
        convert(_save(tmp_path / "sm"), tmp_path, trusted=False)


def test_a_signature_without_inputs(tmp_path: Path) -> None:
    path = _save(tmp_path / "sm", serving_default=_function(lambda: {"y": tf.ones((1,))}))
    with pytest.raises(LoadError, match="no signature with inputs and outputs"):
        convert(path, tmp_path, trusted=False)


def test_python_and_files_in_a_graph(tmp_path: Path) -> None:
    def python(x: Any) -> dict[str, Any]:
        return {"y": tf.py_function(lambda v: v + 1, [x], tf.float32)}

    def file(x: Any) -> dict[str, Any]:
        return {"y": tf.io.read_file("/etc/hostname"), "x": x}

    called = _save(tmp_path / "python", serving_default=_function(python, X))
    for trusted in (False, True):
        with pytest.raises(LoadError, match=r"tf\.py_function"):
            convert(called, tmp_path, trusted=trusted)
    reading = _save(tmp_path / "file", serving_default=_function(file, X))
    with pytest.raises(LoadError, match=f"uses files of this server.*{TRUSTED}"):
        convert(reading, tmp_path, trusted=False)
    _, got = convert_and_run(reading, tmp_path / "out", np.ones((1, 2)), trusted=True)
    assert got[1] == Path("/etc/hostname").read_bytes()


def test_files_in_the_graph_of_a_keras_model(tmp_path: Path) -> None:
    """TensorFlow 2.0 to 2.3 wrote operations as layers, any operation."""
    layer_of = tf_keras.src.engine.base_layer.TensorFlowOpLayer
    node = {"name": "read", "op": "MatchingFiles", "input": ["x"]}
    x = tf_keras.Input((), dtype="string", name="x")
    tf_keras.Model(x, layer_of(node, name="read")(x)).save(tmp_path / "m.h5")
    with pytest.raises(LoadError, match="uses files of this server"):
        convert(tmp_path / "m.h5", tmp_path, trusted=False)


def test_the_expected_outputs_are_what_tells(tmp_path: Path) -> None:
    """Keras 3 reads this file without complaint, and is wrong: the reader must go by the stamp."""
    inputs, outputs = expected("tf2_hard_sigmoid")
    wrong = keras.models.load_model(fixture("tf2_hard_sigmoid"), compile=False)
    assert np.abs(np.asarray(wrong(inputs["0"])) - outputs["0"]).max() > 0.01
