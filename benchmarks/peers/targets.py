"""What Keraport wants to reach beside its peers."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.peers.contestants import (
    CEILING,
    FLASK_FLOOR,
    KERAPORT,
    KERAPORT_BF16,
    KERAPORT_TWO,
    TRITON,
)
from benchmarks.peers.results import Cell, Ratio, Run, best

BEST, BEST_OF_ONE = "the best peer", "the best peer with one process"
CONNECTIONS = 32


@dataclass(frozen=True)
class Target:
    """contestant: as a multiple of `against`, a contestant or one of the best peers."""

    case: str
    contestant: str
    against: str
    least: float


APPLICATIONS = ("MobileNet", "ResNet50", "EfficientNetB0")
TARGETS = [
    Target("row", KERAPORT, BEST_OF_ONE, 2.0),
    Target("row", KERAPORT, FLASK_FLOOR, 0.6),
    Target("row", KERAPORT_TWO, TRITON, 1.5),
    Target("CNN", KERAPORT, BEST, 1.5),
    Target("CNN", KERAPORT, CEILING, 0.85),
    Target("CNN", KERAPORT_BF16, BEST, 2.0),
    *(Target(name, KERAPORT, BEST, 1.2) for name in APPLICATIONS),
    *(Target(name, KERAPORT, CEILING, 0.95) for name in APPLICATIONS),
    Target("ResNet50", KERAPORT_BF16, BEST, 2.2),
]


@dataclass(frozen=True)
class Outcome:
    """A target, whom it was measured against, and what was reached."""

    target: Target
    other: Cell
    ratio: Ratio

    @property
    def reached(self) -> bool:
        """Whether the median is high enough."""
        return self.ratio.value >= self.target.least


def outcomes(run: Run) -> list[Outcome]:
    """Of all targets that were measured."""
    found = []
    for target in TARGETS:
        group = run.group(target.case, CONNECTIONS)
        mine, other = group.get(target.contestant), _other(group, target.against)
        if mine is not None and other is not None:
            found.append(Outcome(target, other, Ratio.of(mine, other)))
    return found


def _other(group: dict[str, Cell], against: str) -> Cell | None:
    if against == BEST:
        return best(group.values())
    if against == BEST_OF_ONE:
        return best(group.values(), processes=1)
    return group.get(against)
