"""Models of every version of Keras and TensorFlow give the answers of their own library, or are
refused with a reason that helps."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import tf_keras

from app.errors import LoadError
from app.serving.reading import freezing
from app.serving.reading.convert import convert
from tests.models.fixtures import (
    HDF5_NOTICES,
    MODELS,
    TRUSTED,
    assert_as_expected,
    assert_equal,
    convert_and_run,
    expected,
    fixture,
    run,
)

pytestmark = HDF5_NOTICES

# Refused, and what the reason must say. Everything else in the folder must be read.
REFUSED = {
    "keras2_weights_only": "weights without an architecture",
    "weights_only": "weights without an architecture",
    "keras3_custom": rf"custom class 'HaloLayer'.*custom\.py.*{TRUSTED}",
    "keras3_lambda": f"Lambda layer.*{TRUSTED}",
    "keras3_stft": r"STFTSpectrogram needs SciPy.*model\.export\(\)",
    "keras3_tfsm": "TFSMLayer.*'exported'.*copy that folder",
}
# With lookup tables, which cannot become constants.
UNFROZEN = {
    "keras3_text",
    "keras3_lookup",
    "keras3_only_text",
    "keras3_unzipped_text",
    "tf1_table_savedmodel",
    "tf213_windows",
    "tf213_zip_text",
    "tf215_windows",
}
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


def test_the_expected_outputs_are_what_tells(tmp_path: Path) -> None:
    """Keras 3 reads this file without complaint, and is wrong: the reader must go by the stamp."""
    inputs, outputs = expected("tf2_hard_sigmoid")
    wrong = keras.models.load_model(fixture("tf2_hard_sigmoid"), compile=False)
    assert np.abs(np.asarray(wrong(inputs["0"])) - outputs["0"]).max() > 0.01


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_is_refused_with_a_reason(name: str, tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=REFUSED[name]):
        convert(fixture(name), tmp_path, trusted=False)


def test_the_signature_says_what_the_card_needs(tmp_path: Path) -> None:
    def about(name: str) -> tuple[str | None, int | None, list[str]]:
        (tmp_path / name).mkdir()
        s = convert(fixture(name), tmp_path / name, trusted=False).signature
        return s.meanings[0].numbers if s.meanings else None, s.parameters, [*s.pictures]

    assert about("keras2_mlp") == ("values", 471, [])  # trained with mse
    assert about("keras3_lookup") == ("values", 12, [])
    assert about("keras2_lstm")[0] == "softmax"  # an Activation layer at the end
    assert about("keras3_softmax_gray")[2] == ["input_layer_1"]
    assert about("tf1_savedmodel") == ("softmax", None, [])  # as its graph ends


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


# Where the weights of a graph may lie; in the graph itself, those of these small models always do.
FOLDED, CONSTANT = 2**60, 2**60
WAYS = {
    "apart-mapped": (0, 0),
    "apart-constant": (0, CONSTANT),
    "folded-mapped": (FOLDED, 0),
    "folded-constant": (FOLDED, CONSTANT),
}
# Of each library and format, and with the layers whose weights are read in ways of their own; the
# others are tried in the ways in turn.
IN_EACH_WAY = ("keras1_cnn", "keras2_lstm", "keras3_text", "tf1_savedmodel")


def _ways() -> Iterator[Any]:
    turn = cycle(list(WAYS)[1:])
    for name in READABLE:
        other = next(turn)
        for way in WAYS:
            quick = way == "apart-mapped" or name in IN_EACH_WAY
            if quick or way == other:
                marks = () if quick else pytest.mark.slow
                yield pytest.param(name, *WAYS[way], id=f"{name}-{way}", marks=marks)


@pytest.mark.parametrize(("name", "folded", "mapped"), [*_ways()])
def test_weights_apart_from_the_graph_give_the_same_answers(
    name: str, folded: int, mapped: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(freezing, "LARGE_BYTES", 1)
    monkeypatch.setattr(freezing, "MAPPED_BYTES", mapped)
    monkeypatch.setattr(freezing, "FOLDED_BYTES", folded)
    model = convert(fixture(name), tmp_path, trusted=False)
    if model.frozen:
        assert model.weights
        if not mapped and not folded:
            assert any(weight.mapped for weight in model.weights)
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
    "folder": (lambda p: p.mkdir(), "no model in this folder"),
}


@pytest.mark.parametrize("kind", sorted(NOT_MODELS))
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_what_is_no_model_is_called_so(kind: str, suffix: str, tmp_path: Path) -> None:
    make, reason = NOT_MODELS[kind]
    make(tmp_path / f"m{suffix}")
    with pytest.raises(LoadError, match=reason):
        convert(tmp_path / f"m{suffix}", tmp_path, trusted=False)


def test_a_subclassed_model_has_to_be_exported(tmp_path: Path) -> None:
    source = "import keras\nclass M(keras.Model):\n    def call(self, x):\n        return x\n"
    names: dict[str, Any] = {}
    exec(source, names)
    model = names["M"]()
    model(np.ones((1, 2)))
    model.save(tmp_path / "m.keras")
    (tmp_path / "custom.py").write_text(source)
    with pytest.raises(LoadError, match=r"no fixed inputs.*model\.export\(\)"):
        convert(tmp_path / "m.keras", tmp_path, trusted=True)
