"""Which lines of `runtime:` a profile speaks for. Nothing is advised that was not measured, beyond
the noise of the rounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Literal

from app.cli.profiling.measurements import Measured, Point, Profile

# A difference of throughput that counts as one, where all rounds agree on it.
GROWTH = 1.05
# The least that a change of the card must gain.
WORTH = 1.1
# Rounds that differ by more than this do not show that two points are alike.
NOISE = 1.25
# The share of pixels that may get another label: those at edges nearly always do.
MOST_PIXELS = 0.001
_NOISY = "run again on a quiet machine, or with a larger --seconds"

Verdict = Literal["more", "less", "same", "unclear"]


@dataclass(slots=True)
class Advice:
    """Lines for the card, and the reasons. runtime: the settings to change, empty for none."""

    runtime: dict[str, str | int] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)


def ratios(one: Point, other: Point) -> list[float]:
    """Return how many times the throughput of `one` `other` has, round by round: what slowed down
    the machine for a while slowed down both."""
    return [b / a for a, b in zip(one.rates, other.rates, strict=True)]


def verdict(one: Point, other: Point) -> Verdict:
    """Return whether `other` has more throughput than `one`. "more" and "less" need all rounds to
    agree, "same" that none differs by much; all else is noise."""
    found = ratios(one, other)
    middle = median(found)
    if min(found) > 1 and middle >= GROWTH:
        return "more"
    if max(found) < 1 and middle <= 1 / GROWTH:
        return "less"
    alike = min(found) >= 1 / NOISE and max(found) <= NOISE
    return "same" if alike and 1 / GROWTH < middle < GROWTH else "unclear"


def knee(points: Mapping[int, Point]) -> int:
    """Return the smallest size from which on throughput does not grow. Where noise leaves that
    open, it counts as growth."""
    sizes = sorted(points)
    for i, size in enumerate(sizes):
        if all(verdict(points[size], points[s]) in ("same", "less") for s in sizes[i + 1 :]):
            return size
    return sizes[-1]


def advise(profile: Profile) -> Advice:
    """Return the advice for a profile."""
    advice = Advice()
    float32, bfloat16 = profile.measured["float32"], profile.measured["bfloat16"]
    chosen = profile.measured[profile.stated.precision]
    if float32.problem or bfloat16.problem:
        for each in (float32, bfloat16):
            if each.problem:
                advice.reasons.append(f"{each.precision} was not measured: {each.problem}")
    else:
        precision = _precision(profile, float32, bfloat16, advice)
        if precision != profile.stated.precision:
            advice.runtime["precision"] = precision
            chosen = profile.measured[precision]
    if not chosen.problem:
        _batch(profile, chosen, advice)
    return advice


def _precision(
    profile: Profile, float32: Measured, bfloat16: Measured, advice: Advice
) -> Literal["float32", "bfloat16"]:
    stated = profile.stated.precision
    common = sorted(float32.points.keys() & bfloat16.points.keys())
    size = max([s for s in common if s <= profile.stated.max_batch_size] or common[:1])
    found = ratios(float32.points[size], bfloat16.points[size])
    kind = verdict(float32.points[size], bfloat16.points[size])
    times = f"{median(found):.2f} times ({min(found):.2f} to {max(found):.2f} in the rounds)"
    at = f"at {profile.counted(size)} bfloat16 gives {times} the {profile.unit}/s of float32"
    if kind == "unclear":
        advice.reasons.append(f"{at}: too much noise to tell whether it is faster; {_NOISY}")
        return stated
    if kind != "more" or median(found) < WORTH:
        advice.reasons.append(f"{at}: not enough to give up digits for")
        return "float32"
    first = common[0]
    if verdict(float32.points[first], bfloat16.points[first]) == "less":
        advice.reasons.append(f"{at}, but it is slower at {profile.counted(first)}: your choice")
        return stated
    if (doubt := _doubt(profile)) is not None:
        advice.reasons.append(f"{at}, but {doubt}: your choice")
        return stated
    advice.reasons.append(f"{at}, and {_sameness(profile)}")
    return "bfloat16"


def _doubt(profile: Profile) -> str | None:
    """Return what speaks against less precise answers; None if nothing does."""
    difference = profile.difference
    if difference is None or not difference.examples:
        return "no example of the card shows whether the answers stay the same"
    if difference.other_labels:
        changed = f"{difference.other_labels} of {_examples(difference.labels)}"
        return f"{changed} get other {profile.labels}"
    if difference.pixels is not None and difference.pixels > MOST_PIXELS:
        return f"{difference.pixels:.2%} of the pixels of the answers change"
    if difference.unlabelled:
        return f"numbers of the answers change, by up to {difference.numbers:.3g}"
    return None


def _sameness(profile: Profile) -> str:
    difference = profile.difference
    assert difference is not None, "or there would be doubt"
    same = []
    if difference.labels:
        same.append(f"the {profile.labels} of {_examples(difference.labels)} stay the same")
    if difference.pixels is not None:
        same.append(f"{difference.pixels:.3%} of the pixels of the answers change")
    if difference.numbers is not None:
        same.append(f"numbers of the answers differ by at most {difference.numbers:.3g}")
    return ", ".join(same) or f"the answers to {_examples(difference.examples)} stay the same"


def _batch(profile: Profile, chosen: Measured, advice: Advice) -> None:
    points, current = chosen.points, profile.stated.max_batch_size
    largest = max(points)
    if len(points) == 1:
        advice.reasons.append(f"this model runs {profile.counted(largest)} at a time")
        return
    if chosen.stopped:
        advice.reasons.append(chosen.stopped)
    if current not in points:
        if not chosen.stopped:
            advice.reasons.append(f"the card's {profile.counted(current)} were not measured")
        return
    best = knee(points)
    if best == current:
        advice.reasons.append(f"{_at(profile, points[current])}: no size gives more")
        return
    now, then = points[current], points[best]
    found = ratios(now, then)
    both = f"{_at(profile, now)}, {_at(profile, then)}"
    if best < current:
        if profile.unit == "words":
            # Texts beyond the limit would wait instead of growing a little more slowly.
            advice.reasons.append(f"{both}: more texts at once only share it")
            return
        advice.runtime["max_batch_size"] = best
        advice.reasons.append(f"{both}: larger batches only take longer")
    elif verdict(now, then) != "more":
        advice.reasons.append(f"{both}: too much noise to tell which is better; {_NOISY}")
    elif median(found) < WORTH:
        advice.reasons.append(f"{both}: not enough for batches that take longer")
    else:
        advice.runtime["max_batch_size"] = best
        grows = ""
        if best == largest and not chosen.stopped:
            grows = f"; it may grow further: try --max-batch-size {min(4096, 4 * largest)}"
        advice.reasons.append(f"{both}{grows}")


def _at(profile: Profile, point: Point) -> str:
    rate = median(point.rates)
    took = point.run.seconds * 1000
    return f"{profile.counted(point.rows)} at once: {rate:,.0f} {profile.unit}/s, {took:.3g} ms"


def _examples(count: int) -> str:
    return "1 example" if count == 1 else f"{count} examples"
