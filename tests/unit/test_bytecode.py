"""The Python that wrote a lambda is named, and never a wrong one."""

from __future__ import annotations

import base64
import json
import marshal
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.serving.reading.keras.bytecode import in_words, python_versions
from tests.support import DATA

LINES = [json.loads(line) for line in (DATA / "bytecode.jsonl").read_text().splitlines()]
CASES = {
    f"{line['python'][0]}.{line['python'][1]} {name}": (tuple(line["python"]), code)
    for line in LINES
    for name, code in line["code"].items()
}
# Versions that cannot be distinguished, or need not be.
ALIKE = [((3, 6), (3, 7)), ((3, 8), (3, 9)), ((3, 8), (3, 9), (3, 10)), ((3, 11), (3, 12))]


@pytest.mark.parametrize("case", CASES)
def test_the_python_is_among_those_that_are_named(case: str) -> None:
    python, code = CASES[case]
    found = python_versions(code)
    assert python in found
    assert len(found) == 1 or found in ALIKE


@pytest.mark.parametrize("case", CASES)
def test_also_where_keras_wrote_the_bytes_as_they_are(case: str) -> None:
    """Keras 1, and Keras 2 before 2.1."""
    _, code = CASES[case]
    assert python_versions(base64.b64decode(code).decode("raw_unicode_escape")) == python_versions(
        code
    )


def test_3_11_and_3_12_are_distinguished() -> None:
    for line in LINES:
        if line["python"] in ([3, 11], [3, 12]):
            for name in ("call", "slice"):
                assert python_versions(line["code"][name]) == (tuple(line["python"]),)


FUNCTIONS: list[Callable[..., Any]] = [
    lambda x: x,
    lambda x, y=1, *, z: [i for i in x if i > y] + z,
    lambda *args, **kwargs: sum(args) / max(kwargs.values()),
    json.dumps,
    in_words,
]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_this_python_knows_its_own(function: Any) -> None:
    code = base64.b64encode(marshal.dumps(function.__code__)).decode()
    assert sys.version_info[:2] in python_versions(code)


@given(st.one_of(st.text(), st.binary().map(lambda b: base64.b64encode(b).decode())))
def test_anything_may_stand_there(code: str) -> None:
    python_versions(code)


@given(st.sampled_from(sorted(CASES)), st.integers(0, 300))
def test_also_half_of_it(case: str, length: int) -> None:
    python_versions(base64.b64encode(base64.b64decode(CASES[case][1])[:length]).decode())


def test_in_words() -> None:
    assert in_words(((3, 10),)) == "Python 3.10"
    assert in_words(((3, 11), (3, 12))) == "Python 3.11 or 3.12"
    assert in_words(((3, 8), (3, 9), (3, 10))) == "Python 3.8, 3.9 or 3.10"
    assert in_words(((3, 5),)) == "Python 3.5 or older"
