"""What a run has found: samples of each contestant in each case at each number of connections."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import orjson

# Keraport itself, the servers it is compared with, and what no server of the kind can exceed.
OURS, PEER, BOUND = "keraport", "peer", "bound"


@dataclass(frozen=True)
class Sample:
    """One turn. rate: answers a second, refusals not among them. p50_ms, p99_ms: latencies of all
    answers; None for what answers no requests. cpu_s: processor seconds of all processes of the
    contestant for a thousand answers; None where there were none. memory_mb: of them together, at
    the end. lost: the part of the requests that were refused or got no answer."""

    rate: float
    p50_ms: float | None
    p99_ms: float | None
    cpu_s: float | None
    memory_mb: float
    lost: float = 0.0


@dataclass(frozen=True)
class Cell:
    """The samples of one contestant in one case, one a round. processes: that run the model."""

    case: str
    connections: int
    contestant: str
    role: str
    processes: int
    samples: Sequence[Sample]

    @property
    def rates(self) -> list[float]:
        """Answers a second, one a round."""
        return [sample.rate for sample in self.samples]

    def middle(self, name: str) -> float | None:
        """The median of a field of the samples; None where they have none."""
        known = [value for each in self.samples if (value := getattr(each, name)) is not None]
        return median(known) if known else None


@dataclass(frozen=True)
class Missing:
    """A contestant that could not be measured, and why. connections: None for all."""

    contestant: str
    case: str
    connections: int | None
    reason: str


@dataclass(frozen=True)
class Ratio:
    """One contestant as a multiple of another, round by round."""

    rounds: Sequence[float]

    @classmethod
    def of(cls, one: Cell, other: Cell) -> Ratio:
        """Of their answers a second, of two turns in the same round each."""
        pairs = zip(one.rates, other.rates, strict=True)
        return cls([a / b if b else float("inf") for a, b in pairs])

    @property
    def value(self) -> float:
        """The median."""
        return median(self.rounds)

    def __str__(self) -> str:
        """`1.28 (1.25 to 1.30)`, without a range where there was one round."""
        if len(self.rounds) == 1:
            return f"{self.value:.2f}"
        return f"{self.value:.2f} ({min(self.rounds):.2f} to {max(self.rounds):.2f})"


@dataclass
class Run:
    """about: the machine, the versions and the options."""

    about: dict[str, Any]
    cells: list[Cell] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)

    def group(self, case: str, connections: int) -> dict[str, Cell]:
        """The cells of one case at one number of connections, by contestant."""
        return {
            cell.contestant: cell
            for cell in self.cells
            if (cell.case, cell.connections) == (case, connections)
        }

    @property
    def groups(self) -> list[tuple[str, int]]:
        """Cases and connections, in the order in which they were measured."""
        return list(dict.fromkeys((cell.case, cell.connections) for cell in self.cells))

    @property
    def cases(self) -> list[str]:
        """The cases, in that order."""
        return list(dict.fromkeys(cell.case for cell in self.cells))

    def replaced_by(self, other: Run) -> Run:
        """This run with those cases of another one that it has measured."""
        measured = {*other.cases, *(each.case for each in other.missing)}
        return Run(
            other.about,
            [cell for cell in self.cells if cell.case not in measured] + other.cells,
            [each for each in self.missing if each.case not in measured] + other.missing,
        )

    def save(self, file: Path) -> None:
        """As JSON."""
        option = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
        file.write_bytes(orjson.dumps(asdict(self), option=option))

    @classmethod
    def read(cls, file: Path) -> Run:
        """What `save` wrote."""
        saved = orjson.loads(file.read_bytes())
        cells = [
            Cell(**{**cell, "samples": [Sample(**sample) for sample in cell["samples"]]})
            for cell in saved["cells"]
        ]
        return cls(saved["about"], cells, [Missing(**each) for each in saved["missing"]])


def best(cells: Iterable[Cell], processes: int | None = None) -> Cell | None:
    """The peer with most answers a second; of those with so many processes, if given."""
    peers = [cell for cell in cells if cell.role == PEER and processes in (None, cell.processes)]
    return max(peers, key=lambda cell: median(cell.rates), default=None)
