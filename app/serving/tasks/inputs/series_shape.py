"""The rows and columns of a series, as a card and the tensor of the model say them together."""

from __future__ import annotations

from dataclasses import dataclass

from app.errors import CardError
from app.serving.cards.card import CARD_FILE
from app.serving.cards.kinds import Kind
from app.serving.cards.time_inputs import SeriesInput


@dataclass(frozen=True, slots=True)
class SeriesShape:
    """What the model takes of a series. steps: rows; None for any number. columns: numbers of a
    row. flat: whether its tensor has no dimension for them."""

    steps: int | None
    columns: int
    flat: bool


def series_shape(kind: Kind[SeriesInput]) -> SeriesShape:
    """Return what the card and the model together say of a series. Raises CardError."""
    (spec,), card, place = kind.specs, kind.card, kind.place
    rows = spec.row_shape
    if spec.dtype == "string" or spec.dtype == "bool" or not spec.shape or len(rows) not in (1, 2):
        raise place.problem(
            "needs an input of numbers of shape (rows, steps, columns) or (rows, steps), this is "
            f"{spec.name} {spec.dtype} {spec.shape}"
        )
    own = 1 if len(rows) == 1 else rows[1]
    columns = own or len(card.columns or [])
    if not columns:
        raise place.stated(
            f"the model takes any number of columns: name them with '{kind.name}: {{kind: series, "
            "columns: […]}'"
        )
    if card.columns and len(card.columns) != columns:
        raise place.wrong(
            "columns", f" has {len(card.columns)} names, the model takes {columns} a row"
        )
    if card.steps and rows[0] and card.steps != rows[0]:
        raise place.wrong("steps", f" {card.steps} does not match the model's {rows[0]}")
    bounds = spec.bounds
    if card.steps and bounds is not None and card.steps > bounds.length:
        raise CardError(
            f"{CARD_FILE}: {place.key}steps: {card.steps} is above runtime.max_length, "
            f"{bounds.length}"
        )
    return SeriesShape(rows[0] or card.steps, columns, len(rows) == 1)
