"""The ids of tokens, against those of Keras's own Tokenizer, TextVectorization and IMDB."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.serving.cards.card import Card
from app.serving.cards.inference.infer import completed
from app.serving.cards.text_input import TextInput
from app.serving.signature import TextEvidence
from app.serving.tasks.inputs.tokens import Tokens
from tests.unit.signatures import signature, spec

LENGTH = 7
CORPUS = [
    "The film was GOOD, don't you think?",
    "bad bad film\n(the worst)  I've seen -- ever",
    "über-gut! ÜBER\tgood\x0b[UNK] 3.5/10 İstanbul",
]
CHARACTERS = "aATtß ÜüİΣ'’.,!-_[]\t\n\r\x0b\x0c\xa0\u3000\u2028"
PIECES = st.sampled_from([*CHARACTERS, "film", "Good", "the", "UNK", "don't"])
TEXTS = st.lists(st.lists(PIECES, max_size=12).map("".join), min_size=1, max_size=4)
quickly = settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def tokens(folder: Path, tokens: int | None = None, **said: Any) -> Tokens:
    """What a card with these settings makes of the vocabulary in a folder."""
    of = signature(spec("ids", "int32", (None, LENGTH)), classes=2, activation="softmax")
    of = replace(of, texts={"ids": TextEvidence(ids=True, tokens=tokens)})
    card = Card.model_validate({"inputs": {"x": {"kind": "text", **said}}})
    (found,) = (completed(card, of, [folder])[0].inputs or {}).values()
    assert isinstance(found, TextInput)
    assert found.index is not None
    return Tokens(found.index)


def rows(made: Tokens, texts: list[str]) -> list[list[int]]:
    found = np.empty((len(texts), LENGTH), np.int64)
    for row, text in zip(found, texts, strict=True):
        made.fill(row, made.ids(text)[0])
    return found.tolist()


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"oov_token": "<OOV>"},
        {"num_words": 6, "oov_token": "film"},
        {"num_words": 6},
        {"lower": False, "filters": ""},
        {"filters": "aé", "split": "e"},
        {"char_level": True},
        {"char_level": True, "oov_token": "?", "lower": False, "num_words": 12},
    ],
)
@quickly
@given(texts=TEXTS, side=st.sampled_from(["pre", "post"]))
def test_a_tokenizer(tmp_path: Path, kwargs: dict[str, Any], texts: list[str], side: str) -> None:
    import keras
    from keras.src.legacy.preprocessing.text import Tokenizer

    theirs = Tokenizer(**kwargs)
    theirs.fit_on_texts(CORPUS)
    text = theirs.to_json()
    # Some encode what is JSON already once more.
    (tmp_path / "tokenizer.json").write_text(json.dumps(text) if side == "pre" else text)
    made = tokens(tmp_path, padding=side, truncation=side)
    wanted = keras.utils.pad_sequences(
        theirs.texts_to_sequences(texts), LENGTH, padding=side, truncating=side
    )
    assert rows(made, texts) == wanted.tolist()


@pytest.mark.parametrize("special", [True, False])
@quickly
@given(texts=TEXTS)
def test_the_vocabulary_of_a_text_vectorization(
    tmp_path: Path, special: bool, texts: list[str]
) -> None:
    import tensorflow as tf
    from keras import layers

    layer = layers.TextVectorization(output_sequence_length=LENGTH)
    layer.adapt(CORPUS)
    words = layer.get_vocabulary(include_special_tokens=special)
    (tmp_path / "vocabulary.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    said: dict[str, Any] = {}
    if not special:
        said = {"offset": 2, "unknown": 1, "punctuation": "removed", "padding": "post"}
        said |= {"truncation": "post", "lower": True}
    made = tokens(tmp_path, **said)
    # Letters beyond ASCII stay as they are in the layer, and in its vocabulary.
    asked = texts if special else [text for text in texts if text.isascii()] or ["good"]
    assert rows(made, asked) == layer(tf.constant(asked)).numpy().tolist()


@quickly
@given(texts=TEXTS, most=st.integers(5, 20))
def test_the_word_index_of_a_data_set(tmp_path: Path, texts: list[str], most: int) -> None:
    """As `imdb.load_data(num_words=most)` makes ids."""
    import keras
    from keras.src.legacy.preprocessing.text import text_to_word_sequence

    words = dict.fromkeys(word for text in CORPUS for word in text_to_word_sequence(text))
    index = {word: i + 1 for i, word in enumerate(words)}
    (tmp_path / "word_index.json").write_text(json.dumps(index))
    made = tokens(tmp_path, most)
    ids = [
        [1, *(index.get(word, 10**6) + 3 for word in text_to_word_sequence(text))] for text in texts
    ]
    wanted = keras.utils.pad_sequences([[i if i < most else 2 for i in row] for row in ids], LENGTH)
    assert rows(made, texts) == wanted.tolist()
