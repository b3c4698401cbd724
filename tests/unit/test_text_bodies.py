"""Texts in requests become strings or ids."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.errors import BadRequest, CardError, InvalidInput
from app.serving.cards.card import Card
from app.serving.cards.inference.infer import completed
from app.serving.cards.text_input import TokenIndex
from app.serving.limits import MAX_CHARACTERS
from app.serving.tasks import Limits, Payload, RowTask
from app.serving.tasks.base import Part
from app.serving.tasks.inputs.text import Text
from app.serving.tasks.inputs.tokens import Tokens
from tests.unit.signatures import fields_of, problems
from tests.unit.text_models import WORDS, made, of_ids, of_strings


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "vocabulary.txt").write_text("\n".join(WORDS) + "\n")
    return tmp_path


def body(value: Any) -> Payload:
    return Payload("json", json.dumps(value).encode())


def form(*parts: tuple[str, str, str | None]) -> Payload:
    made = [Part(n, file, io.BytesIO(t.encode()), len(t.encode())) for n, t, file in parts]
    return Payload("form", parts=made)


def ids(text: str, **settings: Any) -> tuple[list[int], float]:
    words = {"the": 1, "film": 2, ".": 3, "good": 4, "?": 9}
    return Tokens(TokenIndex(words, 4, **settings)).ids(text)


def test_texts_become_ids() -> None:
    assert ids("The film") == ([1, 2], 0)
    assert ids("The film", lower=False) == ([2], 0.5)
    assert ids("The film", lower=False, unknown=7, start=8) == ([8, 7, 2], 0.5)
    assert ids("good.film", filters=".") == ([4, 2], 0)
    assert ids("good.film", filters=".", punctuation="removed") == ([], 1)
    assert ids("Good film.", punctuation="separate") == ([4, 2, 3], 0)
    assert ids("good,film", split=",") == ([4, 2], 0)
    assert ids("?.", level="character") == ([9, 3], 0)
    found, share = ids("good ? what", unknown=9)
    assert found == [4, 9, 9]
    assert share == pytest.approx(2 / 3)
    assert ids(" ") == ([], 1)


@pytest.mark.parametrize(
    ("sides", "short", "long"),
    [
        (("pre", "pre"), [0, 0, 1, 2], [3, 4, 5, 6]),
        (("post", "pre"), [1, 2, 0, 0], [3, 4, 5, 6]),
        (("pre", "post"), [0, 0, 1, 2], [1, 2, 3, 4]),
        (("post", "post"), [1, 2, 0, 0], [1, 2, 3, 4]),
    ],
)
def test_ids_are_padded_or_cut(sides: Any, short: list[int], long: list[int]) -> None:
    made = Tokens(TokenIndex({"a": 1}, 4, padding=sides[0], truncation=sides[1]))
    row = np.empty(4, np.int32)
    for given, wanted in (([1, 2], short), ([1, 2, 3, 4, 5, 6], long), ([], [0, 0, 0, 0])):
        made.fill(row, given)
        assert row.tolist() == wanted


def test_an_example_is_known() -> None:
    for words in ({"a": 1}, {"?": 1}, {"<unk>": 1, "b": 2}, {"": 0, "New York": 1}, {"": 0}):
        made = Tokens(TokenIndex(words, 4, unknown=words.get("<unk>")))
        known = {word for word in words if word.strip() and word != "<unk>" and " " not in word}
        assert (made.ids(made.example())[1] < 1) == bool(known)


def test_every_form_of_a_text(folder: Path) -> None:
    task = made(of_ids(), folder)
    for payload in (
        body("the film"),
        body(["the film"]),
        body([["the film"]]),
        body({"ids": "the film"}),
        body([{"text": "the film"}]),
        Payload("csv", b"ids\nthe film\n"),
        Payload("csv", b"text\nthe film\n"),
        form(("ids", "the film", None)),
        form(("text", "the film", "a.txt")),
        form(("file", "ids\nthe film\n", "a.csv")),
    ):
        (array,) = task.read(payload)
        assert array.tolist() == [[0, 0, 2, 3]]
        assert array.dtype == np.int32
    (strings,) = made(of_strings(), folder).read(body(["é", "x"]))
    assert strings.tolist() == [["é".encode()], [b"x"]]
    (strings,) = made(of_strings((None,)), folder).read(body("a"))
    assert strings.tolist() == [b"a"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (5, {"ids": "wrong type"}),
        ([5, None, "good"], {"[0]": "wrong type", "[1]": "wrong type"}),
        ([["a", "b"], []], {"[0]": "wrong type", "[1]": "wrong type"}),
        (["", "\n", "good"], {"[0]": "empty", "[1]": "empty"}),
        ({"ids": ""}, {"ids": "empty"}),
        ([{"ids": ""}, "unseen"], {"[0].ids": "empty", "[1]": "no known word"}),
        ({"ids": "good", "other": 1}, {"other": "unexpected"}),
        ({"other": "good"}, {"ids": "missing", "other": "unexpected"}),
    ],
)
def test_problems_of_bodies(value: Any, expected: dict[str, str], folder: Path) -> None:
    assert fields_of(problems(made(of_ids(), folder), body(value))) == expected


def test_bodies_that_cannot_be_read(folder: Path) -> None:
    task = made(of_ids(), folder)
    for payload, message in (
        (Payload("json", b"good"), 'not JSON.*expected a text, as "…" or {"text": "…"}'),
        (body([]), "the list is empty"),
        (form(("other", "x", None)), "expected texts as fields 'ids', or one CSV as the field 'f"),
        (Payload("csv", b"other\nx\n"), "names no field of this model"),
    ):
        with pytest.raises(BadRequest, match=message):
            task.read(payload)


def test_a_text_is_limited(folder: Path) -> None:
    for of in (of_ids(), of_strings()):
        task = made(of, folder)
        text = "good " * (MAX_CHARACTERS // 5)
        assert len(text) == MAX_CHARACTERS
        task.read(body(text))
        (problem,) = problems(task, body(text + "x"))
        assert (problem.problem, problem.expected) == ("too long", "at most 10,000 characters")


def test_texts_are_limited_by_their_number(folder: Path) -> None:
    limits = Limits(max_rows=3)
    for of in (of_ids(), of_strings()):
        task = made(of, folder, limits)
        assert len(task.read(body(["good"] * 3))[0]) == 3
        with pytest.raises(InvalidInput, match="4 rows"):
            task.read(body(["good"] * 4))
    # 4 bytes a token: as many as the largest body has in binary form.
    task = made(of_ids(), folder, Limits(max_body_bytes=3 * 4 * 4))
    assert len(task.read(body(["good"] * 3))[0]) == 3
    with pytest.raises(InvalidInput, match=r"4 texts of 4 tokens each, expected at most 3 in one"):
        task.read(body(["good"] * 4))


def test_many_problems_are_not_all_looked_for(folder: Path) -> None:
    with pytest.raises(InvalidInput, match="at least 1001 problems") as caught:
        made(of_ids(), folder).read(body([""] * 100_000))
    assert len(caught.value.details) == 100


def test_an_answer_tells_the_share_of_unknown_words(folder: Path) -> None:
    task = made(of_ids(), folder)
    parsed = task.parse(body(["good film", "good unseen unseen"]))
    scores = np.array([[0.25, 0.75]] * 2, np.float32)
    first, second = task.answer([scores, *task.shares(parsed)])
    assert (first["unknown_share"], second["unknown_share"]) == (0, 0.667)
    assert first["label"] == "1"
    assert "unknown_share" in task.answer_schema()["required"]
    # Of raw tensors nothing is known.
    assert "unknown_share" not in task.answer([scores])[0]
    strings = made(of_strings(), folder)
    assert strings.shares(strings.parse(body("a"))) == []
    assert "unknown_share" not in strings.answer_schema()["properties"]


def test_texts_of_other_protocols(folder: Path) -> None:
    task = made(of_ids(), folder)
    assert task.tokens({"ids": [b"the film"]})["ids"].tolist() == [[0, 0, 2, 3]]
    with pytest.raises(InvalidInput) as caught:
        task.tokens({"ids": [b"", b"good", b"x" * 10_001]})
    assert fields_of(caught.value.details) == {"ids[0]": "empty", "ids[2]": "too long"}
    # What the model takes as it is stays as it is.
    strings = made(of_strings(), folder)
    assert strings.tokens({"text": [b"\xff", b"", "é".encode() * 10_000]}) == {}
    with pytest.raises(InvalidInput) as caught:
        strings.tokens({"text": [b"a", "é".encode() * 10_001]})
    assert fields_of(caught.value.details) == {"text[1]": "too long"}
    (taken,) = task.inputs
    assert isinstance(taken, Text)
    assert taken.example()["ids"].shape == (1, 4)


def test_labels_of_a_card_without_a_task_are_those_of_the_only_classes(folder: Path) -> None:
    """As of a model of pictures: a text model has no task, but what is meant is clear."""
    for of in (of_ids(), of_strings()):
        stated = Card.model_validate({"labels": ["bad", "good"]})
        found, settled = completed(stated, of, [folder])
        assert RowTask(found, settled, Limits()).labels() == {"y": ["bad", "good"]}
        with pytest.raises(CardError, match="labels: these go with a task"):
            completed(Card.model_validate({"labels": ["a", "b", "c"]}), of, [folder])
