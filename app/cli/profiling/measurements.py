"""The figures of a profile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Literal, get_args

from app.serving.cards.card import Precision

PRECISIONS: tuple[Precision, ...] = get_args(Precision)
Source = Literal["examples", "made up"]


@dataclass(frozen=True, slots=True)
class Timing:
    """Times of the same work. rounds: seconds, the median of each round."""

    rounds: Sequence[float]

    @property
    def seconds(self) -> float:
        """The median of the rounds."""
        return median(self.rounds)

    @property
    def range(self) -> tuple[float, float]:
        """The seconds of the fastest and of the slowest round."""
        return min(self.rounds), max(self.rounds)


@dataclass(frozen=True, slots=True)
class Point:
    """Runs of one size. rows: of a run, or texts that get a word each."""

    rows: int
    run: Timing

    @property
    def rates(self) -> list[float]:
        """Rows a second, by round."""
        return [self.rows / seconds for seconds in self.run.rounds]


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident bytes of the process that runs the model: before it was loaded but with TensorFlow,
    after that, and at most during a run of the largest size; None if the system does not report
    them."""

    before: int | None
    after: int | None
    largest_run: int | None = None


@dataclass(slots=True)
class Measured:
    """A model in one precision. problem: why it has no figures. load_seconds: with reading its
    file. stopped: why larger sizes were left out."""

    precision: Precision
    problem: str = ""
    load_seconds: float = 0.0
    memory: Memory = Memory(None, None)
    stopped: str = ""
    points: dict[int, Point] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Difference:
    """How answers in bfloat16 differ from those in float32.

    examples: of the card, both of whose answers are compared. numbers: the largest difference of
    two numbers; None if there are none. where: the key of that number. labels: of these examples,
    those that have labels; other_labels: those of them that have others in bfloat16. pixels: the
    share of pixels of masks and pictures that differ. unlabelled: whether numbers differ that come
    without a label, as they are answered.
    """

    examples: int
    numbers: float | None = None
    where: str = ""
    labels: int = 0
    other_labels: int = 0
    pixels: float | None = None
    unlabelled: bool = False


@dataclass(frozen=True, slots=True)
class Stated:
    """What the card says. has_card: whether there is one."""

    has_card: bool
    precision: Precision
    max_batch_size: int


@dataclass(frozen=True, slots=True)
class Profile:
    """All figures of one model version.

    unit: what a run gives to each of its rows, in the plural. source: of the rows that were run.
    rows: how many different ones. device: the GPU that the model runs on, or CPU. decoding: of a
    row, from the body of a request; None without examples.
    """

    name: str
    version: int
    stated: Stated
    unit: Literal["rows", "words"]
    source: Source
    rows: int
    cores: int
    device: str
    seconds: float
    measured: Mapping[Precision, Measured]
    decoding: Timing | None
    difference: Difference | None
    problems: Sequence[str]

    def counted(self, count: int) -> str:
        """Return so many rows or texts, in words."""
        noun = "row" if self.unit == "rows" else "text"
        return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"

    @property
    def labels(self) -> str:
        """What the labels of its answers are called."""
        return "labels" if self.unit == "rows" else "most likely next words"
