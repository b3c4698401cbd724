"""What kind of answer an output without a card gives."""

from __future__ import annotations

import pytest

from app.serving.cards.inference.outputs import output_kind
from app.serving.signature import OutputMeaning
from tests.unit.signatures import MEANINGS, Shape, spec

MSE = OutputMeaning("values", False, True, "the loss is mse")
LOGITS = OutputMeaning("logits", True, True, "the loss is a crossentropy from logits")
UNKNOWN = OutputMeaning("unknown", None, False, "the file does not tell what the numbers are")
MARGIN = OutputMeaning("values", True, True, "the loss is hinge", middle=0.0)
ABC = ["a", "b", "c"]


@pytest.mark.parametrize(
    ("units", "meaning", "labels", "kind", "sure"),
    [
        # What the loss says.
        (1, MSE, None, "number", True),
        (4, MSE, None, "vector", True),
        (39, MSE, None, "vector", True),
        (10, LOGITS, None, "classes", True),
        (1, LOGITS, None, "classes", True),
        (3, MARGIN, None, "classes", True),
        # What the last layer proves.
        (3, MEANINGS["softmax"], None, "classes", True),
        (3, MEANINGS["log_softmax"], None, "classes", True),
        (1, MEANINGS["sigmoid"], None, "classes", False),
        (32, MEANINGS["sigmoid"], None, "classes", False),
        (33, MEANINGS["sigmoid"], None, "vector", False),
        (2048, MEANINGS["softmax"], None, "classes", True),
        (4, MEANINGS["relu"], None, "vector", True),
        # What stays open without labels.
        (1, MEANINGS["linear"], None, "number", False),
        (1280, MEANINGS["linear"], None, "vector", False),
        (3, UNKNOWN, None, "vector", False),
        (1, UNKNOWN, None, "number", False),
        (3, None, None, "vector", False),
        # Labels, as many as units, or two for one unit.
        (3, MEANINGS["linear"], ABC, "classes", True),
        (3, MEANINGS["relu"], ABC, "classes", True),
        (3, MSE, ABC, "classes", True),
        (3, UNKNOWN, ABC, "classes", True),
        (3, None, ABC, "classes", True),
        (1, MEANINGS["linear"], ["a", "b"], "classes", True),
        (4, MEANINGS["linear"], ABC, "vector", False),
        (1, MEANINGS["linear"], ["a"], "number", False),
    ],
)
def test_a_row_of_numbers(
    units: int, meaning: OutputMeaning | None, labels: list[str] | None, kind: str, sure: bool
) -> None:
    found = output_kind(spec("y", shape=(None, units)), meaning, labels)
    assert (found.kind, found.guess is None) == (kind, sure)


@pytest.mark.parametrize(
    ("shape", "dtype", "kind"),
    [
        ((None,), "float32", "number"),
        ((None, None), "float32", "tensor"),
        ((None, 8, 8, 3), "float32", "tensor"),
        ((), "float32", "tensor"),
        (None, "float32", "tensor"),
        ((None, 3), "string", "tensor"),
        ((None, 3), "bool", "tensor"),
        ((None, 3), "int64", "vector"),
    ],
)
def test_other_shapes_and_types(shape: Shape, dtype: str, kind: str) -> None:
    values = OutputMeaning("values", None, True, "whole numbers")
    assert output_kind(spec("y", dtype, shape), values, None).kind == kind
