"""How a version on disk becomes a model that answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from app.errors import CardError
from app.serving.card import (
    CARD_FILE,
    TEXT_TASK,
    Card,
    find_model,
    infer_card,
    read_card,
    with_scale,
)
from app.serving.discovery import Seen
from app.serving.labels import imagenet_labels
from app.serving.loader import Loader
from app.serving.places import Places
from app.serving.signature import GenerationRequest
from app.serving.tasks.base import Limits
from app.serving.tasks.words import never_said
from app.serving.versions import Policy

if TYPE_CHECKING:
    from app.serving.model import Model


def open_model(
    seen: Seen, loader: Loader, limits: Limits, places: Places, tell: Callable[[Card], None]
) -> Model:
    """Read the card, convert the model and open its session. places: for the texts of all models.
    tell: told the card as soon as it is known. Raises CardError or LoadError."""
    # TensorFlow takes seconds to import: here, in the loading thread, while the server listens.
    from app.serving.model import TensorModel
    from app.serving.text_model import TextModel

    if seen.problem:
        raise CardError(seen.problem)
    card = _card(seen)
    source = seen.path if seen.home is None else find_model(seen.path, card)
    if card is not None:
        tell(card)
    generation = generation_request(card)
    trusted = card is not None and card.trusted
    with loader.convert(source, trusted=trusted, generation=generation) as converted:
        if card is None:
            card = infer_card(converted.signature)
        card = with_scale(card, converted.signature)
        if card.labels == "imagenet":
            card = card.model_copy(update={"labels": imagenet_labels()})
        tell(card)
        if card.task == TEXT_TASK:
            return TextModel(seen.name, seen.version, card, converted, limits, places)
        return TensorModel(seen.name, seen.version, card, converted, limits)


def _card(seen: Seen) -> Card | None:
    """The card of the version's own folder, else that of the model's. Raises CardError."""
    if seen.home is None:
        return None
    card = read_card(seen.path)
    if card is None or not seen.numbered:
        return card or read_card(seen.home)
    misplaced = sorted(card.model_fields_set & set(Policy.model_fields))
    if misplaced:
        raise CardError(
            f"{CARD_FILE}: {', '.join(misplaced)}: this is said for all versions at once, in "
            f"{seen.name}/{CARD_FILE}"
        )
    return card


def generation_request(card: Card | None) -> GenerationRequest | None:
    """What the loader has to make besides, for a card of text."""
    if card is None or card.task != TEXT_TASK:
        return None
    assert isinstance(card.text.vocabulary, list), "read with the card"
    never = never_said(card.text, card.text.vocabulary)
    return GenerationRequest(never=never, window=card.text.window)
