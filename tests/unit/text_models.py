"""Models of texts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from app.serving.cards.card import Card
from app.serving.cards.inference.infer import completed
from app.serving.signature import Signature, TextEvidence
from app.serving.tasks import Limits, RowTask
from tests.unit.signatures import Shape, signature, spec

WORDS = ["", "<unk>", "the", "film", "good"]


def of_ids(shape: Shape = (None, 4), dtype: str = "int32", tokens: int | None = 5) -> Signature:
    """A classifier whose ids go into an Embedding."""
    found = signature(spec("ids", dtype, shape), classes=2, activation="softmax")
    return replace(found, texts={"ids": TextEvidence(ids=True, tokens=tokens)})


def of_strings(shape: Shape = (None, 1)) -> Signature:
    found = signature(spec("text", "string", shape), classes=2, activation="softmax")
    return replace(found, texts={"text": TextEvidence(ids=False)})


def made(of: Signature, folder: Path, limits: Limits | None = None, **said: Any) -> RowTask:
    inputs = {"x": {"kind": "text", **said}} if said else None
    card = Card.model_validate({"inputs": inputs} if inputs else {})
    card = completed(card, of, [folder])[0]
    return RowTask(card, of, limits or Limits())
