"""The meaning of an output: what its graph proves, its training says and its values show."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.serving.reading.outputs.facts import SMALL, Fact, Shape
from app.serving.reading.outputs.training import Training
from app.serving.signature import OutputMeaning

# Half precision adds up a thousand probabilities to 0.99 or 1.01.
_TOLERANCE = 0.02
_CLOSE = 1e-3


def meaning_of(fact: Fact, training: Training | None, shape: Shape) -> OutputMeaning:
    """Return what the numbers of an output are.

    fact: what is known of its values. training: what the file says of it. shape: of the output.
    """
    bounds = (fact.low, fact.high)
    known = math.isfinite(fact.low) and math.isfinite(fact.high)
    return replace(_meaning(fact, training, shape), bounds=bounds if known else None)


def _meaning(fact: Fact, training: Training | None, shape: Shape) -> OutputMeaning:
    if fact.form == "shares" and (fact.axis != -1 or shape is None):
        fact = fact.as_each
    if fact.form in ("shares", "each") and fact.whole:
        return _probabilities(fact, training)
    if training is not None and training.aim is not None:
        return _trained(fact, training)
    if fact.form == "linear":
        return OutputMeaning("logits", None, False, "the last layer has no activation")
    if fact.form == "unknown":
        return OutputMeaning("unknown", None, False, "the file does not tell what the numbers are")
    return OutputMeaning("values", None, True, _source(fact))


def _source(fact: Fact) -> str:
    if fact.source:
        return f"they come from {fact.source}"
    if fact.form == "linear":
        return "the last layer has no activation"
    return "they are multiples of probabilities"


def _probabilities(fact: Fact, training: Training | None) -> OutputMeaning:
    """What a softmax or a sigmoid, or its logarithm, has made."""
    aim = None if training is None else training.aim
    multi = fact.form == "each"
    name = "sigmoid" if multi else "softmax"
    classes: bool | None = None if multi and aim is None else True
    reason = f"they come from a {name}"
    if aim == "numbers":
        counted = training is not None and training.counted
        classes = True if counted else (False if multi else None)
    if aim == "one" and multi and not fact.log:
        assert training is not None
        # Keras divides them by their sum before it takes the loss.
        reason = f"{training.words}, but a sigmoid makes each by itself: they do not sum to 1"
        return OutputMeaning("values", True, True, reason)
    if training is not None and aim is not None:
        reason += f", {training.words}"
    if fact.log:
        return OutputMeaning("log-probabilities", classes, True, f"{reason}, as logarithms", multi)
    return OutputMeaning("sigmoid" if multi else "softmax", classes, True, reason, multi)


def _trained(fact: Fact, training: Training) -> OutputMeaning:
    """What is no probability by itself, by its training."""
    aim, words = training.aim, training.words
    if aim == "numbers":
        return OutputMeaning("values", False, True, words)
    if aim == "margin":
        return OutputMeaning("values", True, True, words, middle=0.0)
    multi = aim == "any"
    if training.from_logits:
        return OutputMeaning("logits", True, True, words, multi)
    if fact.form == "linear" and training.from_logits is None:
        reason = f"the last layer has no activation, and {words}"
        return OutputMeaning("logits", True, False, reason, multi)
    if multi and training.from_logits is False and -SMALL <= fact.low <= fact.high <= 1 + SMALL:
        return OutputMeaning("sigmoid", True, True, f"{words}, and they lie in 0..1", True)
    if fact.form == "unknown":
        return OutputMeaning("unknown", True, False, words, multi)
    return OutputMeaning("values", True, True, f"{words}, but {_source(fact)}", multi)


def reconstruction(meaning: OutputMeaning) -> OutputMeaning:
    """Return the meaning of an output that has the shape of the input: its loss is one of classes
    also where a model learns to give back what it gets."""
    if meaning.numbers == "sigmoid" and meaning.classes:
        return replace(meaning, classes=False, reason="the output has the shape of the input")
    return meaning


# --- what values tell -----------------------------------------------------------------------------


def judged(meaning: OutputMeaning, values: NDArray[Any]) -> OutputMeaning:
    """Return the meaning, corrected by values of the output, of shape (rows, …, units)."""
    if values.dtype.kind != "f" or values.ndim == 0 or not values.size:
        return meaning
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        return meaning
    if meaning.numbers == "log-probabilities":
        values = np.exp(values)
    inside = bool(values.min() >= -_CLOSE and values.max() <= 1 + _CLOSE)
    sums = values.sum(axis=-1)
    if meaning.numbers in ("softmax", "log-probabilities") and not meaning.multi:
        agrees = inside and bool(np.abs(sums - 1).max() <= _TOLERANCE)
        return meaning if agrees else _refuted(meaning, f"add up to {sums.flat[0]:.3g}")
    if meaning.numbers in ("sigmoid", "log-probabilities"):
        return meaning if inside else _refuted(meaning, "lie outside 0..1")
    if meaning.numbers == "unknown":
        return _guessed(meaning, values, inside, sums)
    return meaning


def _refuted(meaning: OutputMeaning, how: str) -> OutputMeaning:
    reason = f"{meaning.reason}, but the answers to random inputs {how}"
    return OutputMeaning("values", meaning.classes, False, reason, meaning.multi)


def _guessed(
    meaning: OutputMeaning, values: NDArray[Any], inside: bool, sums: NDArray[Any]
) -> OutputMeaning:
    if not inside:
        reason = "answers to random inputs lie outside 0..1"
        return replace(meaning, numbers="values", reason=reason)
    whole = np.isin(values, (0.0, 1.0)).all()
    if values.shape[-1] > 1 and not whole and np.abs(sums - 1).max() <= _CLOSE:
        reason = "the answers to random inputs lie in 0..1 and sum to 1"
        return replace(meaning, numbers="softmax", reason=reason, multi=False)
    return meaning
