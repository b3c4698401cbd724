"""That these tests see what they are there for."""

from __future__ import annotations

from typing import Any

import pytest

from tests.docs.blocks import split
from tests.docs.places import place_of
from tests.docs.shape import differences

SCRIPT = """\
# A comment.
make run     # with a comment
curl a -d '{"a": "# no comment",
  "b": 1}'   # and one
printf '%s' "$(cat x)" |
    curl b -d @-
curl c \\
  -d 1
mkdir d &&
  mv e d/

make test
"""


def test_lines_that_belong_together_are_one_command() -> None:
    assert split(SCRIPT) == [
        "make run",
        'curl a -d \'{"a": "# no comment",\n  "b": 1}\'',
        "printf '%s' \"$(cat x)\" |\n    curl b -d @-",
        "curl c \\\n  -d 1",
        "mkdir d &&\n  mv e d/",
        "make test",
    ]


@pytest.mark.parametrize("script", ["curl 'a", "curl a |", "curl a \\"])
def test_half_a_command_is_none(script: str) -> None:
    with pytest.raises(AssertionError, match="does not end"):
        split(script)


@pytest.mark.parametrize(
    ("shown", "real", "found"),
    [
        ({"a": 1}, {"a": 2.5}, []),
        ({"a": [{"b": "x"}]}, {"a": [{"b": "y"}, {"c": 1}]}, []),
        ({"a": 1}, {}, ["answer.a is shown, but not there"]),
        ({}, {"a": 1}, ["answer.a is there, but not shown"]),
        (
            {"a": [{"b": 1}]},
            {"a": [{"b": "1"}]},
            ["answer.a[0].b is shown as number, it is string"],
        ),
        ({"a": [1, 2]}, {"a": [1]}, ["answer.a shows 2 elements, there are 1"]),
        ({"a": True}, {"a": 1}, ["answer.a is shown as boolean, it is number"]),
        ({"a": None}, {"a": []}, ["answer.a is shown as null, it is array"]),
    ],
)
def test_shapes(shown: Any, real: Any, found: list[str]) -> None:
    assert differences(shown, real) == found


def test_commands_have_a_place() -> None:
    assert place_of("make test") == "instead"
    assert place_of("git pull") == "nowhere"
    assert place_of("curl -k https://localhost/api/models") == "stack"
    assert place_of("make restart") == "stack"
    assert place_of("make run") == "server"
