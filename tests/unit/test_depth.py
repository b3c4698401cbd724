"""How deeply a JSON text is nested."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import BadRequest
from app.json_body import check_depth

TRICKY = st.text(alphabet='[]{}",:\\\né', max_size=8)
VALUES = st.recursive(
    st.none() | st.integers() | TRICKY,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TRICKY, inner, max_size=3),
)


def _depth(value: Any) -> int:
    if not isinstance(value, list | dict):
        return 0
    inner = value.values() if isinstance(value, dict) else value
    return 1 + max(map(_depth, inner), default=0)


@given(VALUES, st.sampled_from([None, 1]))
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
