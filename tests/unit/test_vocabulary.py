"""Text to tokens and back."""

from __future__ import annotations

import pytest

from app.serving.cards.card import TextSettings
from app.serving.tasks.vocabulary import Joiner, Vocabulary

TOKENS = ["", "<unk>", "the", "network", ",", ".", "(", ")", "feed-forward", "a"]


def vocabulary(**settings: object) -> Vocabulary:
    return Vocabulary(TextSettings.model_validate(settings), TOKENS)


def test_words_and_signs_are_tokens_of_their_own() -> None:
    text = "The feed-forward network (a), don't; 3.5 and/or x_1"
    assert vocabulary().split(text) == [
        *("the", "feed-forward", "network", "(", "a", ")", ",", "don't", ";"),
        *("3", ".", "5", "and/or", "x_1"),
    ]


def test_signs_may_stay_attached_and_capitals_kept() -> None:
    split = vocabulary(punctuation="attached", lower=False).split
    assert split("The network, (a).") == ["The", "network,", "(a)."]


def test_characters() -> None:
    assert vocabulary(level="character").split("Ab c") == ["a", "b", " ", "c"]


def test_unknown_words_are_named_once_and_stand_as_the_unknown() -> None:
    assert vocabulary().encode(["the", "zebra", "network", "zebra", "<unk>"]) == (
        [2, 1, 3, 1, 1],
        ["zebra", "<unk>"],
    )


def test_without_an_unknown_token_they_are_left_out() -> None:
    assert vocabulary(unknown="?").encode(["the", "zebra"]) == ([2], ["zebra"])


def test_padding_and_the_unknown_are_never_said() -> None:
    assert vocabulary().never == (0, 1)
    assert vocabulary(unknown="?").never == (0,)


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        (["the", "network", ",", "a", "."], "the network, a."),
        (["the", "(", "a", ")", "network"], "the (a) network"),
        ([], ""),
    ],
)
def test_tokens_are_joined_as_people_write(tokens: list[str], text: str) -> None:
    joiner = Joiner(TextSettings())
    assert "".join(map(joiner.piece, tokens)) == text


def test_the_first_piece_is_joined_to_what_was_before() -> None:
    settings = TextSettings()
    assert Joiner(settings, ["the"]).piece("network") == " network"
    assert Joiner(settings, ["the"]).piece(".") == "."
    assert Joiner(settings, ["("]).piece("a") == "a"


def test_characters_are_joined_without_spaces() -> None:
    joiner = Joiner(TextSettings(level="character"), ["a"])
    assert "".join(map(joiner.piece, "b c")) == "b c"
