"""Models of rows, and requests to them."""

from __future__ import annotations

import json
from typing import Any

from app.serving.cards.card import Card, FieldSpec
from app.serving.tasks import Limits, Payload, RowTask
from tests.unit.signatures import signature, spec


def task(*fields: dict[str, Any], dtype: str = "float32") -> RowTask:
    """A model with one column a field."""
    columns = spec(dtype=dtype, shape=(None, len(fields)))
    card = Card(task="tabular-regression", fields=[FieldSpec(**f) for f in fields])
    return RowTask(card, signature(columns), Limits())


def body(value: Any) -> Payload:
    # The standard library writes whole numbers of any size, and NaN.
    return Payload("json", value if isinstance(value, bytes) else json.dumps(value).encode())


def rows(made: RowTask, value: Any) -> Any:
    (array,) = made.read(body(value))
    return array.tolist()
