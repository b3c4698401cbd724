"""Files without a card, over HTTP: the page, the API and the description call a number what it is,
and a guess a guess."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.kinds import exported, grey
from tests.support import ServerProcess, serving

Array = NDArray[Any]
MADE: dict[str, Any] = {}
SHADE = 200
# Of pixels of 0..255.
SCALED: dict[str, Any] = {
    "none": lambda pixels: pixels,
    "0..1": lambda pixels: pixels / 255,
    "-1..1": lambda pixels: pixels / 127.5 - 1,
}


def _save(file: Path, library: Any, shape: Any, head: Any, loss: Any = None) -> None:
    """Save a model of random weights. head: from what is read of the input to the output."""
    layers = library.layers
    x = library.Input(shape)
    y = x
    if len(shape) == 3:
        y = layers.GlobalAveragePooling2D()(layers.Conv2D(8, 3, activation="relu")(x))
    elif len(shape) == 2:
        y = layers.Flatten()(x)
    model = library.Model(x, head(layers, y))
    if loss is not None:
        model.compile(optimizer="sgd", loss=loss)
    file.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings(action="ignore"):  # about HDF5
        model.save(file)
    MADE[file.parent.name if file.stem in ("model", "keras_model") else file.stem] = model


def _save_all(folder: Path) -> None:
    import keras

    keras.utils.set_random_seed(4)
    picture = (16, 16, 3)
    crossentropy = "sparse_categorical_crossentropy"
    logits = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def average(layers: Any, y: Any) -> Any:
        return layers.Average()([layers.Dense(3, activation="softmax")(y) for _ in range(2)])

    for name, shape, head, loss in (
        ("age", picture, lambda la, y: la.Dense(1)(y), "mae"),
        ("embedding", picture, lambda la, y: la.Dense(1280)(y), None),
        ("average", picture, average, None),
        ("logarithms", picture, lambda la, y: la.Dense(3, activation="log_softmax")(y), None),
        ("steering", picture, lambda la, y: la.Dense(1, activation="tanh")(y), "mse"),
        ("actions", (4,), lambda la, y: la.Dense(39)(y), "mse"),
        ("box", picture, lambda la, y: la.Dense(4, activation="sigmoid")(y), "huber"),
        ("scores", picture, lambda la, y: la.Dense(3)(y), "categorical_hinge"),
        ("digits", (28, 28), lambda la, y: la.Dense(10)(y), logits),
        ("any", (None, None, 3), lambda la, y: la.Dense(3, activation="softmax")(y), crossentropy),
        ("rgba", (16, 16, 4), lambda la, y: la.Dense(3, activation="softmax")(y), crossentropy),
    ):
        _save(folder / f"{name}.keras", keras, shape, head, loss)
    machine = folder / "machine"
    machine.mkdir()
    MADE["machine"] = exported(2)
    with warnings.catch_warnings(action="ignore"):  # about HDF5
        MADE["machine"].save(machine / "keras_model.h5")
    (machine / "labels.txt").write_text("0 Cat\n1 Dog\n")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("bare")
    _save_all(folder / "models")
    with serving(folder / "models", folder) as found:
        yield found


def about(server: ServerProcess, name: str) -> dict[str, Any]:
    found: dict[str, Any] = server.get(f"/api/models/{name}").json()
    assert found["state"] == "ready", found
    return found


def outputs(name: str, scale: str) -> Array:
    """What Keras computes of a picture whose pixels are all alike."""
    model = MADE[name]
    shape = [size or 224 for size in model.input_shape[1:]]
    pixels = np.full((1, *shape), SHADE, np.float32)
    if shape[-1] == 4:
        pixels[..., 3] = 255
    answers: Array = np.asarray(model(SCALED[scale](pixels)), np.float64)
    return np.asarray(answers[0])


def asked(server: ServerProcess, name: str) -> Any:
    answer = server.post(f"/api/{name}", content=grey(SHADE))
    assert answer.status_code == 200, answer.text
    (prediction,) = answer.json()["predictions"]
    return prediction


def page(server: ServerProcess, name: str) -> str:
    """The page with its answer, as a browser without scripts gets it."""
    answer: httpx.Response = server.post(
        f"/models/{name}", files={"image": ("a.png", grey(SHADE), "image/png")}
    )
    assert answer.status_code == 200
    return answer.text


PER_CENT = re.compile(r"\d %")


def assert_close(found: Any, exact: Any) -> None:
    np.testing.assert_allclose(found, exact, rtol=1e-3, atol=1e-5)


def scale_of(found: dict[str, Any]) -> str:
    (taken,) = found["inputs"].values()
    scale: str = taken["scale"]
    return scale


@pytest.mark.parametrize("name", ["age", "steering"])
def test_a_number_from_a_picture_is_a_number(server: ServerProcess, name: str) -> None:
    found = about(server, name)
    assert {out["kind"] for out in found["outputs"].values()} == {"number"}
    # Its loss says so: what it is, is no guess. How pictures become its input is one.
    assert [key.rpartition(".")[2] for key in found["guessed"]] == ["inputs", "scale"]
    (value,) = asked(server, name).values()
    assert_close([value], outputs(name, scale_of(found)))
    assert not PER_CENT.search(page(server, name))
    assert "is a guess" in page(server, name)


@pytest.mark.parametrize(("name", "sure"), [("embedding", False), ("box", True)])
def test_several_numbers_from_a_picture_are_a_vector(
    server: ServerProcess, name: str, sure: bool
) -> None:
    found = about(server, name)
    (out,) = found["outputs"]
    assert found["outputs"][out]["kind"] == "vector"
    assert (f"outputs.{out}.kind" in found["guessed"]) is not sure
    (values,) = asked(server, name).values()
    assert_close(values, outputs(name, scale_of(found)))
    shown = page(server, name)
    assert f"{len(values):,} numbers, length" in shown
    assert not PER_CENT.search(shown)


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("average", ["0", "1", "2"]),
        ("logarithms", ["0", "1", "2"]),
        ("digits", [str(i) for i in range(10)]),
        ("any", ["0", "1", "2"]),
        ("rgba", ["0", "1", "2"]),
        ("machine", ["Cat", "Dog"]),
    ],
)
def test_probabilities_are_those_that_keras_computes(
    server: ServerProcess, name: str, labels: list[str]
) -> None:
    found = about(server, name)
    exact = outputs(name, scale_of(found))
    if name == "logarithms":
        exact = np.exp(exact)
    if name == "digits":
        exact = np.exp(exact) / np.exp(exact).sum()
    top = {each["label"]: each["probability"] for each in asked(server, name)["top"]}
    assert set(top) <= set(labels)
    for label, probability in top.items():
        assert probability == pytest.approx(exact[labels.index(label)], rel=1e-3, abs=1e-5)
    best = max(top.values())
    assert f"{best * 100:.1f} %" in page(server, name)
    guessed = {key for key in found["guessed"] if "labels" not in key}
    assert guessed == {
        "machine": {"task"},
        "any": {"task", "input.scale", "input.size"},
    }.get(name, {"task", "input.scale"})


def test_what_is_no_probability_is_a_score(server: ServerProcess) -> None:
    found = about(server, "scores")
    answer = asked(server, "scores")
    exact = outputs("scores", scale_of(found))
    assert list(answer) == ["label", "score", "top"]
    scores = {each["label"]: each["score"] for each in answer["top"]}
    assert_close([scores[str(i)] for i in range(3)], exact)
    shown = page(server, "scores")
    assert "scores, not probabilities" in shown
    assert not PER_CENT.search(shown)


def test_the_values_of_actions_are_numbers(server: ServerProcess) -> None:
    row = {f"x{i}": 0.5 * i for i in range(4)}
    (values,) = server.post("/api/actions", json=row).json()["predictions"][0].values()
    exact = np.asarray(MADE["actions"](np.array([[*row.values()]], np.float32)))[0]
    assert_close(values, exact)
    shown = server.get("/models/actions").text
    assert "Predicts several numbers" in shown
    assert "a number" not in shown


def test_an_export_of_teachable_machine(server: ServerProcess) -> None:
    found = about(server, "machine")
    assert found["card"]["input"]["scale"] == "-1..1"
    assert found["card"]["input"]["resize"] == "crop"
    assert found["card"]["labels"] == ["Cat", "Dog"]
    assert "is a guess. If answers look wrong" not in server.get("/models/machine").text


def test_a_card_of_kinds_has_no_keys_of_tasks(server: ServerProcess) -> None:
    """Such as a scale that is not that of the picture."""
    card = about(server, "age")["card"]
    (face,) = card["inputs"].values()
    assert face["kind"] == "picture"
    assert not {"input", "output", "labels", "threshold", "top", "fields", "text"} & set(card)
