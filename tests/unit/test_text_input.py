"""Inputs that take texts: what a card may say, what is inferred, bodies, limits."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.errors import BadRequest, CardError, InvalidInput
from app.serving.cards.card import Card
from app.serving.cards.inference.guesses import guesses
from app.serving.cards.inference.infer import completed
from app.serving.cards.read import parse_card
from app.serving.cards.text_input import VOCABULARY_FILES, TokenIndex
from app.serving.cards.vocabularies import read_vocabulary, vocabulary_beside
from app.serving.limits import MAX_CHARACTERS
from app.serving.signature import Signature, TextEvidence
from app.serving.tasks import Limits, Payload, RowTask
from app.serving.tasks.base import Part
from app.serving.tasks.inputs.text import Text
from app.serving.tasks.inputs.tokens import Tokens
from tests.unit.signatures import Shape, fields_of, problems, signature, spec

WORDS = ["", "<unk>", "the", "film", "good"]


def of_ids(shape: Shape = (None, 4), dtype: str = "int32", tokens: int | None = 5) -> Signature:
    """A classifier whose ids go into an Embedding."""
    found = signature(spec("ids", dtype, shape), classes=2, activation="softmax")
    return replace(found, texts={"ids": TextEvidence(ids=True, tokens=tokens)})


def of_strings(shape: Shape = (None, 1)) -> Signature:
    found = signature(spec("text", "string", shape), classes=2, activation="softmax")
    return replace(found, texts={"text": TextEvidence(ids=False)})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "vocabulary.txt").write_text("\n".join(WORDS) + "\n")
    return tmp_path


def made(of: Signature, folder: Path, limits: Limits | None = None, **said: Any) -> RowTask:
    inputs = {"x": {"kind": "text", **said}} if said else None
    card = Card.model_validate({"inputs": inputs} if inputs else {})
    card = completed(card, of, [folder])[0]
    return RowTask(card, of, limits or Limits())


def body(value: Any) -> Payload:
    return Payload("json", json.dumps(value).encode())


def form(*parts: tuple[str, str, str | None]) -> Payload:
    made = [Part(n, file, io.BytesIO(t.encode()), len(t.encode())) for n, t, file in parts]
    return Payload("form", parts=made)


# --- vocabularies


def test_the_forms_of_vocabularies(tmp_path: Path) -> None:
    def read(name: str, text: str) -> Any:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return read_vocabulary(tmp_path / name)

    lines = read("vocabulary.txt", "<pad>\n<unk>\nthe\nfilm\n")
    assert lines.ids == {"<pad>": 0, "<unk>": 1, "the": 2, "film": 3}
    assert (lines.unknown_entry, lines.padding_entry, lines.certain) == (1, 0, False)
    assert read("a.txt", "\ufeffthe\r\nfilm\r\n").ids == {"the": 0, "film": 1}
    assert read("a.txt", "the\n.\nfilm").punctuation == "separate"
    assert read("a.txt", "the\nFilm").lower is False
    assert read("a.txt", "\na\nb\nC").level == "character"
    vectorized = read("a.txt", "\n[UNK]\nthe\nfilm\n")
    assert (vectorized.punctuation, vectorized.side, vectorized.padded) == ("removed", "post", True)
    index = read("word_index.json", '{"the": 1, "film": 2}')
    assert (index.offset, index.start, index.unknown) == (3, 1, 2)
    tokenizer = {"class_name": "Tokenizer", "config": {"word_index": '{"the": 1}', "num_words": 9}}
    for text in (json.dumps(tokenizer), json.dumps(json.dumps(tokenizer))):
        assert read("tokenizer.json", text).ids == {"the": 1}
        assert read("tokenizer.json", text).limit == 9


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "the\nfilm\nthe\n", "a.txt: line 3 has 'the' a second time"),
        ("a.txt", b"\xff\xfe", "a.txt cannot be read"),
        ("a.json", "{", "a.json cannot be read"),
        ("a.json", "[1]", "a.json: expected each word with its index"),
        ("a.json", "{}", "a.json: expected each word with its index"),
        ("a.json", '{"the": 1.5}', "a.json: expected each word with its index"),
        ("a.json", '{"the": true}', "a.json: expected each word with its index"),
        ("a.json", '{"class_name": "Tokenizer", "config": {}}', "a.json: expected each word"),
        ("a.json", '{"model": {"type": "BPE", "vocab": {}}}', "a.json: expected each word"),
        ("a.json", "[" * 100_000, "a.json cannot be read"),
    ],
)
def test_files_that_are_no_vocabulary(
    tmp_path: Path, name: str, text: str | bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(CardError, match=message):
        read_vocabulary(tmp_path / name)


def test_the_first_vocabulary_beside_a_model_counts(tmp_path: Path) -> None:
    assert vocabulary_beside(tmp_path) is None
    (tmp_path / "word_index.json").write_text('{"the": 1}')
    assert vocabulary_beside(tmp_path) == "word_index.json"
    # That of other libraries has the same name.
    (tmp_path / "tokenizer.json").write_text('{"model": {"type": "BPE"}}')
    assert vocabulary_beside(tmp_path) == "word_index.json"
    (tmp_path / "vocabulary.txt").write_text("the\n")
    assert vocabulary_beside(tmp_path) == "vocabulary.txt"


# --- the card


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{kind: text, split: words}", "unknown key 'inputs.x.split'"),
        ("{kind: text, level: words}", "inputs.x.level: expected 'word' or 'character'"),
        ("{kind: text, padding: left}", "inputs.x.padding: expected 'pre' or 'post'"),
        ("{kind: text, length: 0}", "inputs.x.length: expected greater"),
        ("{kind: text, length: 100001}", "inputs.x.length: expected less"),
        ("{kind: text, offset: -1}", "inputs.x.offset: expected greater"),
        ("{kind: text, start: true}", "inputs.x.start: expected a whole number"),
    ],
)
def test_what_a_card_may_not_say(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "model.yaml").write_text(f"inputs: {{x: {text}}}")
    with pytest.raises(CardError) as caught:
        parse_card(tmp_path)
    assert re.search(message, caught.value.message), caught.value.message


@pytest.mark.parametrize(
    ("of", "said", "message"),
    [
        (of_strings(), {"length": 3}, "inputs.x: length: the model takes texts as they are"),
        (of_strings((None, 7)), {}, "the kind text needs an input of texts.*use 'kind: tensor'"),
        (of_ids((None, 2, 3)), {}, "the kind text needs an input of texts.*use 'kind: tensor'"),
        (of_ids(), {"vocabulary": "../x"}, "inputs.x.vocabulary: '../x' is not a file of this"),
        (of_ids(), {"vocabulary": "x.txt"}, "inputs.x.vocabulary: there is no file x.txt"),
        (of_ids(), {"length": 5}, "inputs.x.length 5 does not match the model's 4"),
        (of_ids((None, None)), {}, "inputs.x: the model takes texts of any length: say with 'len"),
        (of_ids(), {"offset": 5}, "inputs.x.offset 5 leaves no word below 5"),
        (of_ids(), {"unknown": "oov"}, "inputs.x.unknown: the vocabulary has no entry 'oov'"),
        (of_ids(), {"unknown": 5}, "inputs.x.unknown 5 is not below 5, the model's tokens"),
        (of_ids(), {"start": 9}, "inputs.x.start 9 is not below 5, the model's tokens"),
    ],
)
def test_a_card_that_does_not_fit_says_why(
    of: Signature, said: dict[str, Any], message: str, folder: Path
) -> None:
    with pytest.raises(CardError, match=message):
        made(of, folder, kind="text", **said)


def test_the_length_is_within_that_of_the_card(folder: Path) -> None:
    def card(length: int, most: int) -> Card:
        text = {"kind": "text", "length": length}
        card = Card.model_validate({"inputs": {"x": text}, "runtime": {"max_length": most}})
        return completed(card, of_ids((None, None)), [folder])[0]

    card(9, 9)
    with pytest.raises(CardError, match=r"inputs.x.length 10 exceeds 9: set runtime.max_length, t"):
        card(10, 9)
    with pytest.raises(CardError, match="4,097 exceeds 4,096"):
        made(of_ids((None, None)), folder, kind="text", length=4097)


def test_ids_without_their_words_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CardError, match="there is no vocabulary beside it"):
        made(of_ids(), tmp_path, kind="text")
    (tmp_path / "vocabulary.txt").write_text("the\nthe\n")
    with pytest.raises(CardError, match=r"inputs\.x\.vocabulary: vocabulary.txt: line 2 has 'the'"):
        made(of_ids(), tmp_path, kind="text", vocabulary="vocabulary.txt")


def test_the_files_that_belong_to_a_card() -> None:
    def files(text: dict[str, Any]) -> set[str]:
        return Card.model_validate(text).files() - {"labels.txt"}

    assert files({}) == {*VOCABULARY_FILES}
    assert files({"inputs": {"x": {"kind": "text"}}}) == {*VOCABULARY_FILES}
    assert files({"inputs": {"x": {"kind": "text", "vocabulary": "./a.txt"}}}) == {"a.txt"}
    assert files({"inputs": {"x": {"kind": "tensor"}}}) == set()
    assert files({"task": "tensor"}) == set()


# --- what is inferred


@pytest.mark.parametrize("shape", [(None,), (None, 1)])
def test_strings_are_texts(shape: Shape, tmp_path: Path) -> None:
    of = of_strings(shape)
    (card, _), bare = completed(None, of, [tmp_path]), replace(of, meanings=(), parameters=None)
    assert [each.kind for each in (card.inputs or {}).values()] == ["text"]
    assert [g.key for g in guesses(None, card, of)] == ["outputs.y.labels"]
    # A SavedModel as well.
    card, _ = completed(None, bare, [tmp_path])
    assert [each.kind for each in (card.inputs or {}).values()] == ["text"]
    assert [g.key for g in guesses(None, card, bare)] == ["outputs.y.kind"]
    # Without evidence it may be a picture in bytes, or a record.
    assert completed(None, replace(of, texts={}), [])[0].task == "tensor"


def test_ids_beside_a_vocabulary_are_texts(folder: Path) -> None:
    def kind(of: Signature, *folders: Path) -> tuple[str | None, list[str]]:
        card = completed(None, of, folders)[0]
        return card.task, [each.kind for each in (card.inputs or {}).values()]

    def keys(of: Signature, *folders: Path) -> list[str]:
        return [guess.key for guess in guesses(None, completed(None, of, folders)[0], of)]

    assert kind(of_ids(), folder) == (None, ["text"])
    assert keys(of_ids(), folder) == [
        *("inputs", "inputs.ids.punctuation", "inputs.ids.padding", "outputs.y.labels")
    ]
    for of, folders, missing in (
        (of_ids(), [], "vocabulary"),
        (of_ids((None, None)), [folder], "length"),
        (of_ids(tokens=2), [folder], "vocabulary"),  # it gives the next token
    ):
        assert kind(of, *folders) == ("tensor", [])
        assert keys(of, *folders) == [f"inputs.ids.{missing}"]
    without = replace(of_ids(), texts={})
    assert kind(without, folder) == ("tabular-classification", [])


def test_a_card_ends_the_guessing(folder: Path) -> None:
    said = {"punctuation": "attached", "padding": "pre", "truncation": "post"}
    card = Card.model_validate(
        {
            "inputs": {"x": {"kind": "text", **said}},
            "outputs": {"y": {"kind": "classes", "labels": ["a", "b"]}},
        }
    )
    assert guesses(card, completed(card, of_ids(), [folder])[0], of_ids()) == []


# --- ids


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


# --- bodies


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


# --- answers


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
