"""`add`: Keras Applications as model folders."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import yaml

from app.cli.applications import architectures
from app.serving.cards.read import read_card
from app.serving.engine.sessions.session import ModelSession
from app.serving.tasks import Limits, RowTask
from tests.conversions import shared_reader
from tests.support import ROOT

# The network is the one thing that is not real here: the weights are random ones in the place where
# Keras keeps what it has downloaded, and the class names are numbers.
SCRIPT = """
import sys
from pathlib import Path
from app.cli import applications
from keras.src.applications import imagenet_utils
imagenet_utils.CLASS_INDEX = {
    str(i): [f"n{i:08}", f"thing_{i}"] for i in range(1000)
}
print(applications.add("Mobile-Net", Path(sys.argv[1])))
"""


def test_add_writes_a_folder_that_serves(tmp_path: Path) -> None:
    keras.utils.set_random_seed(1)
    model = keras.applications.MobileNet(weights=None)
    cache = tmp_path / "keras" / "models"
    cache.mkdir(parents=True)
    _as_download(model, cache / "mobilenet_1_0_224_tf.h5")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "models")],
        cwd=ROOT,
        env={**os.environ, "KERAS_HOME": str(tmp_path / "keras")},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "models" / "mobilenet"
    assert sorted(p.name for p in folder.iterdir()) == ["labels.txt", "model.keras", "model.yaml"]
    assert [p.name for p in folder.parent.iterdir()] == ["mobilenet"]
    written = yaml.safe_load((folder / "model.yaml").read_text())
    assert written["input"] == {
        "size": [224, 224],
        "color": "rgb",
        "scale": "-1..1",
        "resize": "crop",
    }
    card = read_card(folder)
    assert card is not None
    assert card.labels is not None
    assert card.labels[999] == "thing 999"
    pixels = np.random.default_rng(0).integers(0, 256, (1, 224, 224, 3), np.uint8)
    with shared_reader().convert(folder / "model.keras", trusted=False) as converted:
        task = RowTask(card, converted.signature, Limits())
        session = ModelSession(converted, card.runtime, task.pictures)
    expected = model(keras.applications.mobilenet.preprocess_input(pixels.astype(np.float32)))
    np.testing.assert_allclose(session.run([pixels])[0], expected, rtol=1e-3, atol=1e-6)
    session.close()


def _as_download(model: keras.Model, path: Path) -> None:
    import h5py
    from keras.src.legacy.saving import legacy_h5_format

    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)


def test_every_architecture_of_keras_is_known() -> None:
    known = {name for name, _, _ in architectures().values()}
    builders = {
        name
        for name in dir(keras.applications)
        if name[0].isupper() and callable(getattr(keras.applications, name))
    }
    assert known == builders


@pytest.mark.parametrize("name", ["resnet50", "densenet121", "xception", "efficientnetb0"])
def test_the_scale_is_what_preprocess_input_does(name: str) -> None:
    _, build, scale = architectures()[name]
    module = sys.modules[build.__module__]
    pixels = np.arange(0, 256, dtype=np.float32).repeat(3).reshape(1, 16, 16, 3)
    expected = np.asarray(module.preprocess_input(pixels.copy()))
    by_scale = {
        "none": lambda x: x,
        "-1..1": lambda x: x / 127.5 - 1,
        "caffe": lambda x: x[..., ::-1] - np.array([103.939, 116.779, 123.68]),
        "torch": lambda x: (
            (x / 255 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
        ),
    }
    np.testing.assert_allclose(by_scale[scale](pixels), expected, rtol=1e-4, atol=1e-4)


def test_every_family_scales_as_its_preprocess_input() -> None:
    """All families at once, by three pixels: which of the four scales gives the same numbers."""
    pixels = np.array([[[[0, 128, 255], [10, 20, 30]]]], np.float32)
    seen = {}
    for name, build, scale in architectures().values():
        module = sys.modules[build.__module__]
        result = np.asarray(module.preprocess_input(pixels.copy()))
        if np.allclose(result, pixels):
            real = "none"
        elif np.allclose(result, pixels / 127.5 - 1, atol=1e-4):
            real = "-1..1"
        elif result.min() < -50:
            real = "caffe"
        else:
            real = "torch"
        seen[name] = (scale, real)
    assert {n: s for n, (s, real) in seen.items() if s != real} == {}


def test_the_index_is_json_as_keras_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.errors import CardError
    from app.serving.cards.read import imagenet_labels

    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    with pytest.raises(CardError, match=r"labels\.txt"):
        imagenet_labels()
    (tmp_path / "models").mkdir()
    index = {str(i): [f"n{i}", f"thing_{i}"] for i in range(1000)}
    (tmp_path / "models" / "imagenet_class_index.json").write_text(json.dumps(index))
    assert imagenet_labels()[::999] == ["thing 0", "thing 999"]
