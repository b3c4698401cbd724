"""Text becomes the tokens of a model, and tokens become text again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from app.serving.cards.card import TextSettings

# A word with what holds it together (feed-forward, don't, and/or), a number, or one sign.
_TOKEN = re.compile(r"\w+(?:[-'/]\w+)*|[^\w\s]")
# Signs that stand against the word before, and those that the next word stands against.
_CLOSING = frozenset(".,;:!?)]}%’”…")
_OPENING = frozenset("([{$#“‘")


class Vocabulary:
    """The tokens that a model knows: a token's index is its line.

    The empty token, if there is one, pads; `unknown` stands for all others. Neither is ever
    generated.
    """

    def __init__(self, settings: TextSettings, tokens: Sequence[str]) -> None:
        self._settings = settings
        self._tokens = list(tokens)
        self._index = {token: i for i, token in enumerate(tokens)}
        self.never = excluded_tokens(settings, tokens)

    def split(self, text: str) -> list[str]:
        """The tokens of a text, known or not."""
        if self._settings.lower:
            text = text.lower()
        if self._settings.level == "character":
            return list(text)
        if self._settings.punctuation == "attached":
            return text.split()
        return words_and_signs(text)

    def encode(self, tokens: Iterable[str]) -> tuple[list[int], list[str]]:
        """Indices, and the tokens that the model does not know, each once, in their order.

        What is not known becomes the model's `unknown`; without one it is left out.
        """
        unknown: dict[str, None] = {}
        indices: list[int] = []
        for token in tokens:
            index = self._index.get(token)
            if index is None or index in self.never:
                unknown[token] = None
                index = self._index.get(self._settings.unknown)
            if index is not None:
                indices.append(index)
        return indices, list(unknown)

    def token(self, index: int) -> str:
        """The token of an index."""
        return self._tokens[index]


def words_and_signs(text: str) -> list[str]:
    """Return the words of a text, and its punctuation marks as tokens of their own."""
    return _TOKEN.findall(text)


def excluded_tokens(settings: TextSettings, tokens: Sequence[str]) -> tuple[int, ...]:
    """Indices of padding and of the unknown word."""
    return tuple(i for i, token in enumerate(tokens) if token in ("", settings.unknown))


class Joiner:
    """Puts tokens together as people write them, one by one."""

    def __init__(self, settings: TextSettings, before: Sequence[str] = ()) -> None:
        self._spaced = settings.level == "word"
        self._signs = settings.punctuation == "separate"
        self._last = before[-1] if before else None

    def piece(self, token: str) -> str:
        """The token with the space that goes before it, if one does."""
        last, self._last = self._last, token
        if not self._spaced or last is None:
            return token
        if self._signs and (token in _CLOSING or last in _OPENING):
            return token
        return f" {token}"
