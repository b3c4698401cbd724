"""Vocabularies beside a model, in the forms that training scripts leave them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.errors import CardError
from app.serving.cards.problems import one_line
from app.serving.cards.text_input import VOCABULARY_FILES, Level, Punctuation, Side

# What Keras's Tokenizer takes for punctuation, and what its TextVectorization removes
# (keras/src/legacy/preprocessing/text.py, keras/src/layers/preprocessing/text_vectorization.py).
FILTERS = '!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n'
REMOVED = "!\"#$%&()*+,-./:;<=>?@[\\]^_`{|}~'"
# The first entries of a vocabulary of Keras's TextVectorization.
_VECTORIZED = ("", "[UNK]")
# Usual names of what stands for all other words, and for padding.
_UNKNOWN = ("[UNK]", "<unk>", "<UNK>", "<oov>", "<OOV>", "[OOV]", "UNK", "OOV")
_PADDING = ("", "<pad>", "<PAD>", "[PAD]", "PAD")


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The contents of a file, with the settings that go with its form.

    ids: of the file; `offset` is added to them. source: the form in words. certain: whether the
    file or its form shows how words are separated; `padded`: and how texts are padded. start,
    unknown: ids that go with the form's own offset. unknown_entry, padding_entry: ids of the file
    that stand for other words, and for padding. limit: ids from here on are unknown.
    """

    ids: Mapping[str, int] = field(repr=False)
    source: str
    certain: bool = False
    padded: bool = False
    level: Level = "word"
    lower: bool = True
    ascii: bool = False
    filters: str = FILTERS
    punctuation: Punctuation = "attached"
    split: str | None = " "
    offset: int = 0
    start: int | None = None
    unknown: int | None = None
    unknown_entry: int | None = None
    padding_entry: int | None = None
    side: Side = "pre"
    limit: int | None = None


def read_vocabulary(path: Path) -> Vocabulary:
    """Read a vocabulary: one token a line, `Tokenizer.to_json()` of Keras, or the word index of a
    data set of Keras, such as IMDB. Raises CardError, with what is wrong in the message."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise CardError(f"{path.name} cannot be read: {one_line(error)}") from None
    if path.suffix.lower() != ".json":
        return _of_lines(text, path.name)
    try:
        value = json.loads(text)
        # `json.dump(tokenizer.to_json(), file)` encodes twice.
        value = json.loads(value) if isinstance(value, str) else value
        found = _of_json(value)
    except (ValueError, RecursionError) as error:
        raise CardError(f"{path.name} cannot be read: {one_line(error)}") from None
    if found is None:
        raise CardError(
            f'{path.name}: expected each word with its index, such as {{"the": 1}}, or what '
            "to_json() of Keras's Tokenizer gives"
        )
    return found


def vocabulary_beside(folder: Path) -> str | None:
    """Return the name of the vocabulary beside a model; None where there is none. Files of the same
    name may be something else, such as `tokenizer.json` of other libraries."""
    for name in VOCABULARY_FILES:
        if (folder / name).is_file():
            try:
                read_vocabulary(folder / name)
            except CardError:
                continue
            return name
    return None


def _of_lines(text: str, name: str) -> Vocabulary:
    tokens = text.removesuffix("\n").replace("\r\n", "\n").split("\n")
    ids: dict[str, int] = {}
    for i, token in enumerate(tokens):
        if ids.setdefault(token, i) != i:
            raise CardError(f"{name}: line {i + 1} has {token!r} a second time")
    unknown = next((ids[token] for token in _UNKNOWN if token in ids), None)
    padding = next((ids[token] for token in _PADDING if token in ids), None)
    if tuple(tokens[:2]) == _VECTORIZED:
        return Vocabulary(
            ids,
            "the vocabulary of a TextVectorization",
            certain=True,
            padded=True,
            ascii=True,
            filters=REMOVED,
            punctuation="removed",
            split=None,
            unknown_entry=unknown,
            padding_entry=padding,
            side="post",
        )
    signs = [token for token in ids if len(token) == 1]
    capitals = any(token != token.lower() for token in ids if token not in (*_UNKNOWN, *_PADDING))
    if len(signs) > len(ids) // 2:
        return Vocabulary(
            ids,
            "a list of characters",
            certain=True,
            level="character",
            lower=not capitals,
            filters="",
            unknown_entry=unknown,
            padding_entry=padding,
        )
    separate = any(sign in FILTERS for sign in signs if not sign.isspace())
    return Vocabulary(
        ids,
        "a list of words",
        filters="" if separate else FILTERS,
        punctuation="separate" if separate else "attached",
        lower=not capitals,
        split=None,
        unknown_entry=unknown,
        padding_entry=padding,
    )


def _of_json(value: Any) -> Vocabulary | None:
    if not isinstance(value, dict):
        return None
    if value.get("class_name") == "Tokenizer" and isinstance(value.get("config"), dict):
        return _of_tokenizer(value["config"])
    ids = _word_index(value)
    if ids is None:
        return None
    return Vocabulary(ids, "the word index of a data set of Keras", offset=3, start=1, unknown=2)


def _of_tokenizer(config: Mapping[str, Any]) -> Vocabulary | None:
    ids = _word_index(config.get("word_index"))
    if ids is None:
        return None
    out, limit = config.get("oov_token"), config.get("num_words")
    characters = config.get("char_level") is True
    split = config.get("split", " ")
    return Vocabulary(
        ids,
        "a Tokenizer of Keras",
        certain=True,
        level="character" if characters else "word",
        lower=config.get("lower") is not False,
        filters="" if characters else str(config.get("filters") or ""),
        split=split if isinstance(split, str) and split else " ",
        unknown_entry=ids.get(out) if isinstance(out, str) else None,
        limit=limit if isinstance(limit, int) and limit > 0 else None,
    )


def _word_index(value: Any) -> dict[str, int] | None:
    """Return each word with its index; None where it is anything else."""
    if isinstance(value, str):
        value = json.loads(value)
    if not isinstance(value, dict) or not value:
        return None
    if not all(type(index) is int and 0 <= index < 2**31 for index in value.values()):
        return None
    return value
