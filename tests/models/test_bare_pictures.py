"""Models of pictures without a card: the file, and the folder around it, say what they take."""

from __future__ import annotations

import io
import json
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from app.errors import ModelUnavailable
from app.serving.call import Call
from app.serving.models.model import Model
from app.serving.tasks.base import Payload
from tests.kinds import exported
from tests.registries import loaded
from tests.support import picture

Array = NDArray[Any]
WIDE = picture(3, (64, 32), "PNG")


def _classifier(library: Any, shape: Any, classes: int = 3) -> Any:
    """Random weights, large enough that different pictures get different labels."""
    library.utils.set_random_seed(1)
    layers = library.layers
    x = library.Input(shape)
    start = library.initializers.RandomNormal(stddev=1)
    if len(shape) == 3 and shape[0] is None:
        y = layers.GlobalAveragePooling2D()(layers.Conv2D(8, 3, kernel_initializer=start)(x))
    else:
        y = layers.Flatten()(x)
    y = layers.Dense(classes, activation="softmax", kernel_initializer=start)(y)
    return library.Model(x, y)


def _save(model: Any, file: Path) -> Any:
    file.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings(action="ignore"):  # about HDF5
        model.save(file)
    return model


MADE: dict[str, Any] = {}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Model]]:
    folder = tmp_path_factory.mktemp("models")
    MADE["machine"] = _save(exported(3), folder / "machine/keras_model.h5")
    (folder / "machine/labels.txt").write_text("0 Cat\n1 Red panda\n2 Dog\n")
    # Only its name is that of an export.
    plain = _save(_classifier(keras, (24, 24, 3)), folder / "plain/keras_model.h5")
    MADE["plain"] = plain
    (folder / "plain/labels.txt").write_text("0 Cat\n1 Red panda\n2 Dog\n")
    beginner = keras.Sequential(
        [
            keras.layers.Input((28, 28)),
            keras.layers.Flatten(),
            keras.layers.Dense(32, activation="relu"),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(10),
        ]
    )
    beginner.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    MADE["beginner"] = _save(beginner, folder / "beginner.keras")
    MADE["any"] = _save(_classifier(keras, (None, None, 3)), folder / "any.keras")
    MADE["rgba"] = _save(_classifier(keras, (16, 16, 4)), folder / "rgba.keras")
    MADE["grey"] = _save(_classifier(keras, (16, 16, 1)), folder / "grey.keras")
    MADE["indices"] = _save(_classifier(keras, (16, 16, 3)), folder / "indices/model.keras")
    (folder / "indices/class_indices.json").write_text(json.dumps({"c": 2, "a": 0, "b": 1}))
    _save(_classifier(keras, (16, 16, 3)), folder / "numbered/2/model.keras")
    (folder / "numbered/class_names.txt").write_text("a\nb\nc\n")
    _save(_classifier(keras, (16, 16, 3)), folder / "wrong/model.keras")
    (folder / "wrong/classes.json").write_text('["a", "b"]')
    # Beside files that are models of their own: whose is it?
    (folder / "labels.txt").write_text("a\nb\nc\n")
    with loaded(folder) as registry:
        found: dict[str, Any] = {}
        for entry in registry.entries():
            try:
                found[entry.name] = entry.ready_model()
            except ModelUnavailable as error:
                found[entry.name] = error
        yield found


def ask(model: Model, file: bytes) -> dict[str, Any]:
    call = Call(time.monotonic() + 30)
    (answer,) = model.predict(Payload("files", files=[io.BytesIO(file)]), call)
    assert isinstance(answer, dict)
    return answer


def resized(mode: str, side: int) -> Array:
    image = Image.open(io.BytesIO(WIDE)).convert(mode)
    return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR))


def best(name: str, pixels: Array) -> int:
    """The label that Keras gives these pixels."""
    return int(np.argmax(MADE[name](pixels[None].astype(np.float32))))


def test_an_export_of_teachable_machine(models: dict[str, Model]) -> None:
    card = models["machine"].card
    assert card.labels == ["Cat", "Red panda", "Dog"]
    assert (card.input.scale, card.input.resize) == ("-1..1", "crop")
    image = Image.open(io.BytesIO(WIDE)).convert("RGB")
    square = image.crop((16, 0, 48, 32)).resize((224, 224), Image.Resampling.BILINEAR)
    label = card.labels[best("machine", np.asarray(square) / 127.5 - 1)]
    assert ask(models["machine"], WIDE)["label"] == label


def test_a_name_alone_makes_no_export_of_teachable_machine(models: dict[str, Model]) -> None:
    model = models["plain"]
    assert model.card.labels == ["Cat", "Red panda", "Dog"]
    assert model.card.input.resize == "stretch"
    assert "input.scale" in [guess.key for guess in model.guessed]


def test_rows_of_rows_are_grey_pictures(models: dict[str, Model]) -> None:
    model = models["beginner"]
    assert model.card.task == "image-classification"
    assert model.task.input_schema()["color"] == "grey"
    assert ask(model, WIDE)["label"] == str(best("beginner", resized("L", 28) / 255))


def test_pictures_of_any_size_get_a_usual_one(models: dict[str, Model]) -> None:
    assert models["any"].card.input.size == (224, 224)
    image = (
        Image.open(io.BytesIO(WIDE)).convert("RGB").resize((224, 224), Image.Resampling.BILINEAR)
    )
    assert ask(models["any"], WIDE)["label"] == str(best("any", np.asarray(image) / 255))


def test_four_channels_are_rgba(models: dict[str, Model]) -> None:
    assert models["rgba"].task.input_schema()["color"] == "rgba"
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 4), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    assert ask(models["rgba"], file.getvalue())["label"] == str(best("rgba", pixels / 255))


def test_labels_beside_a_model(models: dict[str, Model]) -> None:
    assert models["indices"].card.labels == ["a", "b", "c"]
    assert models["numbered"].card.labels == ["a", "b", "c"]
    # No file right in the folder of models belongs to one of them.
    assert models["grey"].card.labels is None


def test_labels_that_do_not_match_are_an_error_that_says_so(models: dict[str, Any]) -> None:
    assert isinstance(models["wrong"], ModelUnavailable)
    assert "has 2 labels: expected 3" in models["wrong"].message
