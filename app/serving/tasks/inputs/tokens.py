"""Texts become the ids of their tokens, as training made them: padded, or cut, to one length."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from app.serving.arrays import Array
from app.serving.cards.text_input import TokenIndex
from app.serving.tasks.vocabulary import words_and_signs

# Letters that `tf.strings.lower` knows without an encoding, and the white space of
# `tf.strings.split`: those of ASCII.
_ASCII_LOWER = {capital: capital + 32 for capital in range(ord("A"), ord("Z") + 1)}
_ASCII_WORD = re.compile(r"[^ \t\n\v\f\r]+")
# Words of an example of a text, and its characters.
_EXAMPLE = {"word": 4, "character": 12}
_SEPARATORS = {"word": " ", "character": ""}


class Tokens:
    """The ids of texts. index: of the card."""

    def __init__(self, index: TokenIndex) -> None:
        self.index = index
        blank = index.split or " "
        kept = "" if index.punctuation == "removed" else blank
        self._filters = str.maketrans(dict.fromkeys(index.filters, kept))

    def split(self, text: str) -> list[str]:
        """Return the tokens of a text, known or not."""
        index = self.index
        if index.lower:
            text = text.translate(_ASCII_LOWER) if index.ascii else text.lower()
        if self._filters:
            text = text.translate(self._filters)
        if index.level == "character":
            return list(text)
        if index.punctuation == "separate":
            return words_and_signs(text)
        if index.split is not None:
            return [word for word in text.split(index.split) if word]
        return _ASCII_WORD.findall(text) if index.ascii else text.split()

    def ids(self, text: str) -> tuple[list[int], float]:
        """Return the ids of a text, not yet padded or cut, and the share of its tokens that the
        model does not know; 1 for a text without any."""
        index = self.index
        found = [index.ids.get(token, index.unknown) for token in self.split(text)]
        known = sum(i is not None and i != index.unknown for i in found)
        ids = [i for i in found if i is not None]
        if index.start is not None:
            ids.insert(0, index.start)
        return ids, 1 - known / len(found) if found else 1.0

    def fill(self, row: Array, ids: Sequence[int]) -> None:
        """Write ids into a row of `length`, as Keras's `pad_sequences` does."""
        index = self.index
        length = index.length
        cut = ids[-length:] if index.truncation == "pre" else ids[:length]
        row[...] = index.padding_id
        if not cut:
            return
        if index.padding == "pre":
            row[-len(cut) :] = cut
        else:
            row[: len(cut)] = cut

    def example(self) -> str:
        """Return a text that the model knows: of tokens of letters, if it has some."""
        index = self.index
        known = [token for token, i in index.ids.items() if i != index.unknown and token.strip()]
        letters = [token for token in known if token.isalpha()]
        for tokens in (letters, known):
            for token in tokens:
                text = _SEPARATORS[index.level].join(
                    tokens[tokens.index(token) :][: _EXAMPLE[index.level]]
                )
                if self.ids(text)[1] < 1:
                    return text
        return "a text"

    def about(self) -> dict[str, Any]:
        """Return what people may want to know."""
        index = self.index
        return {
            "level": index.level,
            "vocabulary": len(index.ids),
            "length": index.length,
            "lower": index.lower,
            "padding": index.padding,
            "truncation": index.truncation,
            "start": index.start,
            "unknown": index.unknown,
        }


def room(count: int, length: int, dtype: str) -> Array:
    """Return room for the ids of `count` texts."""
    return np.empty((count, length), np.dtype(dtype))
