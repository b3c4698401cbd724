"""Samples become medians, ratios and words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.load import Sample


@dataclass(frozen=True)
class Contest:
    """One contestant in one case; `samples` has one entry a round."""

    case: str
    contestant: str
    samples: Sequence[Sample]

    @property
    def rates(self) -> list[float]:
        """Requests (or pictures) per second, one a round."""
        return [sample.rate for sample in self.samples]


@dataclass(frozen=True)
class Ratio:
    """One contestant as a multiple of another in the same case.

    Each round gives one ratio, of two measurements a few seconds apart, so that what slows the
    machine down slows down both; `value` is their median.
    """

    case: str
    contestant: str
    against: str
    target: float
    rounds: Sequence[float]

    @classmethod
    def of(cls, mine: Contest, other: Contest, target: float) -> Ratio:
        """mine / other, round by round."""
        rounds = [a / b for a, b in zip(mine.rates, other.rates, strict=True)]
        return cls(mine.case, mine.contestant, other.contestant, target, rounds)

    @property
    def value(self) -> float:
        """The median."""
        return median(self.rounds)

    def line(self) -> str:
        """`CNN: keraport 0.93 of the ceiling (target 0.90)  ok`."""
        of = "of the ceiling" if self.against == "ceiling" else f"times {self.against}"
        spread = f"{min(self.rounds):.2f} to {max(self.rounds):.2f}"
        verdict = "ok" if self.value >= self.target else "below target"
        return (
            f"{self.case}: {self.contestant} {self.value:.2f} {of} "
            f"(target {self.target:.2f}; rounds {spread})  {verdict}"
        )


def show(console: Console, contests: Iterable[Contest], ratios: Iterable[Ratio]) -> None:
    """The table and one line a target."""
    table = Table("", "", "requests/s", "min to max", "p50 ms", "p99 ms")
    for column in table.columns[2:]:
        column.justify = "right"
    last = None
    for contest in contests:
        rates = contest.rates
        if last not in (None, contest.case):
            table.add_section()
        table.add_row(
            contest.case if contest.case != last else "",
            contest.contestant,
            _rate(median(rates)),
            f"{_rate(min(rates))} to {_rate(max(rates))}",
            _median_ms(s.p50_ms for s in contest.samples),
            _median_ms(s.p99_ms for s in contest.samples),
        )
        last = contest.case
    console.print(table)
    for ratio in ratios:
        console.print(ratio.line(), highlight=False, soft_wrap=True)


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _median_ms(values: Iterable[float | None]) -> str:
    known = [v for v in values if v is not None]
    return f"{median(known):.1f}" if known else ""


def as_dict(contests: Iterable[Contest], ratios: Iterable[Ratio]) -> dict[str, Any]:
    """Everything measured, every round of it, for `--json`."""
    return {
        "contests": [asdict(contest) for contest in contests],
        "ratios": [{**asdict(ratio), "median": ratio.value} for ratio in ratios],
    }
