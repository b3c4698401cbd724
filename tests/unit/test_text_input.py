"""Inputs that take texts: what a card may say, what is inferred, bodies, limits."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.errors import CardError
from app.serving.cards.card import Card
from app.serving.cards.inference.guesses import guesses
from app.serving.cards.inference.infer import completed
from app.serving.cards.read import parse_card
from app.serving.cards.text_input import VOCABULARY_FILES
from app.serving.cards.vocabularies import read_vocabulary, vocabulary_beside
from app.serving.signature import Signature
from tests.unit.signatures import Shape
from tests.unit.text_models import WORDS, made, of_ids, of_strings


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "vocabulary.txt").write_text("\n".join(WORDS) + "\n")
    return tmp_path


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
