"""Reading JSON bodies: reading in pieces gives the same as reading at once; NaN and depth."""

from __future__ import annotations

import codecs
import json
import math
from functools import partial
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.errors import BadRequest
from app.json_body import (
    _with_nan,
    check_depth,
    is_wrapped,
    read_json,
    write_json,
    write_numbers,
)
from app.json_pieces import Parse, TooDeep, read_pieces
from app.thread_slices import SLICE

# Whatever a scanner or a cut could take for something else.
TRICKY = st.text(alphabet='[]{}",:\\\n\x7fé体\U0001f600\ud83d', max_size=9) | st.text(max_size=20)
NUMBERS = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TRICKY,
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(TRICKY, inner, max_size=6),
    max_leaves=40,
)
# Texts that are nearly JSON.
TOKENS = [
    *("[", "]", "{", "}", ",", ":", '"', "\\", '"a"', '"a":', '"":', '""', " ", "\n", "1", "-"),
    *("0", "1.5", "e", "1e400", "true", "tru", "null", "NaN", "Infinity", "-Infinity", "é"),
    *('"\\ud83d\\ude00"', '"\\ud83d"', '\\"', "\\\\", "\\u00e9", '"long long text"', "\x00"),
    *('"' + "\\\\" * 9 + '"', '"' + "\\ud83d\\ude00" * 5 + '"', '"' + "\\/" * 20 + '"', "[["),
    *("]]", "9" * 20, "9" * 310, "[1,2,3]", '{"a":1,"b":2}', "體" * 9, '"體體體體體體體"'),
]
DAMAGE = [b"", b",", b'"', b"]", b"}", b"[", b"{", b"\\", b"\xff", b" "]
BLOCKS = st.integers(1, 40)


def outcome(read: Any) -> Any:
    """The value with its types and order, or the message."""
    try:
        return repr(read())
    except ValueError as error:
        return f"error: {error}"


def assert_same(text: bytes, block: int, parse: Parse = orjson.loads) -> None:
    assert outcome(lambda: read_pieces(text, 1000, parse, block)) == outcome(lambda: parse(text))


def written(value: Any, indent: int | None, ascii: bool) -> bytes:
    return json.dumps(value, indent=indent, ensure_ascii=ascii).encode("utf-8", "surrogatepass")


@given(VALUES, st.sampled_from([None, 1]), st.booleans(), BLOCKS)
def test_pieces_are_the_whole(value: Any, indent: int | None, ascii: bool, block: int) -> None:
    assert_same(written([value, value], indent, ascii), block)
    assert_same(written({"a": value, "b": [value]}, indent, ascii), block)


@settings(max_examples=10 * settings().max_examples)
@given(st.lists(st.sampled_from(TOKENS), max_size=30).map("".join), BLOCKS)
@example('["a",[1][2]]', 3)
@example('["aaaaaaaaaaaaaaaaaaaaaaaaaaaaa"1]', 2)
@example('{"aaaaaaaaaaaaaaaaaaaaaaaaaaaaa"', 2)
def test_what_is_nearly_json_has_the_same_fault_at_the_same_place(text: str, block: int) -> None:
    for whole in (
        text,
        f"[{text}]",
        f'{{"k":{text}}}',
        f'[["x",{{"y":{text}}}],{text}]',
        f"[1,{text}",
    ):
        assert_same(whole.encode(), block)
        assert_same(whole.encode(), block, _with_nan)


@settings(max_examples=5 * settings().max_examples)
@given(VALUES, st.data(), st.booleans(), BLOCKS)
def test_a_damaged_text_has_the_same_fault(value: Any, data: Any, ascii: bool, block: int) -> None:
    text = bytearray(written([value, {"a": value}], None, ascii))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text) - 1))
        new = data.draw(
            st.sampled_from([b"", b",", b'"', b"]", b"}", b"[", b"{", b"\\", b"\xff", b" "])
        )
        text[at : at + data.draw(st.integers(0, 1))] = new
    assert_same(bytes(text), block)
    assert_same(bytes(text), block, _with_nan)


@given(st.lists(st.tuples(st.sampled_from(["", "a", "b"]), VALUES), max_size=8), BLOCKS)
def test_of_equal_keys_the_last_counts(pairs: list[tuple[str, Any]], block: int) -> None:
    inside = ",".join(f"{json.dumps(key)}:{json.dumps(value)}" for key, value in pairs)
    assert_same(f"{{{inside}}}".encode(), block)


@given(st.lists(st.sampled_from([math.nan, math.inf, -math.inf, 1, 2**70, "NaN"])), BLOCKS)
def test_nan_and_infinity(values: list[Any], block: int) -> None:
    text = json.dumps([values, {"a": values}]).encode()
    assert_same(text, block, _with_nan)
    assert repr(read_json(text, 9, nan=True)) == repr(json.loads(text)) or b"NaN" not in text


@pytest.mark.parametrize("text", ["-NaN", "1NaN", "1e-Infinity", "+Infinity", "NaNNaN", "aNaN"])
def test_words_that_are_part_of_something_else(text: str) -> None:
    for whole in (f"[{text}]", f"[{text}," + "1," * SLICE + "x]"):
        with pytest.raises(ValueError, match=r"line 1 column [2-5] \(char [1-4]\)"):
            read_json(whole.encode(), 9, nan=True)


@given(st.integers(1, 20), BLOCKS)
def test_the_depth_is_limited_in_pieces_as_well(depth: int, block: int) -> None:
    text = b"[" * depth + b'"[[["' + b"]" * depth
    assert read_pieces(text, depth, orjson.loads, block) == orjson.loads(text)
    with pytest.raises(TooDeep):
        read_pieces(text, depth - 1, orjson.loads, block)


LARGE = {
    "numbers": b"[" + b"1," * 100_000 + b"1]",
    "rows": b"[" + b"[0.5,1e3]," * 20_000 + b"[1,2]]",
    "objects": b"[" + b'{"a": 1, "b": [1, 2]},' * 9_000 + b"{}]",
    "keys": b"{" + b",".join(b'"k%d":%d' % (i, i) for i in range(20_000)) + b"}",
    "text": b'["' + b"a" * 300_000 + b'", "b"]',
    "escapes": b'{"a": "'
    + b"\\\\" * 100_000
    + b'\\"", "b": "\\/'
    + b"\\ud83d\\ude00" * 20_000
    + b'"}',
    "space": b"[" + b" \n" * 100_000 + b"1" + b" " * 100_000 + b"]" + b" " * 100_000,
    "deep": b"[" * 60 + b"1," * 100_000 + b"1" + b"]" * 60,
    "key": b'{"' + b"k" * 200_000 + b'": 1}',
    "number": b"[0." + b"0" * 200_000 + b"1]",
    "comb": b"[" + b"[" * 50 + (b"[1]," * 20_000)[:-1] + b"]" * 50 + b',"x"' * 30_000 + b"]",
    "words": b"[" + b"NaN,-Infinity," * 20_000 + b"1]",
}


@pytest.mark.parametrize("name", LARGE)
def test_large_bodies(name: str) -> None:
    text, parse = LARGE[name], _with_nan if name == "words" else orjson.loads
    assert repr(read_json(text, 64, nan=True)) == repr(parse(text))
    cut = text[:-1]
    for broken in (cut, cut + b"x", text[: len(text) // 2], text + b"]", b"\xff" + text):
        found = outcome(partial(read_json, broken, 64, nan=True))
        assert found == outcome(partial(parse, broken))


def test_a_large_body_that_is_too_deep() -> None:
    with pytest.raises(BadRequest, match="more than 64 levels"):
        read_json(b"[" * 1_000_000, 64)


NUMERIC = st.sampled_from(["float16", "float32", "float64", "int8", "uint64", "bool"])
SHAPES = st.lists(st.integers(0, 3), max_size=3)


@given(NUMERIC, SHAPES, st.data())
def test_numbers_are_written_as_they_are_with_nan_among_them(
    dtype: str, shape: list[int], data: st.DataObject
) -> None:
    size = math.prod(shape)
    values = st.sampled_from([0.1, -2.5, 0, 1, math.nan, math.inf, -math.inf])
    drawn = data.draw(st.lists(values, min_size=size, max_size=size))
    finite = [value if math.isfinite(value) else 0 for value in drawn]
    array = np.array(drawn if dtype.startswith("f") else np.abs(finite)).astype(dtype)
    array = array.reshape(shape)
    whole = array if shape else array[()]
    back = np.array(json.loads(write_numbers(whole))).astype(dtype).reshape(shape)
    assert np.array_equal(back, array, equal_nan=dtype.startswith("f"))
    # Each number has the text that it has by itself, whatever its neighbours are.
    alone = [write_numbers(one)[1:-1] for one in array.reshape(-1, 1)]
    assert write_numbers(array.reshape(-1)) == b"[" + b",".join(alone) + b"]"
    if np.isfinite(array).all():
        assert write_numbers(whole) == write_json(whole)


# --- mistakes


@pytest.mark.parametrize("rest", ["", "x", "体"])
@pytest.mark.parametrize("blanks", [0, SLICE])
def test_a_byte_order_mark_changes_nothing(rest: str, blanks: int) -> None:
    text = b" " * blanks + f'{{"a": 1}}{rest}'.encode()
    with_mark = partial(read_json, codecs.BOM_UTF8 + text, 9)
    assert outcome(with_mark) == outcome(partial(read_json, text, 9))


@pytest.mark.parametrize(
    "text",
    [
        *("a=1&b=2", " \n a=1", "a+b%20c.d=1", "x" * 200 + "=1", "text=hello+there"),
        '--ab12\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--ab12--\r\n',
    ],
)
def test_forms_are_told(text: str) -> None:
    with pytest.raises(ValueError, match=r"^it is a form of fields: .*json=row\), not data=row$"):
        read_json(text.encode(), 9)


@pytest.mark.parametrize("text", ["{'a': 1}", "[{'a': 1}]", "['a']", "[[[ 'a']]]", "({'a': 1},)"])
def test_values_of_python_are_told(text: str) -> None:
    with pytest.raises(ValueError, match=r"single quotes.* not data=str\(row\)$"):
        read_json(text.encode(), 9)


@pytest.mark.parametrize(
    "text",
    [
        *("=", "a", "a=", "YQ==", "YWI=", "YWI=\n", "data:image/png;base64,YQ==", "x" * 201 + "=1"),
        *('{"a"=1}', '{"a": 1', '["a=1]', "a:b=1", "--a", "-1-", "[1, 'a']", " " * 2000 + "a=1"),
    ],
)
def test_other_faults_are_no_such_mistakes(text: str) -> None:
    with pytest.raises(ValueError, match=r"line \d+ column \d+"):
        read_json(text.encode(), 9)


@pytest.mark.parametrize(
    ("wrapped", "values"),
    [
        (True, ["{}", "[]", '{"a": 1}', " [1]\n"]),
        (False, ["", "{", "[}", "a", '"{}"', {}, [], None, 1]),
    ],
)
def test_texts_that_hold_json(wrapped: bool, values: list[Any]) -> None:
    assert [is_wrapped(value) for value in values] == [wrapped] * len(values)


# --- depth

BRACKETS = st.text(alphabet='[]{}",:\\\né', max_size=8)
NESTED = st.recursive(
    st.none() | st.integers() | BRACKETS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(BRACKETS, inner, max_size=3),
)


def _depth(value: Any) -> int:
    if not isinstance(value, list | dict):
        return 0
    inner = value.values() if isinstance(value, dict) else value
    return 1 + max(map(_depth, inner), default=0)


@given(NESTED, st.sampled_from([None, 1]))
def test_the_depth_is_that_of_what_is_parsed(value: Any, indent: int | None) -> None:
    text, depth = json.dumps(value, indent=indent).encode(), _depth(value)
    check_depth(text, depth)
    if depth:
        with pytest.raises(BadRequest, match=rf"more than {depth - 1} levels.*MAX_JSON_DEPTH"):
            check_depth(text, depth - 1)


@pytest.mark.parametrize("text", [b"", b"]" * 9, b'"[', b'["\\', b"\\", b"\xff[", b'{"a":[}'])
def test_what_is_no_json_may_pass(text: bytes) -> None:
    check_depth(text, 2)


def test_a_list_that_does_not_end_is_found_as_well() -> None:
    with pytest.raises(BadRequest):
        check_depth(b"[" * 1_000_000, 200)
