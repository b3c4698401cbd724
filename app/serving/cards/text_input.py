"""The settings of an input that takes texts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal, Self

from pydantic import Field, PrivateAttr

from app.serving.cards.part import Part, Text

# The first that is there, and is a vocabulary, counts.
VOCABULARY_FILES = ("vocabulary.txt", "vocab.txt", "tokenizer.json", "word_index.json")
Level = Literal["word", "character"]
Punctuation = Literal["attached", "separate", "removed"]
Side = Literal["pre", "post"]
Id = Annotated[int, Field(ge=0, le=2**31 - 1)]


@dataclass(frozen=True, slots=True)
class TokenIndex:
    """How texts become ids of tokens, with everything that the card leaves open filled in.

    ids: of each token. ascii: whether only ASCII letters become lower case. split: what parts
    words; None for white space. unknown: the id of other tokens; None to leave them out. source:
    of the vocabulary, in words. certain: whether that shows how words are separated; padded: and
    how texts are padded.
    """

    ids: Mapping[str, int] = field(repr=False)
    length: int
    level: Level = "word"
    lower: bool = True
    ascii: bool = False
    filters: str = ""
    punctuation: Punctuation = "attached"
    split: str | None = None
    start: int | None = None
    unknown: int | None = None
    padding_id: int = 0
    padding: Side = "pre"
    truncation: Side = "pre"
    source: str = ""
    certain: bool = True
    padded: bool = True


class TextInput(Part):
    """An input that takes texts: as they are, or as the ids of their words or characters.

    vocabulary: a file beside the model; default: the first of VOCABULARY_FILES. offset: what is
    added to the ids of the file. start: the id before every text. unknown: the id of all words
    that the model does not know, or the entry of the vocabulary that stands for them; default: they
    are left out. length: tokens of a text, for a model that takes any number. Defaults are those of
    the form of the vocabulary.
    """

    kind: Literal["text"]
    tensor: Text | None = None
    vocabulary: Text | None = None
    level: Level | None = None
    lower: bool | None = None
    # Characters that part words; with `punctuation: removed`, that are left out.
    filters: Text | None = None
    punctuation: Punctuation | None = None
    offset: Id | None = None
    start: Id | None = None
    unknown: Id | Annotated[str, Field(min_length=1)] | None = None
    length: Annotated[int, Field(ge=1, le=100_000)] | None = None
    padding: Side | None = None
    truncation: Side | None = None
    _index: TokenIndex | None = PrivateAttr(None)

    @property
    def index(self) -> TokenIndex | None:
        """The vocabulary, as it was read; None for a model that takes texts as they are."""
        return self._index

    def with_index(self, index: TokenIndex) -> Self:
        """Return a copy with its vocabulary."""
        made = self.model_copy()
        made._index = index
        return made
