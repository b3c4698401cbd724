"""What the numbers of an output are called: proven by its graph, or said by its training."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import tensorflow as tf

from app.serving.cards.card import Card
from app.serving.cards.inference.guesses import guesses
from app.serving.cards.inference.infer import completed, infer_card
from app.serving.cards.inference.outputs import output_kind
from app.serving.models.model import Model
from app.serving.signature import Converted
from app.serving.tasks import Limits, RowTask
from app.web.models.answers.readings import readings, shown_outputs
from app.web.models.answers.table_answer import as_json
from tests.models.heads import (
    LIBRARIES,
    answers,
    functional,
    large_weights,
    read_bare,
    read_file,
)
from tests.models.output_cases import (
    ALL,
    BCE,
    CCE,
    Build,
    class_losses,
    dense,
    over_time,
    recurrent,
    sigmoid,
    softmax,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*saving your model as an HDF5:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*softmax over axis -1 of a tensor:UserWarning"),
]


@pytest.mark.parametrize(
    ("library", "case"),
    [(library, case) for _, library, case in ALL],
    ids=[f"{name}-{library}" for name, library, _ in ALL],
)
def test_a_bare_file(library: str, case: tuple[Build, Any, str, str]) -> None:
    build, loss, numbers, kind = case
    model = functional(LIBRARIES[library], build)
    large_weights(model)
    found = read_bare(model, class_losses(LIBRARIES[library]).get(loss, loss))
    (meaning,) = found.signature.meanings
    assert (meaning.numbers, meaning.reason) == (numbers, meaning.reason)
    guess = output_kind(found.signature.outputs[0], meaning, None)
    assert (guess.kind, meaning.reason) == (kind, meaning.reason)
    assert ("classification" in (infer_card(found.signature).task or "")) == (kind == "classes")
    if kind == "classes":
        assert_right(model, found)
    assert_shown(model, found, probable=kind == "classes" and numbers not in ("values", "unknown"))


def assert_shown(model: Any, found: Converted, *, probable: bool) -> None:
    """What the API and the page say of a bare file: `probability` and per cent only of what is one,
    and the numbers as the model gives them where nothing is claimed of them."""
    card, signature = completed(None, found.signature)
    outputs = np.asarray(model(tf.constant(ROWS), training=False))
    task = RowTask(card, signature, Limits())
    predictions = [as_json(each) for each in task.answer([outputs])]
    shown = shown_outputs(cast("Model", SimpleNamespace(card=card, task=task)))
    for prediction, row in zip(predictions, outputs.reshape(len(ROWS), -1), strict=True):
        assert ('"probability"' in json.dumps(prediction)) is probable
        (reading,) = readings(prediction, shown)
        words = [reading.value, *(text for _, text in reading.values)]
        assert any("%" in text for _, _, text in reading.bars) is probable
        assert not any("%" in text for text in words)
        if isinstance(prediction, dict) and "top" in prediction:
            assert reading.scores is not probable
        else:
            # Whole numbers come as they are: without a card they are no kind's.
            (value,) = prediction.values() if isinstance(prediction, dict) else (prediction,)
            np.testing.assert_allclose(np.ravel(value), row, rtol=1e-6)
    # What is a guess is called one.
    sure = all(meaning.proven for meaning in signature.meanings)
    about = [str(guess) for guess in guesses(None, card, signature)]
    assert sure or any(signature.meanings[0].reason in sentence for sentence in about)


ROWS = np.random.default_rng(1).normal(size=(20, 4)).astype(np.float32)
SMALL = 2e-6


def assert_right(model: Any, found: Converted) -> None:
    """What is called a probability is what the model computes, or its softmax, sigmoid or
    exponential where the file says that it gives logits or logarithms."""
    (meaning,) = found.signature.meanings
    outputs = np.asarray(model(tf.constant(ROWS), training=False), np.float64)
    shown = answers(model, found, ROWS, Card(task="tabular-classification", top=1000))
    called = "probability" in shown[0]
    exact = outputs
    if meaning.numbers == "log-probabilities":
        exact = np.exp(outputs)
    if meaning.numbers == "logits":
        exact = (_sigmoid if meaning.multi or outputs.shape[1] == 1 else _softmax)(outputs)
    assert called == (meaning.numbers not in ("values", "unknown") and meaning.proven)
    for answer, row in zip(shown, exact, strict=True):
        by_label = {
            entry["label"]: entry.get("probability", entry.get("score")) for entry in answer["top"]
        }
        second = by_label["1"] if len(row) == 1 else None
        got = [second] if second is not None else [by_label[str(i)] for i in range(len(row))]
        np.testing.assert_allclose(got, row, rtol=SMALL, atol=SMALL)
        if called:
            assert all(0 <= value <= 1 for value in by_label.values())
            if "labels" not in answer:
                assert sum(by_label.values()) == pytest.approx(1, abs=1e-3)


def _softmax(values: Any) -> Any:
    exp = np.exp(values - values.max(axis=1, keepdims=True))
    return exp / exp.sum(axis=1, keepdims=True)


def _sigmoid(values: Any) -> Any:
    return 1 / (1 + np.exp(-values))


@pytest.mark.parametrize("library", sorted(LIBRARIES))
def test_several_outputs(library: str) -> None:
    lib = LIBRARIES[library]

    def heads(_: Any, x: Any) -> Any:
        layers = lib.layers
        return [
            layers.Dense(1, name="age")(x),
            layers.Dense(1, activation="sigmoid", name="gender")(x),
            layers.Dense(3, activation="softmax", name="kind")(x),
        ]

    losses: list[Any] = [
        {"age": "mse", "gender": BCE, "kind": CCE},
        ["mse", BCE, CCE],
        None,
    ]
    for loss in losses:
        found = read_bare(functional(lib, heads), loss)
        numbers = [m.numbers for m in found.signature.meanings]
        assert numbers == ["logits" if loss is None else "values", "sigmoid", "softmax"]
        assert [t.name for t in found.signature.outputs] == ["age", "gender", "kind"]


@pytest.mark.parametrize("library", sorted(LIBRARIES))
@pytest.mark.parametrize(("activation", "numbers"), [("softmax", "softmax"), (None, "logits")])
def test_a_row_for_each_step(library: str, activation: str | None, numbers: str) -> None:
    found = read_bare(functional(LIBRARIES[library], over_time(activation)))
    (meaning,) = found.signature.meanings
    assert meaning.numbers == numbers
    assert output_kind(found.signature.outputs[0], meaning, None).kind == "tensor"


@pytest.mark.parametrize("library", sorted(LIBRARIES))
def test_a_copy_of_the_input_is_no_row_of_classes(library: str) -> None:
    lib = LIBRARIES[library]
    model = functional(lib, lambda _, x: lib.layers.Dense(64, activation="sigmoid")(x), (64,))
    found = read_bare(model, BCE)
    (meaning,) = found.signature.meanings
    assert output_kind(found.signature.outputs[0], meaning, None).kind == "vector"


@pytest.mark.parametrize("library", sorted(LIBRARIES))
@pytest.mark.parametrize(
    ("head", "numbers"),
    [(softmax(), "softmax"), (recurrent, "softmax"), (sigmoid(3), "sigmoid"), (dense(3), None)],
)
def test_a_saved_model(library: str, head: Build, numbers: str | None, tmp_path: Path) -> None:
    model = functional(LIBRARIES[library], head)
    if library == "keras":
        model.export(str(tmp_path / "saved"), verbose=False)
    else:
        model.save(str(tmp_path / "saved"))
    meanings = read_file(tmp_path / "saved").signature.meanings
    assert [(each.numbers, each.proven) for each in meanings] == [(numbers, True)] * bool(numbers)


def test_a_saved_model_of_two_functions(tmp_path: Path) -> None:
    """Functions in functions, and an average of their answers."""
    weights = [tf.Variable(tf.random.normal((4, 3))) for _ in range(2)]
    module = tf.Module()
    module.weights = weights
    inner = [tf.function(lambda x, w=w: tf.nn.softmax(x @ w)) for w in weights]

    @tf.function(input_signature=[tf.TensorSpec((None, 4), tf.float32)])  # type: ignore[untyped-decorator]
    def serve(x: Any) -> Any:
        return {"y": (inner[0](x) + inner[1](x)) / 2}

    tf.saved_model.save(module, str(tmp_path / "saved"), signatures=serve)
    (meaning,) = read_file(tmp_path / "saved").signature.meanings
    assert (meaning.numbers, meaning.proven) == ("softmax", True)
