"""The budget of a request: which limits are settings, which are derived, and both sides of each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import Detail, InvalidInput
from app.serving.cards.card import Card, Runtime, TextSettings
from app.serving.limits import DEFAULT_LENGTH, Limits, megabytes, too_many_elements
from app.serving.signature import TensorSpec
from app.serving.tensors import from_nested, tensor_problems
from app.settings import Settings
from tests.unit.signatures import signature, spec


def test_the_limits_of_a_server_are_its_settings() -> None:
    settings = Settings(max_rows=7, max_body_mb=2, max_answer_mb=3, max_pixels=100)
    limits = Limits.of(settings)
    assert (limits.max_rows, limits.max_pixels) == (7, 100)
    assert (limits.max_body_bytes, limits.max_answer_bytes) == (2_000_000, 3_000_000)
    assert limits == Limits.of(Settings(max_rows=7, max_body_mb=2, max_answer_mb=3, max_pixels=100))


def test_what_follows_from_settings() -> None:
    limits = Limits(max_pixels=10, max_body_bytes=4_000)
    assert limits.max_request_pixels == 80
    assert limits.max_elements == 1_000
    assert (limits.columns(3), limits.columns(500)) == (1_000, 5_000)


def test_elements_in_json() -> None:
    assert too_many_elements("x", 10, 10) == []
    (excess,) = too_many_elements("x", 1_001, 1_000)
    assert (excess.field, excess.problem, excess.value) == ("x", "1,001 elements", 1_001)
    assert "1,000" in excess.expected
    assert "KERAPORT_MAX_BODY_MB" in excess.expected


def test_bytes_of_an_answer() -> None:
    limits = Limits(max_answer_bytes=64_000_000)
    limits.check_answer(64_000_000, 3)
    with pytest.raises(InvalidInput) as caught:
        limits.check_answer(710_000_000, 8_000)
    assert caught.value.message == (
        "answer: about 710 MB for 8,000 rows, expected at most 64 MB (KERAPORT_MAX_ANSWER_MB): "
        "send fewer or shorter rows at a time"
    )
    assert [d.value for d in caught.value.details] == [710_000_000]
    assert megabytes(1_500_000) == "1.5 MB"


def test_the_length_that_a_card_allows() -> None:
    assert Card(task="tensor").max_length == DEFAULT_LENGTH
    assert Card(task="text-generation", text=TextSettings(window=20)).max_length == 20
    runtime = Runtime(max_length=7)
    assert Card(task="tensor", runtime=runtime).max_length == 7
    assert Card(task="text-generation", runtime=runtime).max_length == 7


def bounded(*shapes: Any, length: int = 5, elements: int = 12) -> tuple[TensorSpec, ...]:
    """Inputs of these shapes, the first called `a`."""
    specs = [spec(name, shape=s) for name, s in zip("abc", shapes, strict=False)]
    return signature(*specs).bounded(length, elements).inputs


@pytest.mark.parametrize(
    ("shape", "good", "long"),
    [
        ((None, None), (1, 5), (1, 6)),
        ((None, 7), (1, 7), None),
        ((None, None, 1), (2, 5, 1), (2, 6, 1)),
        ((None, 1, None), (2, 1, 5), (2, 1, 6)),
        # No rows: the first dimension is as open as any other.
        ((None,), (12,), None),
    ],
)
def test_open_dimensions_have_a_limit(
    shape: Any, good: tuple[int, ...], long: tuple[int, ...] | None
) -> None:
    (only,) = bounded(shape)
    for sizes, wrong in ((good, False), (long, True)):
        if sizes is None:
            continue
        array = np.zeros(sizes, np.float32)
        nested = from_nested(array.tolist(), only)
        found = tensor_problems({"a": array}, signature(only))
        if not wrong:
            assert isinstance(nested, np.ndarray)
            assert found == []
            continue
        expected = "at most 5 (runtime.max_length of the model's card)"
        assert nested == found[0] == Detail("a", "6 long", 6, expected)


def test_a_signature_without_rows_has_no_endless_first_dimension() -> None:
    """Such a model cannot be run in parts."""
    only = signature(spec("a", shape=(None, 2)), outputs=(spec("y", shape=()),)).bounded(5, 100)
    (first,) = only.inputs
    found = tensor_problems({"a": np.zeros((6, 2), np.float32)}, only)
    assert [d.problem for d in found] == ["6 long"]
    assert from_nested([[1, 2]] * 6, first) == found[0]
    assert isinstance(from_nested([[1, 2]] * 5, first), np.ndarray)


def test_an_input_of_any_rank_has_a_limit_on_its_elements() -> None:
    (only,) = bounded(None)
    for sizes, good in (((3, 4), True), ((13,), False), ((2, 7), False)):
        array = np.zeros(sizes, np.float32)
        nested = from_nested(array.tolist(), only)
        found = tensor_problems({"a": array}, signature(only))
        assert (found == []) is good
        assert isinstance(nested, Detail) is not good
        if not good:
            assert found[0].problem == f"{array.size} elements"


@given(st.lists(st.integers(0, 4), min_size=1, max_size=3), st.integers(1, 20))
def test_lists_of_more_elements_than_json_may_have(sizes: list[int], most: int) -> None:
    (only,) = bounded((None,) * len(sizes), length=100, elements=most)
    array = np.zeros(sizes, np.float32)
    # A list without elements does not tell the dimensions after it.
    if 0 in sizes[:-1]:
        return
    read = from_nested(array.tolist(), only)
    if array.size <= most:
        assert isinstance(read, np.ndarray)
    else:
        assert isinstance(read, Detail)
        assert read.problem == f"{array.size:,} elements"
