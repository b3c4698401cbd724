"""The vocabularies of a card's texts, read, with what the card leaves open filled in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from app.errors import CardError
from app.serving.cards.card import Card, InputCard, is_inside
from app.serving.cards.kinds import Kind, kinds_of
from app.serving.cards.text_input import VOCABULARY_FILES, TextInput, TokenIndex
from app.serving.cards.vocabularies import (
    FILTERS,
    REMOVED,
    Vocabulary,
    read_vocabulary,
    vocabulary_beside,
)
from app.serving.signature import Signature, TensorSpec

# Keys of a card that go with ids alone.
_OF_IDS = (
    *("vocabulary", "level", "lower", "filters", "punctuation", "offset", "start", "unknown"),
    *("length", "padding", "truncation"),
)


def settle_texts(card: Card, signature: Signature, folders: Sequence[Path]) -> Card:
    """Read the vocabularies of the inputs that take ids. Raises CardError where there is none, or
    where the settings do not go with the model."""
    if card.inputs is None:
        return card
    inputs: dict[str, InputCard] = dict(card.inputs)
    for kind in kinds_of(card, signature).inputs:
        if isinstance(kind.card, TextInput):
            inputs[kind.name] = _settled(kind, kind.card, signature, folders, card.max_length)
    return card.model_copy(update={"inputs": inputs})


def takes_texts(spec: TensorSpec) -> bool:
    """Tell whether an input takes texts as they are."""
    return spec.dtype == "string" and bool(spec.shape) and spec.row_shape in ((), (1,))


def takes_ids(spec: TensorSpec) -> bool:
    """Tell whether an input has the shape and type of ids of tokens."""
    shape = spec.shape
    numbers = spec.dtype.startswith(("int", "uint", "float"))
    return numbers and shape is not None and len(shape) == 2


def _settled(
    kind: Kind[InputCard],
    said: TextInput,
    signature: Signature,
    folders: Sequence[Path],
    max_length: int,
) -> TextInput:
    (spec,) = kind.specs
    if takes_texts(spec):
        stated = [key for key in _OF_IDS if key in said.model_fields_set]
        if stated:
            raise kind.place.stated(
                f"{', '.join(stated)}: the model takes texts as they are: leave these out"
            )
        return said
    if not takes_ids(spec):
        raise kind.place.problem(
            "needs an input of texts, of shape (rows) or (rows, 1), or one of ids, of shape (rows, "
            f"length), this is {spec.name} {spec.dtype} {spec.shape}"
        )
    name, folder = _file(kind, said, folders)
    try:
        vocabulary = read_vocabulary(folder / name)
    except CardError as error:
        raise kind.place.wrong("vocabulary", f": {error}") from None
    evidence = signature.texts.get(spec.name)
    tokens = None if evidence is None else evidence.tokens
    index = _index(kind, said, spec, vocabulary, tokens)
    if spec.row_shape[0] is None and index.length > max_length:
        most = f"exceeds {max_length:,}: set runtime.max_length, too"
        raise kind.place.wrong("length", f" {index.length:,} {most}")
    return said.model_copy(update={"vocabulary": name}).with_index(index)


def _file(kind: Kind[InputCard], said: TextInput, folders: Sequence[Path]) -> tuple[str, Path]:
    """Return the vocabulary's name, and the folder that has it."""
    if said.vocabulary is None:
        for folder in folders:
            if (name := vocabulary_beside(folder)) is not None:
                return name, folder
        raise kind.place.stated(
            f"the model takes the ids of words ({kind.specs[0].dtype}), and there is no vocabulary "
            f"beside it ({', '.join(VOCABULARY_FILES)}): name one with "
            f"'{kind.place.key}vocabulary'"
        )
    if not is_inside(said.vocabulary):
        raise kind.place.wrong("vocabulary", f": {said.vocabulary!r} is not a file of this folder")
    for folder in folders:
        if (folder / said.vocabulary).is_file():
            return said.vocabulary, folder
    raise kind.place.wrong("vocabulary", f": there is no file {said.vocabulary} beside the model")


def _index(
    kind: Kind[InputCard],
    said: TextInput,
    spec: TensorSpec,
    found: Vocabulary,
    tokens: int | None,
) -> TokenIndex:
    place = kind.place
    offset = found.offset if said.offset is None else said.offset
    limits = [n for n in (found.limit, tokens) if n is not None]
    # As Keras's `num_words`: the model has no row for rarer words.
    limit = min(limits, default=2**31)
    ids = {token: i + offset for token, i in found.ids.items() if i + offset < limit}
    if not ids:
        raise place.wrong("offset", f" {offset} leaves no word below {limit:,}, the model's tokens")
    own = offset == found.offset
    unknown = found.unknown if own else None
    if found.unknown_entry is not None:
        unknown = found.unknown_entry + offset
    if isinstance(said.unknown, str):
        if said.unknown not in found.ids:
            raise place.wrong("unknown", f": the vocabulary has no entry {said.unknown!r}")
        unknown = found.ids[said.unknown] + offset
    elif "unknown" in said.model_fields_set:
        unknown = said.unknown
    start = found.start if own else None
    if "start" in said.model_fields_set:
        start = said.start
    for key, value in (("unknown", unknown), ("start", start)):
        if value is not None and tokens is not None and value >= tokens:
            raise place.wrong(key, f" {value:,} is not below {tokens:,}, the model's tokens")
    length = spec.row_shape[0] or said.length
    if length is None:
        raise place.stated(
            "the model takes texts of any length: say with 'length: …' to how many "
            f"{said.level or found.level}s training padded or cut them"
        )
    if said.length not in (None, length):
        raise place.wrong("length", f" {said.length} does not match the model's {length}")
    punctuation = said.punctuation or found.punctuation
    filters = found.filters
    if punctuation != found.punctuation:
        # Those of TextVectorization are no white space, which parts words.
        filters = {"separate": "", "removed": REMOVED, "attached": FILTERS}[punctuation]
    return TokenIndex(
        ids,
        length,
        level=said.level or found.level,
        lower=found.lower if said.lower is None else said.lower,
        ascii=found.ascii,
        filters=filters if said.filters is None else said.filters,
        punctuation=punctuation,
        split=found.split,
        start=start,
        unknown=unknown,
        padding_id=0 if found.padding_entry is None else found.padding_entry + offset,
        padding=said.padding or found.side,
        truncation=said.truncation or found.side,
        source=found.source,
        certain=found.certain,
        padded=found.padded,
    )


def vocabulary_for(folders: Sequence[Path]) -> str | None:
    """Return the name of the vocabulary beside a model; None where there is none."""
    names = map(vocabulary_beside, folders)
    return next((name for name in names if name is not None), None)
