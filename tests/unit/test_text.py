"""Requests for texts: which are accepted, and what is wrong with the others."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from app.errors import BadRequest, CardError, InvalidInput
from app.serving.cards.card import Card
from app.serving.limits import MAX_CHARACTERS
from app.serving.signature import Signature, TensorSpec
from app.serving.tasks.base import Limits, Payload
from app.serving.tasks.text import MAX_RANDOM_SEED, TextGeneration, TextRequest

TOKENS = ["", "<unk>", "the", "network", "is", "trained", "."]
SIGNATURE = Signature(
    (TensorSpec("words", "words:0", "int32", (None, None)),),
    (TensorSpec("next", "next:0", "float32", (None, len(TOKENS))),),
)


def task(**text: Any) -> TextGeneration:
    card = Card.model_validate(
        {"task": "text-generation", "text": {"vocabulary": TOKENS, "window": 3, **text}}
    )
    return TextGeneration(card, SIGNATURE, Limits())


def read(body: Any, **text: Any) -> TextRequest:
    return task(**text).read(Payload("json", orjson.dumps(body)))


def problems(body: Any, **text: Any) -> dict[str, str]:
    with pytest.raises(InvalidInput) as caught:
        read(body, **text)
    return {d.field: d.problem for d in caught.value.details}


def test_defaults_come_from_the_card() -> None:
    order = read({"seed": "The network"}, diversity={"min": 0.5, "max": 2, "default": 0.8})
    assert (order.tokens, order.words, order.diversity) == ([2, 3], 50, 0.8)
    assert (order.top_k, order.random_seed, order.unknown, order.actual) == (0, None, [], None)


def test_the_model_sees_the_end_of_a_long_seed() -> None:
    assert read({"seed": "the network is trained ."}).tokens == [4, 5, 6]


def test_unknown_words_are_named() -> None:
    order = read({"seed": "the quick network"})
    assert order.unknown == ["quick"]
    assert order.answer("is .")["unknown_words"] == ["quick"]


@pytest.mark.parametrize(
    ("key", "good", "bad"),
    [
        ("diversity", [0.5, 5, 1], [0.4, 5.1, "1", True, None, [1]]),
        ("words", [10, 100, 50.0], [9, 101, 1000, "ten", 10.5, True, None]),
        ("random_seed", [0, MAX_RANDOM_SEED, 3.0, None], [-1, MAX_RANDOM_SEED + 1, "1", 1.5, True]),
        ("top_k", [1, len(TOKENS), 2.0, None], [0, len(TOKENS) + 1, "1", 1.5, True]),
    ],
)
def test_both_sides_of_each_limit(key: str, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        assert isinstance(read({"seed": "the", key: value}), TextRequest)
    for value in bad:
        assert list(problems({"seed": "the", key: value})) == [key]


def test_all_problems_at_once() -> None:
    body = {"seed": 3, "diversity": 0.4, "words": "ten", "color": "red"}
    assert problems(body) == {
        "seed": "wrong type",
        "diversity": "out of range",
        "words": "wrong type",
        "color": "unexpected",
    }


@pytest.mark.parametrize(
    ("seed", "problem"),
    [
        ("", "empty"),
        ("  \n", "empty"),
        ("quick brown", "no known word"),
        ("the " * (MAX_CHARACTERS // 4) + "x", "too long"),
        (None, "missing"),
    ],
)
def test_seeds_that_nothing_can_be_made_of(seed: str | None, problem: str) -> None:
    assert problems({"seed": seed}) == {"seed": problem}


def test_the_longest_seed() -> None:
    assert read({"seed": "the " * (MAX_CHARACTERS // 4)}).tokens == [2, 2, 2]


def test_a_random_start_comes_with_its_continuation() -> None:
    order = read({"seed": None}, starts=["The network is trained. The network is."])
    assert order.seed == "the network is"
    assert order.actual == "trained. the network is."
    assert order.tokens == [2, 3, 4]
    assert read({}, starts=["The network is trained."]).actual is not None


@pytest.mark.parametrize("body", [[], "the", 3, None])
def test_anything_but_an_object_is_a_bad_request(body: Any) -> None:
    with pytest.raises(BadRequest, match="object"):
        read(body)


@pytest.mark.parametrize("data", [b"", b"{", b'{"seed": "\xff"}'])
def test_what_is_not_json_is_a_bad_request(data: bytes) -> None:
    with pytest.raises(BadRequest):
        task().read(Payload("json", data))


def test_the_vocabulary_must_fit_the_model() -> None:
    with pytest.raises(CardError, match="8 entries do not match the model's output of 7 tokens"):
        task(vocabulary=[*TOKENS, "more"])


@pytest.mark.parametrize(
    ("text", "seed"),
    [
        (
            {"starts": ["Zebra quagga", "The network is trained well, is it"]},
            "the network is trained",
        ),
        ({"starts": ["zebra"]}, "the"),
        ({}, "the"),
        ({"level": "character"}, "."),
    ],
    ids=["start", "unknown start", "none", "characters"],
)
def test_the_example_of_a_seed_is_known(text: dict[str, Any], seed: str) -> None:
    schema = task(**text).input_schema()
    assert schema["properties"]["seed"]["examples"] == [seed]
    assert read({"seed": seed}, **text).seed == seed


def test_the_schema_wants_a_seed_where_there_are_no_random_starts() -> None:
    schema = task().input_schema()
    assert schema["required"] == ["seed"]
    assert schema["properties"]["seed"]["type"] == "string"
    schema = task(starts=["the network"]).input_schema()
    assert schema["required"] == []
    assert schema["properties"]["seed"]["type"] == ["string", "null"]
