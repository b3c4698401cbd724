"""Folders as people have them: which file is the model, and that it is read correctly."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tf_keras
import yaml

from app.errors import LoadError
from app.serving.cards import architecture_files
from app.serving.cards.card import Card
from app.serving.reading.convert import convert
from app.serving.reading.keras import architecture
from app.serving.reading.model_contents import choose
from app.serving.reading.model_files import find_model
from tests.models.fixtures import MODELS, assert_as_expected, convert_and_run, fixture

DESIGN = '{"class_name": "Sequential", "config": {}}'
YAML_DESIGN = "backend: tensorflow\nclass_name: Sequential\nconfig: {}\n"


Maker = Callable[[Path], object]


def _hdf5(path: Path, *groups: str, **attributes: Any) -> None:
    with h5py.File(path, "w") as file:
        file.attrs.update(attributes)
        for group in groups:
            file.create_group(group)


def _whole(path: Path) -> None:
    _hdf5(path, model_config=DESIGN, keras_version="2.2.4")


def _old_weights(path: Path) -> None:
    _hdf5(path, layer_names=[b"dense"])


def _weights(path: Path) -> None:
    _hdf5(path, "layers/dense/vars")


def _optimizer(path: Path) -> None:
    _hdf5(path, "optimizer/vars")


def _text(text: str) -> Maker:
    return lambda path: path.write_text(text)


def _saved_model(path: Path) -> None:
    path.mkdir()
    (path / "saved_model.pb").touch()


def _unzipped(path: Path) -> None:
    """In the folder itself; `path` is its config.json."""
    path.write_text(DESIGN)
    _weights(path.with_name("model.weights.h5"))


WHOLE: dict[str, Maker] = {
    "flowers.keras": Path.touch,
    "flowers.h5": _whole,
    "flowers.HDF5": _whole,
    "exported": _saved_model,
    "config.json": _unzipped,
}
# What training leaves behind, and what else lies in folders.
LEFTOVERS: dict[str, Maker] = {
    "best.weights.h5": _weights,
    "weights.h5": _old_weights,
    "optimizer.h5": _optimizer,
    "checkpoint": _text("model_checkpoint_path: ckpt-1"),
    "ckpt-1.index": Path.touch,
    "model.json": _text(DESIGN),
    "history.yaml": _text("loss: [1, 2]"),
    "broken.h5": _text("\x89HDF"),
    "README.md": _text("class_name: x"),
}


def _folder(folder: Path, makers: dict[str, Maker], *names: str) -> Path:
    folder.mkdir()
    for name in names:
        makers[name](folder / name)
    return folder


def _chosen(folder: Path, card: Card | None = None) -> tuple[Path, Path | None]:
    return choose(find_model(folder, card))


@pytest.mark.parametrize("whole", WHOLE)
def test_one_whole_model_is_the_model_whatever_lies_beside_it(whole: str, tmp_path: Path) -> None:
    names = [*LEFTOVERS]
    some = chain.from_iterable(combinations(names, n) for n in (0, 1, 2, len(names)))
    for number, left in enumerate(some):
        folder = _folder(tmp_path / str(number), WHOLE | LEFTOVERS, whole, *left)
        found = folder if whole == "config.json" else folder / whole
        assert _chosen(folder) == (found, None), left


@pytest.mark.parametrize("pair", [*combinations(WHOLE, 2)], ids="+".join)
def test_two_whole_models_need_a_name(pair: tuple[str, str], tmp_path: Path) -> None:
    """Never one of them silently."""
    folder = _folder(tmp_path / "m", WHOLE, *pair)
    names = [name.replace(".", r"\.") for name in pair]
    with pytest.raises(Exception, match=r"several models.*'file:' in model\.yaml") as caught:
        _chosen(folder)
    assert all(name.replace("\\", "") in str(caught.value) for name in names)
    for name in pair:
        path, design = _chosen(folder, Card(task="tensor", file=name))
        assert (path, design) == (folder if name == "config.json" else folder / name, None)


@pytest.mark.parametrize("make", [_weights, _old_weights], ids=["keras3", "keras2"])
@pytest.mark.parametrize(
    ("design", "weights"),
    [
        ("model.json", "model.h5"),
        ("model.json", "model.weights.h5"),
        ("model.json", "model_weights.hdf5"),
        ("model.json", "weights.h5"),
        ("architecture.yaml", "weights.best.h5"),
        ("model.yaml", "model.h5"),
        ("model.yml", "weights.01-0.93.hdf5"),
        ("config.json", "final.weights.h5"),
    ],
)
def test_architecture_and_weights_apart(
    design: str, weights: str, make: Maker, tmp_path: Path
) -> None:
    makers = {design: _text(YAML_DESIGN if ".y" in design else DESIGN), weights: make}
    folder = _folder(tmp_path / "m", makers | LEFTOVERS, *makers, "optimizer.h5", "checkpoint")
    assert _chosen(folder) == (folder / weights, folder / design)


def test_several_weights_of_one_architecture(tmp_path: Path) -> None:
    makers = {"model.json": _text(DESIGN), "a.h5": _old_weights, "b.weights.h5": _weights}
    folder = _folder(tmp_path / "m", makers, *makers)
    with pytest.raises(LoadError, match=r"several files with weights \(a\.h5, b\.weights\.h5\)"):
        _chosen(folder)
    _weights(folder / "model.weights.h5")
    assert _chosen(folder) == (folder / "model.weights.h5", folder / "model.json")


def test_several_architectures_of_one_file_of_weights(tmp_path: Path) -> None:
    makers = {"a.json": _text(DESIGN), "b.json": _text(DESIGN), "w.h5": _old_weights}
    folder = _folder(tmp_path / "m", makers, *makers)
    with pytest.raises(LoadError, match=r"several architectures \(a\.json, b\.json\).*w\.json"):
        _chosen(folder)
    (folder / "a.json").rename(folder / "w.json")
    assert _chosen(folder) == (folder / "w.h5", folder / "w.json")


def test_weights_alone_are_no_model(tmp_path: Path) -> None:
    makers: dict[str, Maker] = {"a.h5": _old_weights, "b.weights.h5": _weights}
    folder = _folder(tmp_path / "m", makers, *makers)
    with pytest.raises(LoadError, match=r"a\.h5, b\.weights\.h5 hold weights alone"):
        _chosen(folder)


@pytest.mark.parametrize("name", ["keras1_json", "keras2_yaml", "keras3_json", "tf215_json"])
def test_a_pair_needs_no_folder_of_its_own(name: str, tmp_path: Path) -> None:
    """As files right in `models/`, called by one name."""
    weights = next(p for p in sorted(fixture(name).glob("model.*h5")))
    design = next(p for p in fixture(name).iterdir() if p.suffix in architecture_files.SUFFIXES)
    source = Path(shutil.copy(weights, tmp_path / f"flowers{''.join(weights.suffixes)}"))
    shutil.copy(design, tmp_path / f"flowers{design.suffix}")
    (tmp_path / "out").mkdir()
    assert_as_expected(name, convert(source, tmp_path / "out", trusted=False))


def test_weights_of_another_model_do_not_fit(tmp_path: Path) -> None:
    shutil.copy(fixture("keras2_yaml") / "model.yaml", tmp_path)
    shutil.copy(fixture("keras2_json") / "my_weights.hdf5", tmp_path / "model.h5")
    (tmp_path / "out").mkdir()
    with pytest.raises(LoadError, match="tf_keras cannot read the file"):
        convert(tmp_path, tmp_path / "out", trusted=False)


@pytest.mark.parametrize("name", ["keras3_text", "keras3_lookup"])
def test_what_a_layer_has_learned_may_be_missing(name: str, tmp_path: Path) -> None:
    """Without its vocabulary a model would answer as if it had never heard any word."""
    with zipfile.ZipFile(fixture(name)) as archive:
        config = json.loads(archive.read("config.json"))
        (tmp_path / "model.weights.h5").write_bytes(archive.read("model.weights.h5"))
    layer = {"class_name": "TextVectorization", "config": {"name": "words", "vocabulary": None}}
    config["config"]["layers"].append(layer)
    (tmp_path / "model.json").write_text(json.dumps(config))
    (tmp_path / "out").mkdir()
    with pytest.raises(LoadError, match=r"has learned is neither in model\.json nor in model\.w"):
        convert(tmp_path, tmp_path / "out", trusted=False)


def test_an_unpacked_archive_of_keras_2(tmp_path: Path) -> None:
    """Some systems unpack what they download."""
    for name in ("tf215_zip", "tf213_zip_text"):
        with zipfile.ZipFile(fixture(name)) as archive:
            archive.extractall(tmp_path / name)
        (tmp_path / name / "README.md").touch()
        (tmp_path / f"{name}.out").mkdir()
        found = convert(tmp_path / name, tmp_path / f"{name}.out", trusted=False)
        assert_as_expected(name, found)


# --- nothing untrusted is run ---------------------------------------------------------------------


def _copy(name: str, tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return Path(shutil.copytree(fixture(name), tmp_path / "m"))


def _external(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file.create_dataset("vars/0", (8,), "u1", external=[("/etc/hostname", 0, 8)])


def _linked(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["elsewhere"] = h5py.ExternalLink("/etc/other.h5", "/w")


def _huge(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file.create_dataset("huge", (10**12,), "f4")


@pytest.mark.parametrize("harm", [_external, _linked, _huge])
@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("keras3_unzipped", "model.weights.h5"),
        ("keras3_json", "model.weights.h5"),
        ("tf213_json", "model.weights.h5"),
        ("keras2_yaml", "model.h5"),
        ("keras1_json", "model.h5"),
    ],
)
def test_weights_that_are_elsewhere(
    name: str, weights: str, harm: Callable[[Path], None], tmp_path: Path
) -> None:
    folder = _copy(name, tmp_path)
    harm(folder / weights)
    with pytest.raises(LoadError, match=r"in another file|to another file|claims 4,000,000,"):
        convert(folder, tmp_path / "out", trusted=False)


def _lambda(config: Any) -> None:
    layers = config["config"]["layers"]
    layers[-1] |= {"class_name": "Lambda", "module": "keras.layers"}
    layers[-1]["config"] |= {"function": {"class_name": "__lambda__", "config": {"code": ""}}}


def _popen(config: Any) -> None:
    node: dict[str, Any] = {
        "class_name": "Popen",
        "module": "subprocess",
        "registered_name": None,
        "config": {},
    }
    config["config"]["layers"][-1]["config"]["activation"] = node


@pytest.mark.parametrize(("harm", "reason"), [(_lambda, "Lambda"), (_popen, "'Popen'")])
@pytest.mark.parametrize(
    ("name", "design"),
    [
        ("keras3_unzipped", "config.json"),
        ("keras3_json", "model.json"),
        ("tf213_json", "model.json"),
        ("keras2_yaml", "model.yaml"),
    ],
)
def test_an_architecture_cannot_name_code_to_run(
    name: str, design: str, harm: Callable[[Any], None], reason: str, tmp_path: Path
) -> None:
    folder = _copy(name, tmp_path)
    config, _ = architecture.read(folder / design)
    harm(config)
    text = yaml.dump(config) if design.endswith(".yaml") else json.dumps(config)
    (folder / design).write_text(text)
    with pytest.raises(LoadError, match=f"{reason}.*trusted: true"):
        convert(folder, tmp_path / "out", trusted=False)


BOMB = "\n".join(
    ["class_name: Sequential", "a0: &a0 [x]"]
    + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("class_name: !!python/object/apply:os.system ['true']\n", "no plain description"),
        ("class_name: A\nconfig: !!python/name:os.system\n", "no plain description"),
        ("class_name: A\nconfig: !!python/object/new:os.system [x]\n", "no plain description"),
        (BOMB, "over 2,000,000 values"),
        ("class_name: A\nconfig: &a [*a]\n", "over 2,000,000 values"),
        ("class_name: A\nconfig: 2020-01-01\n", "truncated or corrupt"),
        ("class_name: A\nconfig: [\n", "truncated or corrupt"),
        ("class_name: A\nconfig: " + "[" * 5000 + "\n", "truncated or corrupt"),
        ("class_name: [A]\n", "describes no Keras model"),
    ],
)
def test_yaml_is_only_values(text: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "model.yaml"
    path.write_text(text)
    with pytest.raises(LoadError, match=reason):
        architecture.read(path)


@pytest.mark.parametrize("text", ["{", "[1]", '{"class_name": 3}', '{"class_name": "A"' + "[" * 9])
def test_json_that_is_no_architecture(text: str, tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    path.write_text(text)
    with pytest.raises(LoadError, match=r"model\.json (is truncated or corrupt|describes no)"):
        architecture.read(path)


def test_json_in_json(tmp_path: Path) -> None:
    """`json.dump(model.to_json(), file)`: a text that is JSON, as JSON."""
    path = tmp_path / "model.json"
    path.write_text(json.dumps(DESIGN))
    assert architecture_files.looks_like_one(path)
    assert architecture.read(path)[0] == json.loads(DESIGN)


def test_assets_from_elsewhere(tmp_path: Path) -> None:
    """A vocabulary is what answers may quote."""
    folder = _copy("keras3_unzipped_text", tmp_path)
    found = next(folder.glob("assets/**/vocabulary.txt"))
    (tmp_path / "secret").write_text("a\nb\n")
    found.unlink()
    found.symlink_to(tmp_path / "secret")
    with pytest.raises(LoadError, match=r"the asset 'assets/.*' is a link to what is not part"):
        convert(folder, tmp_path / "out", trusted=False)


def test_weights_that_are_pickled(tmp_path: Path) -> None:
    folder = _copy("keras3_unzipped", tmp_path)
    (folder / "model.weights.h5").unlink()
    pickled: dict[str, Any] = {"layers/dense": np.array([{}], dtype=object)}
    np.savez(folder / "model.weights.npz", **pickled)
    with pytest.raises(LoadError, match="keras cannot read the file"):
        convert(folder, tmp_path / "out", trusted=False)


def test_custom_classes_of_a_folder(tmp_path: Path) -> None:
    """`custom.py` lies in the folder, beside the parts of the model."""
    source = (MODELS / "keras3_custom.custom.py").read_text()
    folder = tmp_path / "m"
    with zipfile.ZipFile(fixture("keras3_custom")) as archive:
        archive.extractall(folder)
    (folder / "custom.py").write_text(source)
    for out in ("refused", "out"):
        (tmp_path / out).mkdir()
    with pytest.raises(LoadError, match="custom class 'HaloLayer'"):
        convert(folder, tmp_path / "refused", trusted=False)
    assert_as_expected("keras3_custom", convert(folder, tmp_path / "out", trusted=True))


def test_weights_with_names_from_windows_apart(tmp_path: Path) -> None:
    """As `save_weights()` of Keras 2 writes them there."""
    model = tf_keras.Sequential([tf_keras.layers.Input((3,)), tf_keras.layers.Dense(2)])
    model.save_weights(tmp_path / "m.weights.h5")
    with h5py.File(tmp_path / "m.weights.h5", "r+") as file:
        file.move("layers/dense", "layers\\dense")
        del file["layers"]
    (tmp_path / "m.json").write_text(model.to_json())
    rows = np.ones((2, 3), "float32")
    _, got = convert_and_run(tmp_path / "m.weights.h5", tmp_path / "out", rows)
    np.testing.assert_allclose(got[0], model(rows).numpy(), rtol=1e-5)
