"""What is known of all values of a tensor, and the arithmetic of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

# A change of probabilities that does not count: Keras clips and shifts them by 1e-7.
SMALL = 1e-6
# The logarithm of a probability that models clip away.
LEAST_LOG = -15.0

Shape = Sequence[int | None] | None
Form = Literal["shares", "each", "linear", "numbers", "unknown"]


@dataclass(frozen=True, slots=True)
class Fact:
    """What is known of all values of a tensor.

    form: "shares": probabilities whose sum along `axis` is 1, never along the first dimension, that
    of the rows. "each": a probability of its own each.
    "linear": the output of a dense layer or a convolution without an activation. "numbers": none of
    these. "unknown": no rule tells.
    axis: that of shares, counted from the end. total: shares and probabilities are multiplied by
    it. log: the logarithms of shares or probabilities. low, high: the bounds of the values.
    source: the operation that makes them, for people.
    """

    form: Form
    axis: int = -1
    total: float = 1.0
    log: bool = False
    low: float = -math.inf
    high: float = math.inf
    source: str = ""

    @property
    def probable(self) -> bool:
        """Whether the values are multiples of probabilities."""
        return self.form in ("shares", "each") and not self.log

    @property
    def whole(self) -> bool:
        """Whether the values are probabilities, or the logarithms of some."""
        return self.form in ("shares", "each") and abs(self.total - 1) <= SMALL

    @property
    def as_each(self) -> Fact:
        """The fact of each value by itself, where its row is torn apart."""
        return replace(self, form="each", axis=-1) if self.form == "shares" else self

    @property
    def bounds_only(self) -> Fact:
        """The bounds of the values, and that they are numbers if they were."""
        kept: Form = "numbers" if self.form == "numbers" else "unknown"
        return Fact(kept, low=self.low, high=self.high, source=self.source)


UNKNOWN = Fact("unknown")


def shares(axis: int = -1, total: float = 1.0) -> Fact:
    """The fact of the results of a softmax along `axis`, times `total`."""
    return Fact("shares", axis, total, low=0.0, high=total)


def each(total: float = 1.0) -> Fact:
    """The fact of the results of a sigmoid, times `total`."""
    return Fact("each", total=total, low=0.0, high=total)


def numbers(source: str, low: float = -math.inf, high: float = math.inf) -> Fact:
    """The fact of plain numbers."""
    return Fact("numbers", low=low, high=high, source=source)


def scaled(fact: Fact, factor: float) -> Fact:
    """Return the fact of the values times a constant."""
    low, high = sorted((_times(fact.low, factor), _times(fact.high, factor)))
    if abs(factor - 1) <= SMALL:
        return fact
    if factor > 0 and fact.probable:
        return replace(fact, total=fact.total * factor, low=low, high=high)
    if factor > 0 and fact.form == "linear":
        return fact
    return replace(fact.bounds_only, low=low, high=high)


def shifted(fact: Fact, by: float) -> Fact:
    """Return the fact of the values plus a constant."""
    if fact.form == "linear" or abs(by) <= SMALL * fact.total:
        return fact
    moved = replace(fact.bounds_only, low=fact.low + by, high=fact.high + by)
    return replace(moved, form="numbers") if fact.form in ("shares", "each") else moved


def complement(fact: Fact, of: float) -> Fact:
    """Return the fact of a constant minus the values."""
    if fact.probable and abs(of - fact.total) <= SMALL:
        return each(fact.total)
    return replace(fact.bounds_only, low=of - fact.high, high=of - fact.low)


def clipped(fact: Fact, low: float, high: float) -> Fact:
    """Return the fact of the values with what is beyond the bounds moved to them."""
    if fact.form in ("shares", "each"):
        least = LEAST_LOG if fact.log else SMALL * fact.total
        if low <= least and high >= fact.high - SMALL * fact.total:
            return fact
    if low <= fact.low and high >= fact.high:
        return fact
    least, most = min(max(fact.low, low), high), max(min(fact.high, high), low)
    kept = replace(fact.bounds_only, low=least, high=most)
    return kept if fact.form == "unknown" else replace(kept, form="numbers")


def added(a: Fact, b: Fact, *, alike: bool) -> Fact:
    """Return the fact of the sums of two tensors. alike: whether they have one shape."""
    if a.probable and b.probable:
        total = a.total + b.total
        if alike and a.form == b.form == "shares" and a.axis == b.axis:
            return shares(a.axis, total)
        return each(total)
    return Fact("unknown", low=a.low + b.low, high=a.high + b.high)


def multiplied(a: Fact, b: Fact) -> Fact:
    """Return the fact of the products of two tensors."""
    corners = [_times(x, y) for x in (a.low, a.high) for y in (b.low, b.high)]
    return Fact("unknown", low=min(corners), high=max(corners))


def joined(facts: Sequence[Fact]) -> Fact:
    """Return what holds for values that may come from any of these tensors."""
    first = facts[0]
    if all(fact == first for fact in facts):
        return first
    low, high = min(fact.low for fact in facts), max(fact.high for fact in facts)
    torn_apart = [fact.as_each for fact in facts]
    if all(fact == torn_apart[0] for fact in torn_apart):
        return torn_apart[0]
    if all(fact.form in ("numbers", "linear") for fact in facts):
        return numbers("several layers", low, high)
    return Fact("unknown", low=low, high=high)


def exponential(fact: Fact) -> Fact:
    """Return the fact of e to the power of the values."""
    if fact.log:
        return replace(fact, log=False, low=0.0, high=1.0)
    low, high = (math.exp(x) if x < 700 else math.inf for x in (fact.low, fact.high))
    return replace(fact.bounds_only, low=low, high=high)


def logarithm(fact: Fact) -> Fact:
    """Return the fact of the natural logarithms of the values."""
    if fact.probable and fact.whole:
        return replace(fact, log=True, low=-math.inf, high=0.0)
    return Fact("unknown")


def reshaped(fact: Fact, before: Shape, after: Shape) -> Fact:
    """Return the fact of the same values in another shape, in the same order."""
    if fact.form != "shares":
        return fact
    if before is None or after is None:
        return fact.as_each
    last = _last_but_ones(before)
    position = len(before) + fact.axis
    target = _last_but_ones(after)
    if (
        position == last
        and target is not None
        and target > 0
        and before[position] is not None
        and after[target] == before[position]
    ):
        return replace(fact, axis=target - len(after))
    return fact.as_each


def _last_but_ones(shape: Sequence[int | None]) -> int | None:
    """Return the last dimension that is not 1."""
    return next((i for i in reversed(range(len(shape))) if shape[i] != 1), None)


def _times(a: float, b: float) -> float:
    return 0.0 if a == 0 or b == 0 else a * b
