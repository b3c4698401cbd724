"""The tree of errors, and the form of their problems."""

from __future__ import annotations

import re

import pytest
from flask import Flask, Response

from app import errors
from app.api.http.answers import add_request_id
from app.api.http.errors import STATUS, ErrorAnswers, describe
from app.errors import Detail, InvalidInput, KeraportError, Overloaded, Unavailable, short
from app.serving.tasks.base import MAX_DETAILS, invalid
from app.settings import Settings

CLASSES = {
    name: item
    for name, item in vars(errors).items()
    if isinstance(item, type) and issubclass(item, KeraportError)
}


def drawn_tree() -> dict[str, str | None]:
    """class -> parent, as the module docstring draws them."""
    tree: dict[str, str | None] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.fullmatch(r"    ([│├└─ ]*)([A-Z]\w+)(?:  .*)?", line)
        if found:
            depth = len(found[1]) // 4
            path[depth:] = [found[2]]
            tree[found[2]] = path[depth - 1] if depth else None
    return tree


def test_the_docstring_draws_the_classes_as_they_are() -> None:
    real = {
        name: None if item is KeraportError else item.__bases__[0].__name__
        for name, item in CLASSES.items()
    }
    assert drawn_tree() == real


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_every_error_has_a_status(name: str) -> None:
    assert 400 <= STATUS[CLASSES[name].code] <= 504


def test_errors_that_the_client_can_fix_are_no_faults_of_the_server() -> None:
    for item in CLASSES.values():
        if issubclass(item, errors.RequestError):
            assert 400 <= STATUS[item.code] < 500
        if issubclass(item, Unavailable):
            assert STATUS[item.code] == 503
        if issubclass(item, errors.ModelError):
            assert STATUS[item.code] == 500


def test_an_error_keeps_its_message() -> None:
    error = InvalidInput("weight: missing", [Detail("weight", "missing")])
    assert str(error) == error.message == "weight: missing"
    assert describe(error) == {
        "code": "invalid_input",
        "message": "weight: missing",
        "details": [{"field": "weight", "problem": "missing"}],
    }
    assert Overloaded("full", retry_after=7).retry_after == 7
    assert KeraportError("x").details == []


@pytest.mark.parametrize("value", [0, 0.0, False, "", "null"])
def test_a_detail_keeps_values_that_are_falsy(value: object) -> None:
    assert Detail("a", "b", value, "c").as_dict() == {
        "field": "a",
        "problem": "b",
        "value": value,
        "expected": "c",
    }


def test_a_single_problem_is_part_of_the_message() -> None:
    assert invalid([Detail("a", "missing")]).message == "a: missing"
    assert invalid([Detail("a", "missing", expected="x")]).message == "a: missing, expected x"
    assert invalid([Detail("a", "b"), Detail("c", "d")]).message == "the input has 2 problems"


@pytest.mark.parametrize("count", [MAX_DETAILS - 1, MAX_DETAILS])
def test_as_many_details_as_fit_are_all_listed(count: int) -> None:
    error = invalid([Detail(str(i), "x") for i in range(count)])
    assert len(error.details) == count
    assert error.message == f"the input has {count} problems"


def test_more_details_are_cut_and_the_message_says_so() -> None:
    details = [Detail(str(i), "x") for i in range(MAX_DETAILS + 1)]
    error = invalid(details)
    assert error.details == details[:MAX_DETAILS]
    assert error.message == (
        f"the input has {MAX_DETAILS + 1} problems, of which the first {MAX_DETAILS} are listed"
    )
    assert "at least 101 problems" in invalid(details, more=True).message


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "null"),
        (True, True),
        (1.5, 1.5),
        (2**64 - 1, 2**64 - 1),
        (2**64, 2.0**64),
        (-(2**63), -(2**63)),
        (-(2**63) - 1, -(2.0**63)),
        ("x" * 100, "x" * 100),
        ("x" * 101, "x" * 100 + "…"),
        ([1], "a list"),
        ({"a": 1}, "an object"),
    ],
)
def test_a_value_is_shown_short_and_as_json_can_carry_it(value: object, shown: object) -> None:
    assert short(value) == shown
    assert type(short(value)) is type(shown)


def test_an_error_of_ours_tells_the_log_and_not_the_client(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = Flask("keraport")
    ErrorAnswers(Settings(), lambda status, body: Response(str(body), status)).install(app)
    app.after_request(add_request_id)

    @app.get("/api/boom")
    def boom() -> str:
        raise RuntimeError("/srv/secret/path")

    answer = app.test_client().get("/api/boom")
    assert answer.status_code == 500
    assert answer.get_json()["error"]["code"] == "internal"
    (told,) = (record.__dict__ for record in caplog.records)
    assert told["id"] == answer.headers["X-Request-ID"]
    assert "RuntimeError" in told["exception"]
    assert "boom" in told["exception"]
    for trait in ("secret", "RuntimeError", "Traceback", ".py"):
        assert trait not in answer.text
