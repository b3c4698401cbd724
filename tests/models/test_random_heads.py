"""Random last layers, and every loss: no value is called a probability that is not one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from app.serving.cards.card import Card
from app.serving.cards.inference.infer import infer_card
from app.serving.cards.inference.outputs import output_kind
from tests.models.heads import answers, functional, large_weights, read_bare

# What the numbers of a head are, as the one who builds it knows. plain: of a dense layer.
Truth = Literal["plain", "shares", "each", "log shares", "log each", "numbers"]
ROWS = np.random.default_rng(2).normal(size=(40, 4)).astype(np.float32)

# Each step: from the truth before it to that after it; "numbers" from any other.
EVERY: tuple[Truth, ...] = ("plain", "shares", "each", "log shares", "log each", "numbers")
SAME: dict[Truth, Truth] = {truth: truth for truth in EVERY}
STEPS: dict[str, dict[Truth, Truth]] = {
    "softmax": dict.fromkeys(EVERY, "shares"),
    "sigmoid": dict.fromkeys(EVERY, "each"),
    "log_softmax": dict.fromkeys(EVERY, "log shares"),
    "tanh": {},
    "relu": {"shares": "shares", "each": "each"},
    "log": {"shares": "log shares", "each": "log each"},
    "exp": {"log shares": "shares", "log each": "each"},
    "half": {"plain": "plain"},
    "double": {"plain": "plain"},
    "mean of two": {"shares": "shares", "each": "each"},
    "sum of two": {},
    "side by side": {**SAME, "plain": "numbers", "shares": "each", "log shares": "log each"},
    "contrary": {"shares": "each", "each": "each"},
    "first": {**SAME, "shares": "each", "log shares": "log each"},
    "dropout": SAME,
    "reshape": SAME,
    "linear": SAME,
    "dense": dict.fromkeys(EVERY, "plain"),
    "unit length": {},
    "batch norm": {},
}


def own_loss(truth: Any, found: Any) -> Any:
    """A loss of which nothing is known."""
    return keras.ops.mean(found - truth)


LOSSES: dict[str, Any] = {
    "none": None,
    "mse": "mse",
    "huber": keras.losses.Huber(),
    "poisson": "poisson",
    "hinge": "hinge",
    "bce": "binary_crossentropy",
    "bce logits": keras.losses.BinaryCrossentropy(from_logits=True),
    "cce": "categorical_crossentropy",
    "cce logits": keras.losses.CategoricalCrossentropy(from_logits=True),
    "sparse": keras.losses.SparseCategoricalCrossentropy(),
    "sparse logits": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    "own": own_loss,
}


@dataclass
class Head:
    """A head while it is built: its tensor and what the numbers are."""

    y: Any
    truth: Truth

    def add(self, step: str) -> None:
        """Add a step after it."""
        self.y = self._after(step)
        self.truth = STEPS[step].get(self.truth, "numbers")
        if step in ("softmax", "log_softmax") and self.y.shape[-1] == 1:
            self.truth = "numbers"

    def _after(self, step: str) -> Any:
        y, ops, layers = self.y, keras.ops, keras.layers
        units = y.shape[-1]
        match step:
            case "softmax" | "sigmoid" | "log_softmax" | "tanh" | "relu" | "linear":
                return layers.Activation(step)(y)
            case "log":
                return ops.log(y)
            case "exp":
                return ops.exp(y)
            case "half":
                return y / 2.0
            case "double":
                return 2.0 * y
            case "mean of two" | "sum of two":
                # The same units in another order, which have the same truth.
                other = y[:, ::-1]
                layer = layers.Average() if step == "mean of two" else layers.Add()
                return layer([y, other])
            case "side by side":
                return layers.Concatenate()([y, y])
            case "contrary":
                return 1.0 - y
            case "first":
                return y[:, : max(1, units - 1)]
            case "dropout":
                return layers.Dropout(0.5)(y)
            case "reshape":
                return layers.Flatten()(layers.Reshape((units, 1))(y))
            case "dense":
                return layers.Dense(3)(y)
            case "unit length":
                return layers.UnitNormalization()(y)
            case "batch norm":
                return layers.BatchNormalization()(y)
        raise AssertionError(step)


@pytest.mark.filterwarnings("ignore:.*softmax over axis -1 of a tensor:UserWarning")
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
)
@given(
    units=st.sampled_from([1, 2, 3, 6]),
    steps=st.lists(st.sampled_from(sorted(STEPS)), max_size=4),
    loss=st.sampled_from(sorted(LOSSES)),
    seed=st.integers(0, 99),
)
def test_no_value_is_called_a_probability_that_is_not_one(
    units: int, steps: list[str], loss: str, seed: int
) -> None:
    head = Head(None, "plain")

    def build(_: Any, x: Any) -> Any:
        head.y = keras.layers.Dense(units)(x)
        for step in steps:
            head.add(step)
        return head.y

    model = functional(keras, build)
    large_weights(model, seed)
    outputs = np.asarray(model(tf.constant(ROWS), training=False), np.float64)
    found = read_bare(model, LOSSES[loss])
    (meaning,) = found.signature.meanings
    labels = [f"label {i}" for i in range(max(2, outputs.shape[1]))]
    bare = infer_card(found.signature)
    said = Card(task="tabular-classification", labels=labels, top=1000)
    for card in [said, *([bare] if "classification" in (bare.task or "") else [])]:
        shown = answers(model, found, ROWS, card.model_copy(update={"top": 1000}))
        if "probability" in shown[0]:
            called = np.array([_numbers(answer, outputs.shape[1]) for answer in shown])
            _assert_probable(called, outputs, head.truth, loss, stated="labels" in shown[0])
    kind = output_kind(found.signature.outputs[0], meaning, None)
    if LOSSES[loss] is None and head.truth in ("shares", "log shares"):
        assert (kind.kind, meaning.proven) == ("classes", True)
    if loss in ("mse", "huber", "poisson") and head.truth not in ("shares", "log shares"):
        assert kind.kind == ("number" if outputs.shape[1] == 1 else "vector")
    # What is certain stays certain.
    if head.truth == "shares":
        assert meaning.numbers == "softmax"


def _numbers(answer: dict[str, Any], units: int) -> list[float]:
    """The probability of each unit: that of the second label, where there is one unit."""
    by_label = {entry["label"]: entry["probability"] for entry in answer["top"]}
    names = sorted(by_label, key=lambda name: int(name.split()[-1]))
    return [by_label[name] for name in (names[1:] if units == 1 else names)]


def _assert_probable(
    called: NDArray[Any], outputs: NDArray[Any], truth: Truth, loss: str, *, stated: bool
) -> None:
    """The numbers that were called probabilities are what the model computes, of a head of which
    they are probabilities."""
    several = called.shape[1] == 1 or stated
    allowed: list[Any] = []
    if truth in ("shares", "each"):
        allowed.append(outputs)
    if truth in ("log shares", "log each"):
        allowed.append(np.exp(outputs))
    if truth in ("plain", "numbers") and (
        loss.endswith("logits") or (truth == "plain" and loss in ("none", "own"))
    ):
        exp = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        softmax, sigmoid = exp / exp.sum(axis=1, keepdims=True), 1 / (1 + np.exp(-outputs))
        allowed.append(sigmoid if several else softmax)
    if truth == "numbers" and loss == "bce" and 0 <= outputs.min() <= outputs.max() <= 1:
        allowed.append(outputs)  # a loss of probabilities, and all values lie in 0..1
    # The logarithm of a negative number stays NaN, which the server refuses to answer.
    assert any(np.allclose(called, each, atol=2e-6, equal_nan=True) for each in allowed), (
        truth,
        loss,
    )
    if not several:
        finite = called[np.isfinite(called).all(axis=1)]
        np.testing.assert_allclose(finite.sum(axis=1), 1, atol=1e-4)
