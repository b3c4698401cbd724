"""JSON laid out for people."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from app.web.layout import WIDTH, layout, readable_json

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def test_what_is_short_stays_on_a_line() -> None:
    assert layout([{"label": "dog", "top": [1, 2.5]}]) == '[{"label": "dog", "top": [1, 2.5]}]'


def test_what_is_long_is_broken_where_it_means_something() -> None:
    value = {"name": "x" * 60, "rows": [[1, 2], [3, 4]], "é": {}}
    assert layout(value) == (
        '{\n  "name": "' + "x" * 60 + '",\n  "rows": [[1, 2], [3, 4]],\n  "é": {}\n}'
    )


def test_numbers_fill_the_lines() -> None:
    text = layout([[0.5] * 100], step="    ")
    lines = text.splitlines()
    assert lines[:2] == ["[", "    ["]
    assert all(len(line) <= WIDTH for line in lines)
    assert len(lines) < 15
    assert json.loads(text) == [[0.5] * 100]


@given(JSON)
def test_it_is_still_the_same_json(value: Any) -> None:
    assert json.loads(layout(value)) == value


def test_arrays_become_lists() -> None:
    value = [{"mpg": np.float32(0.1), "all": np.arange(4, dtype=np.int64)[::2]}]
    assert readable_json(value) == '[{"mpg": 0.1, "all": [0, 2]}]'
