"""The size of an answer, before and after a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
import pytest

from app.errors import InvalidInput
from app.serving.arrays import Array
from app.serving.engine.answer_size import AnswerSize
from app.serving.signature import Signature
from tests.unit.signatures import Shape, signature, spec


def tokens(*outputs: Shape, dtype: str = "float32") -> Signature:
    """Of token ids, with outputs of these shapes."""
    named = [spec(f"y{i}", dtype, shape) for i, shape in enumerate(outputs)]
    return signature(spec(shape=(None, None)), outputs=tuple(named))


def zeros(rows: int, length: int) -> list[Array]:
    return [np.zeros((rows, length), np.float32)]


def test_fixed_rows_are_known() -> None:
    size = AnswerSize(tokens((None, 10), (None, 2, 3)))
    assert size.expected_bytes(zeros(4, 5), 4) == 4 * 16 * 15
    assert size.expected_bytes(zeros(4, 5), 4, size.names) == 4 * 16 * 4
    assert size.expected_bytes(zeros(4, 5), 4, {"y1"}) == 4 * (10 * 15 + 6 * 4)


def test_a_dimension_that_follows_is_found_by_runs() -> None:
    definition = tokens((None, None, 3), (None, 2))
    assert AnswerSize(definition).expected_bytes(zeros(2, 8), 2) is None

    def run(inputs: Sequence[Array]) -> list[Array]:
        rows, length = inputs[0].shape
        return [np.zeros((rows, length, 3)), np.zeros((rows, 2))]

    assert AnswerSize(definition, run).expected_bytes(zeros(2, 8), 2) == 2 * (8 * 3 + 2) * 15


@pytest.mark.parametrize("length", [lambda n: (n + 1) // 2, lambda n: 7, lambda n: n * n])
def test_a_dimension_of_its_own_is_not_taken_for_one_that_follows(length: Any) -> None:
    def run(inputs: Sequence[Array]) -> list[Array]:
        return [np.zeros((1, length(inputs[0].shape[1]), 3))]

    assert AnswerSize(tokens((None, None, 3)), run).expected_bytes(zeros(1, 8), 1) is None


def test_heights_and_widths_are_distinguished() -> None:
    definition = signature(
        spec(shape=(None, None, None, 3)), outputs=(spec("y", shape=(None, None, None, 2)),)
    )

    def run(inputs: Sequence[Array]) -> list[Array]:
        return [np.zeros((1, inputs[0].shape[2], inputs[0].shape[1], 2))]

    size = AnswerSize(definition, run)
    assert size.expected_bytes([np.zeros((1, 20, 30, 3))], 1) == 600 * 2 * 15
    assert size.length([np.zeros((1, 20, 30, 3))]) == 30


def test_a_model_that_refuses_what_is_tried_is_measured_instead() -> None:
    def run(inputs: Sequence[Array]) -> list[Array]:
        raise InvalidInput("no")

    size = AnswerSize(tokens((None, None, 3)), run)
    assert size.expected_bytes(zeros(1, 8), 1) is None
    assert size.actual_bytes([np.zeros((1, 8, 3), np.float32)]) == 24 * 15


def test_outputs_of_any_rank_are_not_known() -> None:
    assert AnswerSize(tokens(None)).expected_bytes(zeros(1, 1), 1) is None


def test_no_rows_no_batch() -> None:
    definition = signature(spec(shape=(None,)), outputs=(spec("y", shape=(4,)),))
    size = AnswerSize(definition)
    assert size.expected_bytes([np.zeros(100)], 1) == 4 * 15


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint8", "bool", "int32"])
def test_the_figure_is_near_what_is_written(dtype: str) -> None:
    rng = np.random.default_rng(1)
    values = rng.random((100, 50)) * (1 if dtype.startswith("float") else 200)
    array = (values > 0.5) if dtype == "bool" else values.astype(dtype)
    written = len(orjson.dumps(array, option=orjson.OPT_SERIALIZE_NUMPY))
    said = AnswerSize(tokens((None, 50), dtype=dtype)).actual_bytes([array])
    assert written * 0.8 <= said <= written * 6


def test_texts_are_measured() -> None:
    texts = np.array([[b"x" * 1_000, b""]], object)
    size = AnswerSize(tokens((None, 2), dtype="string"))
    assert size.actual_bytes([texts]) == 1_000
    assert size.expected_bytes(zeros(1, 1), 1) == 32
