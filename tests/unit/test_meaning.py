"""What the numbers of an output are, by its graph, its training and its values."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from app.serving.reading.outputs import facts
from app.serving.reading.outputs.facts import UNKNOWN, Fact
from app.serving.reading.outputs.meaning import judged, meaning_of
from app.serving.reading.outputs.training import read_training
from app.serving.signature import OutputMeaning
from tests.unit.signatures import MEANINGS

SOFTMAX, SIGMOID, LINEAR = facts.shares(), facts.each(), Fact("linear")
CLIPPED = facts.numbers("Relu6", 0.0, 1.0)
TANH = facts.numbers("Tanh", -1.0, 1.0)
CCE, BCE = "categorical_crossentropy", "binary_crossentropy"
FROM_LOGITS = {"class_name": "CategoricalCrossentropy", "config": {"from_logits": True}}
EACH_FROM_LOGITS = {"class_name": "BinaryCrossentropy", "config": {"from_logits": True}}


@pytest.mark.parametrize(
    ("fact", "loss", "numbers", "classes", "proven"),
    [
        (SOFTMAX, None, "softmax", True, True),
        (SOFTMAX, CCE, "softmax", True, True),
        (SOFTMAX, BCE, "softmax", True, True),
        (SOFTMAX, FROM_LOGITS, "softmax", True, True),
        (SOFTMAX, "mse", "softmax", None, True),
        (SIGMOID, None, "sigmoid", None, True),
        (SIGMOID, BCE, "sigmoid", True, True),
        (SIGMOID, "mse", "sigmoid", False, True),
        (SIGMOID, CCE, "values", True, True),
        (facts.logarithm(SOFTMAX), None, "log-probabilities", True, True),
        (facts.logarithm(SIGMOID), None, "log-probabilities", None, True),
        (LINEAR, None, "logits", None, False),
        (LINEAR, FROM_LOGITS, "logits", True, True),
        (LINEAR, EACH_FROM_LOGITS, "logits", True, True),
        (LINEAR, "masked_crossentropy", "logits", True, False),
        (LINEAR, CCE, "values", True, True),
        (LINEAR, "mse", "values", False, True),
        (LINEAR, "hinge", "values", True, True),
        (TANH, None, "values", None, True),
        (TANH, "huber", "values", False, True),
        (TANH, BCE, "values", True, True),
        (TANH, FROM_LOGITS, "logits", True, True),
        (CLIPPED, None, "values", None, True),
        (CLIPPED, BCE, "sigmoid", True, True),
        (CLIPPED, CCE, "values", True, True),
        (UNKNOWN, None, "unknown", None, False),
        (UNKNOWN, CCE, "unknown", True, False),
        (UNKNOWN, "mse", "values", False, True),
        (facts.scaled(SOFTMAX, 2.0), None, "values", None, True),
        (facts.scaled(SOFTMAX, 0.5), CCE, "values", True, True),
        (replace(SOFTMAX, axis=-2), None, "sigmoid", None, True),
    ],
)
def test_the_graph_and_the_loss(
    fact: Fact, loss: Any, numbers: str, classes: bool | None, proven: bool
) -> None:
    (said,) = read_training({"loss": loss}, ["y"])
    found = meaning_of(fact, said, (None, 3))
    assert (found.numbers, found.classes, found.proven) == (numbers, classes, proven)
    assert found.reason


def test_a_metric_that_counts_right_answers_makes_numbers_classes() -> None:
    (said,) = read_training({"loss": "mse", "metrics": ["accuracy"]}, ["y"])
    assert meaning_of(SIGMOID, said, (None, 3)).classes is True
    assert meaning_of(LINEAR, said, (None, 3)).classes is False


def test_a_margin_is_zero() -> None:
    (said,) = read_training({"loss": "hinge"}, ["y"])
    assert meaning_of(TANH, said, (None, 1)).middle == 0.0


UNKNOWN_NUMBERS = OutputMeaning("unknown", None, False, "the file does not tell")
HALF = [[0.5, 0.5], [0.25, 0.75]]


@pytest.mark.parametrize(
    ("meaning", "values", "numbers", "proven"),
    [
        (MEANINGS["softmax"], HALF, "softmax", True),
        (MEANINGS["softmax"], [[0.5, 0.6], [0.25, 0.75]], "values", False),
        (MEANINGS["softmax"], [[-0.5, 1.5]], "values", False),
        (MEANINGS["sigmoid"], [[0.0, 1.0]], "sigmoid", True),
        (MEANINGS["sigmoid"], [[0.0, 1.1]], "values", False),
        (MEANINGS["log_softmax"], np.log(HALF), "log-probabilities", True),
        (MEANINGS["log_softmax"], [[0.5, 0.5]], "values", False),
        (UNKNOWN_NUMBERS, HALF, "softmax", False),
        (UNKNOWN_NUMBERS, [[0.5, 0.4]], "unknown", False),
        (UNKNOWN_NUMBERS, [[0.0, 1.0]], "unknown", False),  # a choice, without its certainty
        (UNKNOWN_NUMBERS, [[1.0], [1.0]], "unknown", False),
        (UNKNOWN_NUMBERS, [[0.5, 7.0]], "values", False),
        (MEANINGS["linear"], [[0.5, 7.0]], "logits", False),
        (MEANINGS["softmax"], [[np.nan, 1.0]], "softmax", True),
        (MEANINGS["softmax"], np.zeros((0, 2)), "softmax", True),
    ],
)
def test_values_refute_or_suggest(
    meaning: OutputMeaning, values: Any, numbers: str, proven: bool
) -> None:
    found = judged(meaning, np.array(values, np.float32))
    assert (found.numbers, found.proven) == (numbers, proven)


def test_whole_numbers_tell_nothing() -> None:
    assert judged(UNKNOWN_NUMBERS, np.array([[0, 1]])) == UNKNOWN_NUMBERS
