"""JSON written in pieces is the same as JSON written at once."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.api.http.json_writer import CHUNK, chunks, dumps, json_pieces, value_count
from app.serving.hub_rounds import VALUES, free_texts
from app.serving.tasks.predictions import Predictions, predictions

RNG = np.random.default_rng(1)


def floats(*shape: int) -> Any:
    return RNG.normal(size=shape).astype(np.float32)


def texts(*shape: int, length: int = 3) -> Any:
    out = np.empty(shape, object)
    out.fill("ä" * length)
    return out


LARGE = {
    "rows": [{"mpg": v} for v in floats(20_000)],
    "rows of lists": [{"value": row} for row in floats(3_000, 10)],
    "rows of one large list": [{"value": row} for row in floats(3, 20_000)],
    "one row": [floats(40_000)],
    "matrix": floats(300, 300),
    "cube": floats(2, 3, 20_000),
    "flat": floats(30_000),
    "columns": floats(300, 300).T,
    "texts": texts(20_000),
    "rows of texts": list(texts(4_000, 5)),
    "long texts": texts(50, length=20_000),
    "plain": [[1, "a", None, True, {"b": [1.5] * 3}]] * 3_000,
    "deep": [[[[[*range(10_000)]]]]],
    "by name": {"a": floats(20_000), "b": {"c": [*range(20_000)], 5: None}, "d": []},
}


@pytest.mark.parametrize("name", LARGE)
def test_pieces_are_the_whole(name: str) -> None:
    value = {"id": "x", "predictions": LARGE[name]}
    whole, alone = dumps(value), dumps(LARGE[name])
    pieces = [*json_pieces(deepcopy(value))]
    assert b"".join(pieces) == whole
    assert len(pieces) > 3
    assert max(map(len, pieces)) < 100 * VALUES
    assert b"".join(json_pieces(deepcopy(LARGE[name]))) == alone


def test_texts_are_freed_as_they_are_written() -> None:
    array = texts(5 * VALUES)
    assert b"".join(json_pieces([array])).count(b",") == array.size - 1
    assert set(array) == {None}
    used = [texts(2, VALUES), texts(3), floats(2 * VALUES)]
    free_texts(used)
    assert set(used[0].flat) == {None}
    assert [*used[1]] == ["äää"] * 3
    assert used[2].dtype == np.float32


SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=5)
VALUE = st.recursive(
    SCALARS | st.builds(lambda n: floats(n, 3), st.integers(0, 5)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=12,
)


@settings(deadline=None)
@given(value=VALUE, times=st.sampled_from([1, VALUES + 1]))
def test_any_value(value: Any, times: int) -> None:
    value = [value] * times
    assert b"".join(json_pieces(value)) == dumps(value)


def test_chunks_are_the_pieces_joined() -> None:
    pieces = [b"x" * 1000] * 1000
    made = [chunk for chunk in chunks(pieces) if chunk]
    assert b"".join(made) == b"".join(pieces)
    assert all(CHUNK <= len(chunk) < 2 * CHUNK for chunk in made[:-1])


def test_a_small_value_is_one_piece() -> None:
    value = {"id": "x", "predictions": [{"mpg": 1.5}]}
    assert value_count(value) < 10
    assert [*json_pieces(floats(3, 0))] == [b"[[],[],[]]"]
    assert [*json_pieces(value)] == [b'{"id":"x","predictions":[{"mpg":1.5}]}']


# --- predictions


def shape(outputs: Sequence[Any]) -> list[Any]:
    return [{"y": a.tolist(), "z": b} for a, b in zip(*outputs, strict=True)]


def test_predictions_are_a_list_of_all() -> None:
    outputs = [floats(20_000, 2), np.arange(20_000)]
    many = predictions(shape, outputs, rows=True)
    assert isinstance(many, Predictions)
    whole = shape(outputs)
    assert len(many) == 20_000
    assert [*many] == whole == many.tolist() == [p for part in many.parts() for p in part]
    assert many[5] == whole[5]
    assert many[-1] == whole[-1]
    assert many[7:9] == whole[7:9]
    with pytest.raises(IndexError):
        many[20_000]
    value = {"predictions": many}
    assert b"".join(json_pieces(value)) == orjson.dumps(
        {"predictions": whole}, option=orjson.OPT_SERIALIZE_NUMPY
    )


def test_few_are_a_list_at_once() -> None:
    assert predictions(shape, [floats(2, 2), np.arange(2)], rows=True).__class__ is list


def test_without_as_many_rows_in_each_output_there_is_no_answer() -> None:
    with pytest.raises(ValueError, match="zip"):
        predictions(shape, [floats(20_000, 2), np.arange(20_001)], rows=True)


def test_without_rows_all_is_one_answer() -> None:
    assert predictions(lambda outs: [outs[0]], [floats(20_000)], rows=False).__class__ is list
