"""The output of `profile`: a table with advice, or JSON."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from typing import Any

import yaml
from rich import box
from rich.table import Table

from app.cli.profiling.advice import Advice
from app.cli.profiling.measurements import Measured, Point, Profile, Timing
from app.cli.profiling.rounds import ROUNDS


def table(profile: Profile) -> Table:
    """Return the throughput and the time of a run, by size and precision."""
    measured = [each for each in profile.measured.values() if not each.problem]
    title = f"{profile.name}, version {profile.version}"
    shown = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    shown.add_column("\nrows" if profile.unit == "rows" else "\ntexts", justify="right")
    for each in measured:
        for head in (f"{each.precision}\n{profile.unit}/s", "\nrange", "\nms"):
            shown.add_column(head, justify="right", no_wrap=True)
    for size in sorted({size for each in measured for size in each.points}):
        cells = [f"{size:,}"]
        for each in measured:
            cells += _cells(each.points.get(size))
        shown.add_row(*cells)
    return shown


def lines(profile: Profile, advice: Advice) -> Iterator[str]:
    """Yield the lines under the table, the advice last."""
    cores = "1 core" if profile.cores == 1 else f"{profile.cores} cores"
    device = "" if profile.device == "CPU" else f"{profile.device} with "
    yield (
        f"The model alone, on {device}{cores}: medians of {ROUNDS} rounds in turns, and their "
        f"range. {_inputs(profile)}"
    )
    if profile.decoding is not None:
        fastest, slowest = profile.decoding.range
        yield (
            f"Reading an example as a request: {_ms(profile.decoding.seconds)} ms "
            f"({_ms(fastest)} to {_ms(slowest)}) a {'row' if profile.unit == 'rows' else 'text'}."
        )
    for each in profile.measured.values():
        if not each.problem:
            yield f"Memory in {each.precision}: {_memory(each)}."
    if profile.difference is not None:
        yield f"bfloat16 against float32: {_difference(profile)}."
    yield from profile.problems
    yield ""
    yield from (f"- {reason}" for reason in advice.reasons)
    yield ""
    if not advice.runtime:
        yield "No change to the card."
        return
    yield (
        "Write into model.yaml:"
        if profile.stated.has_card
        else ("Write into model.yaml, which `python -m app card FILE` begins:")
    )
    yield yaml.safe_dump({"runtime": advice.runtime}, sort_keys=False).rstrip()


def document(profile: Profile, advice: Advice) -> dict[str, Any]:
    """Return the same for programs, as JSON: bytes of memory, null if the system does not tell."""
    found = profile.difference
    return {
        "model": profile.name,
        "version": profile.version,
        "unit": profile.unit,
        "cores": profile.cores,
        "device": profile.device,
        "inputs": {"source": profile.source, "rows": profile.rows},
        "rounds": ROUNDS,
        "seconds": profile.seconds,
        "card": {
            "precision": profile.stated.precision,
            "max_batch_size": profile.stated.max_batch_size,
        },
        "precisions": {name: _described(each) for name, each in profile.measured.items()},
        "decoding": None if profile.decoding is None else _milliseconds(profile.decoding),
        "difference": found
        and {
            "examples": found.examples,
            "largest": found.numbers,
            "largest_of": found.where or None,
            "examples_with_labels": found.labels,
            "examples_with_other_labels": found.other_labels,
            "pixels": found.pixels,
        },
        "problems": list(profile.problems),
        "runtime": advice.runtime,
        "reasons": advice.reasons,
    }


def _described(each: Measured) -> dict[str, Any]:
    return {
        "problem": each.problem or None,
        "load_seconds": None if each.problem else round(each.load_seconds, 3),
        "memory": {
            "before_bytes": each.memory.before,
            "loaded_bytes": each.memory.after,
            "largest_run_bytes": each.memory.largest_run,
        },
        "stopped": each.stopped or None,
        "points": [
            {
                "size": size,
                "per_second": _digits(median(point.rates)),
                "per_second_range": [_digits(min(point.rates)), _digits(max(point.rates))],
                **_milliseconds(point.run),
            }
            for size, point in sorted(each.points.items())
        ],
    }


def _milliseconds(timing: Timing) -> dict[str, Any]:
    return {
        "milliseconds": _digits(timing.seconds * 1000),
        "milliseconds_range": [_digits(seconds * 1000) for seconds in timing.range],
    }


def _digits(value: float) -> float:
    return float(f"{value:.4g}")


def _cells(point: Point | None) -> list[str]:
    if point is None:
        return ["", "", ""]
    rates = point.rates
    low, high = _rate(min(rates)), _rate(max(rates))
    return [_rate(median(rates)), f"{low}–{high}", _ms(point.run.seconds)]


def _rate(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.3g}" if seconds < 1 else f"{seconds * 1000:,.0f}"


def _inputs(profile: Profile) -> str:
    if profile.source == "made up":
        return "Inputs: made up, as the card has no examples."
    return f"Inputs: {profile.counted(profile.rows)} of the examples of the card, again and again."


def _memory(each: Measured) -> str:
    found = each.memory
    if found.before is None or found.after is None:
        return "the system does not report it"
    line = f"{_size(found.before)} before loading, {_size(found.after)} after it"
    if found.largest_run is not None and each.points:
        line += f", {_size(found.largest_run)} at most at {max(each.points):,}"
    return line


def _difference(profile: Profile) -> str:
    found = profile.difference
    assert found is not None
    parts = []
    if found.numbers is not None:
        where = f" ({found.where})" if found.where else ""
        parts.append(f"numbers differ by at most {found.numbers:.3g}{where}")
    if found.labels:
        parts.append(f"{found.other_labels} of {found.labels} examples have other {profile.labels}")
    if found.pixels is not None:
        parts.append(f"{found.pixels:.3%} of the pixels differ")
    return ", ".join(parts) or "the answers are the same"


def _size(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
