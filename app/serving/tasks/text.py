"""The task of writing texts: the form of a request, and of the answer."""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import islice
from typing import Any

from app.errors import BadRequest, CardError, Detail, short
from app.serving.cards.card import CARD_FILE, Card, Range
from app.serving.limits import MAX_CHARACTERS
from app.serving.signature import Signature
from app.serving.tasks.base import (
    ENOUGH,
    Limits,
    Payload,
    ReadFile,
    Task,
    invalid,
    parse_json,
    whole,
)
from app.serving.tasks.vocabulary import Joiner, Vocabulary

MAX_RANDOM_SEED = 2**63 - 1
_KEYS = ("seed", "diversity", "words", "random_seed", "top_k")
# Tokens of a seed that is shown as an example.
_EXAMPLE = {"word": 4, "character": 20}


@dataclass(frozen=True)
class TextRequest:
    """A text to be written. tokens: indices of the seed, at least one. actual: how the text that a
    random start was taken from continues."""

    seed: str
    tokens: list[int]
    words: int
    diversity: float
    top_k: int
    random_seed: int | None
    unknown: list[str]
    actual: str | None
    joiner: Joiner

    def answer(self, generated: str) -> dict[str, Any]:
        """The finished text as the API gives it."""
        out: dict[str, Any] = {"seed": self.seed, "generated": generated}
        if self.actual is not None:
            out["actual"] = self.actual
        if self.unknown:
            out["unknown_words"] = self.unknown
        return out


class TextGeneration(Task):
    """`{"seed": …, "diversity": …, "words": …}` to an order. Raises CardError from `__init__`
    where card and model do not fit."""

    accepts = frozenset({"json"})

    def __init__(self, card: Card, signature: Signature, limits: Limits) -> None:
        self._text = card.text
        self._limits = limits
        assert isinstance(card.text.vocabulary, list), "read with the card"
        self.vocabulary = Vocabulary(card.text, card.text.vocabulary)
        self._starts = [self.vocabulary.split(start) for start in card.text.starts or []]
        known = (signature.outputs[0].shape or (None,))[-1] if signature.outputs else None
        lines = len(card.text.vocabulary)
        if known is not None and known != lines:
            raise CardError(
                f"{CARD_FILE}: text.vocabulary: {lines} entries do not match the model's output of "
                f"{known} tokens: expected one line per token"
            )
        self._example = self._find_example()

    def read(self, payload: Payload) -> TextRequest:
        """Read the request from a JSON object. Raises BadRequest or InvalidInput with all
        problems."""
        body = parse_json(payload.data, self._limits)
        if not isinstance(body, dict):
            raise BadRequest(
                'expected a JSON object, such as {"seed": "a neural network", "words": 50}'
            )
        problems = [
            Detail(key, "unexpected", short(body[key]), f"one of {', '.join(_KEYS)}")
            for key in islice((key for key in body if key not in _KEYS), ENOUGH)
        ]
        diversity = self._number(body, "diversity", self._text.diversity, problems)
        words = self._number(body, "words", self._text.words, problems, integer=True)
        top_k = self._whole(body, "top_k", 1, len(self._text.vocabulary), problems)
        random_seed = self._whole(body, "random_seed", 0, MAX_RANDOM_SEED, problems)
        seed, tokens, unknown, actual = self._seed(body.get("seed"), int(words), problems)
        if problems:
            raise invalid(problems)
        indices, _ = self.vocabulary.encode(tokens)
        return TextRequest(
            seed,
            indices[-self._text.window :],
            int(words),
            diversity,
            top_k or 0,
            random_seed,
            unknown,
            actual,
            Joiner(self._text, tokens),
        )

    def _seed(
        self, seed: Any, words: int, problems: list[Detail]
    ) -> tuple[str, list[str], list[str], str | None]:
        """The seed as text and as tokens, what is unknown in it, and how a start continues."""
        if seed is None:
            if self._starts:
                return self._start(words)
            expected = "a text: this model has no random starts"
            problems.append(Detail("seed", "missing", None, expected))
        elif not isinstance(seed, str):
            problems.append(Detail("seed", "wrong type", short(seed), "a text, or null"))
        elif len(seed) > MAX_CHARACTERS:
            expected = f"at most {MAX_CHARACTERS:,} characters"
            problems.append(Detail("seed", "too long", f"{len(seed):,} characters", expected))
        else:
            tokens = self.vocabulary.split(seed)
            unknown = self.vocabulary.encode(tokens)[1]
            if any(token not in unknown for token in tokens):
                return seed, tokens, unknown, None
            problem = "no known word" if tokens else "empty"
            expected = "a text with at least one word that the model knows"
            problems.append(Detail("seed", problem, short(seed), expected))
        return "", [], [], None

    def _start(self, words: int) -> tuple[str, list[str], list[str], str]:
        """Cut a random start into a seed, its first half (at most `window` tokens), and what
        follows it, at most `words` tokens."""
        tokens = random.choice(self._starts)  # noqa: S311 - nothing hangs on it
        cut = min(max(1, len(tokens) // 2), self._text.window)
        seed, rest = tokens[:cut], tokens[cut : cut + words]
        return (
            self._joined(seed),
            seed,
            self.vocabulary.encode(seed)[1],
            self._joined(rest, seed).lstrip(),
        )

    def _find_example(self) -> str:
        """The first text with a token that the model knows: the beginning of a random start, else a
        token of letters only, else any token; empty if there is none."""
        length = _EXAMPLE[self._text.level]
        texts = [self._joined(start[:length]).strip() for start in self._starts]
        tokens: list[str] = list(self._text.vocabulary)
        for text in [*texts, *filter(str.isalpha, tokens), *tokens]:
            split = self.vocabulary.split(text)
            unknown = self.vocabulary.encode(split)[1]
            if any(token not in unknown for token in split):
                return text
        return ""

    def _joined(self, tokens: list[str], before: list[str] | None = None) -> str:
        joiner = Joiner(self._text, before or ())
        return "".join(joiner.piece(token) for token in tokens)

    def _number(
        self,
        body: dict[str, Any],
        key: str,
        allowed: Range,
        problems: list[Detail],
        integer: bool = False,
    ) -> float:
        if key not in body:
            return allowed.default
        value = whole(body[key]) if integer else body[key]
        kind = "a whole number" if integer else "a number"
        expected = f"{kind} from {allowed.min:g} to {allowed.max:g}"
        if isinstance(value, bool) or not isinstance(value, int if integer else (int, float)):
            problems.append(Detail(key, "wrong type", short(value), expected))
        elif not allowed.min <= value <= allowed.max:
            problems.append(Detail(key, "out of range", short(value), expected))
        else:
            return value
        return allowed.default

    def _whole(
        self, body: dict[str, Any], key: str, low: int, high: int, problems: list[Detail]
    ) -> int | None:
        value = whole(body.get(key))
        expected = f"a whole number from {low} to {high}, or null"
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            problems.append(Detail(key, "wrong type", short(value), expected))
        elif not low <= value <= high:
            problems.append(Detail(key, "out of range", short(value), expected))
        else:
            return value
        return None

    def example_takers(self) -> dict[str, ReadFile | None]:
        """Return the seed."""
        return {"seed": None}

    def check_request(self, payload: Payload) -> None:
        """Raise RequestError for what is no order."""
        self.read(payload)

    def answer_schema(self) -> dict[str, Any]:
        """A JSON schema of a text."""
        return {
            "type": "object",
            "properties": {
                "seed": {"type": "string", "description": "What the text begins with."},
                "generated": {"type": "string", "description": "What was written after it."},
                "actual": {
                    "type": "string",
                    "description": "How the text of a random start continues.",
                },
                "unknown_words": {
                    "type": "array",
                    "items": {"type": "string"},
                    "description": "Words of the seed that the model does not know.",
                },
            },
            "required": ["seed", "generated"],
            "additionalProperties": False,
        }

    def input_schema(self) -> dict[str, Any]:
        """A JSON schema of a request."""
        text = self._text
        seed = f"At least one {text.level} that the model knows."
        if self._starts:
            seed += " null takes a random start."
        return {
            "type": "object",
            "properties": {
                "seed": {
                    "type": ["string", "null"] if self._starts else "string",
                    "minLength": 1,
                    "maxLength": MAX_CHARACTERS,
                    "description": seed,
                    "examples": [self._example],
                },
                "diversity": {"type": "number", **_schema(text.diversity)},
                "words": {"type": "integer", **_schema(text.words)},
                "random_seed": {
                    "type": ["integer", "null"],
                    "minimum": 0,
                    "maximum": MAX_RANDOM_SEED,
                    "description": "The same seed, the same text.",
                },
                "top_k": {
                    "type": ["integer", "null"],
                    "minimum": 1,
                    "maximum": len(text.vocabulary),
                    "description": "Only the so many most probable are drawn from.",
                },
            },
            "required": [] if self._starts else ["seed"],
            "additionalProperties": False,
            "level": text.level,
            "vocabulary": len(text.vocabulary),
            "random_starts": len(self._starts),
        }


def _schema(allowed: Range) -> dict[str, float]:
    return {"minimum": allowed.min, "maximum": allowed.max, "default": allowed.default}
