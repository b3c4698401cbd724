"""Models of texts, in the layouts that their authors have: tiny, with random weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
from keras import layers

from tests.saved_once import saved_once

WORDS = ["the", "film", "was", "good", "bad", "don't", "über"]
LABELS = ["bad", "fair", "good"]
# Of Keras's IMDB: the rarest have ids that its models do not know.
WORD_INDEX = {word: i + 1 for i, word in enumerate([*WORDS, "rare", "rarest"])}
# Ids below this: the three reserved, and the seven words.
IMDB_TOKENS = 11
IMDB_LENGTH = 6
CHARACTERS = ["", "<unk>", *"abcdefghijklmnopqrstuvwxyz .!"]


def embedded(inputs: Any, tokens: int, last: layers.Layer) -> Any:
    """The mean of embeddings that keep their place, so that padding matters."""
    found = layers.Embedding(tokens, 4, embeddings_initializer="random_normal")(inputs)
    found = layers.SimpleRNN(5)(found)
    return last(found)


def sentiment() -> keras.Model:
    """A text as it is, to three classes."""
    text = layers.Input((1,), dtype="string", name="review")
    ids = layers.TextVectorization(
        vocabulary=WORDS, output_sequence_length=8, name="vectorization"
    )(text)
    return keras.Model(text, embedded(ids, len(WORDS) + 2, layers.Dense(3, "softmax", name="mood")))


def imdb() -> keras.Model:
    """Ids of any number of words, to one probability."""
    ids = layers.Input((None,), dtype="int32", name="ids")
    return keras.Model(ids, embedded(ids, IMDB_TOKENS, layers.Dense(1, "sigmoid", name="liked")))


def stars() -> keras.Model:
    """Twelve ids as float32, to a number."""
    ids = layers.Input((12,), name="ids")
    model = keras.Model(ids, embedded(ids, len(WORDS) + 2, layers.Dense(1, name="stars")))
    model.compile(loss="mse")
    return model


def spelling() -> keras.Model:
    """Sixteen ids of characters, to features."""
    ids = layers.Input((16,), dtype="int64", name="letters")
    return keras.Model(
        ids, embedded(ids, len(CHARACTERS), layers.Dense(3, "tanh", name="features"))
    )


def advert() -> keras.Model:
    """A text and two numbers, to one probability."""
    text = layers.Input((), dtype="string", name="title")
    facts = layers.Input((2,), name="facts")
    ids = layers.TextVectorization(vocabulary=WORDS, output_mode="multi_hot")(text)
    both = layers.Concatenate()([ids, facts])
    return keras.Model([text, facts], layers.Dense(1, "sigmoid", name="sold")(both))


def tokenizer_json() -> str:
    """What `to_json()` of Keras's Tokenizer gives."""
    index = {word: i + 1 for i, word in enumerate(["<OOV>", *WORDS])}
    config = {
        "num_words": len(WORDS) + 2,
        "filters": '!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n',
        "lower": True,
        "split": " ",
        "char_level": False,
        "oov_token": "<OOV>",
        "word_index": json.dumps(index),
        "index_word": json.dumps({str(i): word for word, i in index.items()}),
    }
    return json.dumps({"class_name": "Tokenizer", "config": config})


def _layouts() -> dict[str, tuple[Callable[[], keras.Model], dict[str, str]]]:
    """Each model, and the files beside it."""
    imdb_card = (
        f"inputs: {{review: {{kind: text, length: {IMDB_LENGTH}}}}}\n"
        "outputs: {liked: {kind: classes, labels: [no, yes]}}\n"
    )
    advert_card = (
        "inputs:\n  title: {kind: text}\n  facts: {kind: fields, fields: "
        "[{name: price, example: 5}, {name: age, example: 1}]}\n"
        "outputs: {sold: {kind: classes, labels: [no, yes]}}\n"
    )
    index = json.dumps(WORD_INDEX)
    return {
        "sentiment": (sentiment, {"labels.txt": "\n".join(LABELS)}),
        "imdb": (imdb, {"word_index.json": index, "model.yaml": imdb_card}),
        "stars": (stars, {"tokenizer.json": tokenizer_json()}),
        "spelling": (spelling, {"vocabulary.txt": "\n".join(CHARACTERS)}),
        "advert": (advert, {"model.yaml": advert_card}),
    }


@saved_once
def save_layout(folder: Path, name: str) -> None:
    """Save one of these models, with the files beside it."""
    make, files = _layouts()[name]
    folder.mkdir(parents=True)
    make().save(folder / "model.keras")
    for file, text in files.items():
        (folder / file).write_text(text, encoding="utf-8")


def save_texts(folder: Path) -> Path:
    """Save the models of this module as their authors would; returns the folder."""
    for name in _layouts():
        save_layout(folder / name, name)
    imdb().save(folder / "ids.keras")
    sentiment().export(folder / "exported", verbose=False)
    return folder


def padded(ids: list[int], length: int, side: str = "pre") -> Any:
    """What Keras's `pad_sequences` does."""
    return keras.utils.pad_sequences([ids], length, padding=side, truncating=side)
