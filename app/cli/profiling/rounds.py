"""Measures a model in both precisions, in rounds in turns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

import orjson

from app.cli.profiling.comparison import compare
from app.cli.profiling.measurements import (
    PRECISIONS,
    Difference,
    Measured,
    Memory,
    Point,
    Profile,
    Timing,
)
from app.cli.profiling.process import Loaded, MeasuredProcess, Order
from app.errors import LoadError
from app.serving.cards.card import Precision
from app.serving.engine.run_size import RUN_S
from app.serving.limits import Limits

# Enough to tell a difference from noise: that all of them agree by chance is unlikely (1 of 32).
ROUNDS = 5


class Progress(Protocol):
    """Shows how far a profile is."""

    def stage(self, name: str, steps: int | None = None) -> None:
        """Begin a stage of so many steps, if that is known."""

    def step(self) -> None:
        """End a step."""


class _Runner:
    """One precision: its process while it lives, and its figures."""

    def __init__(self, precision: Precision) -> None:
        self.measured = Measured(precision)
        self.sizes: list[int] = []
        self.rounds: dict[int, list[float]] = {}
        self.loaded: Loaded | None = None
        self._process: MeasuredProcess | None = None

    @property
    def process(self) -> MeasuredProcess:
        """The process, which is there after `start` while `alive`."""
        assert self._process is not None
        return self._process

    @property
    def alive(self) -> bool:
        """Whether nothing has failed so far."""
        return not self.measured.problem

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Note a failure in this block as the problem of this precision."""
        try:
            yield
        except LoadError as error:
            self.measured.problem = error.message

    def check(self) -> None:
        """Raise LoadError if something has failed."""
        if not self.alive:
            raise LoadError(self.measured.problem)

    def start(self, order: Order, stack: ExitStack) -> None:
        """Load the model; its process lives as long as `stack`."""
        self._process = MeasuredProcess(order)
        stack.callback(self._process.close)
        self._process.start()
        with self.noted():
            self.loaded = self._process.loaded()
            self.measured.load_seconds = self.loaded.seconds
            self.measured.memory = self.loaded.memory

    def warm_up(self, step: Callable[[], None]) -> None:
        """Run each size for the first time, up to those that take too long for a server."""
        assert self.loaded is not None
        memory, sizes = self.measured.memory, self.loaded.sizes
        for size, following in zip(sizes, [*sizes[1:], None], strict=True):
            with self.noted():
                most, peak = self.process.first(size)
                self.sizes.append(size)
                self.measured.memory = Memory(memory.before, memory.after, peak)
                if following is not None and most < following:
                    self.measured.stopped = (
                        f"larger batches than {size:,} would take more than {RUN_S:g} s, or answer "
                        "more than KERAPORT_MAX_ANSWER_MB: the server makes them smaller itself"
                    )
                    return
            if not self.alive:
                return
            step()

    def measure(self, size: int, seconds: float) -> None:
        """Run a size for its part of a round."""
        if self.alive and size in self.sizes:
            with self.noted():
                self.rounds.setdefault(size, []).append(self.process.run(size, seconds))

    def finish(self) -> None:
        """Turn the rounds into points."""
        if self.alive:
            self.measured.points = {s: Point(s, Timing(r)) for s, r in self.rounds.items()}


def profile(
    folder: Path, name: str, limits: Limits, seconds: float, most: int | None, progress: Progress
) -> Profile:
    """Measure the model `name` of `folder`.

    seconds: for each size in each precision, over all rounds. most: the largest size; None for the
    usual one. Raises LoadError where the model does not even run in float32.
    """
    runners = [_Runner(precision) for precision in PRECISIONS]
    float32 = runners[0]
    with ExitStack() as stack:
        for runner in runners:
            precision = runner.measured.precision
            progress.stage(f"loading {name} in {precision}")
            runner.start(Order(folder, name, precision, most, limits), stack)
            float32.check()
        assert float32.loaded is not None
        loaded = float32.loaded
        for runner in runners:
            if runner.alive:
                progress.stage(f"warming up {runner.measured.precision}", len(loaded.sizes))
                runner.warm_up(progress.step)
            float32.check()
        decoding = _rounds(runners, loaded.sizes, seconds, progress)
        progress.stage("comparing answers")
        difference, problems = _difference(runners)
        float32.check()
    for runner in runners:
        runner.finish()
    return Profile(
        name=name,
        version=loaded.version,
        stated=loaded.stated,
        unit="words" if loaded.writes else "rows",
        source=loaded.source,
        rows=loaded.rows,
        cores=loaded.cores,
        device=loaded.device,
        seconds=seconds,
        measured={runner.measured.precision: runner.measured for runner in runners},
        decoding=decoding,
        difference=difference,
        problems=problems,
    )


def _rounds(
    runners: Sequence[_Runner], sizes: Sequence[int], seconds: float, progress: Progress
) -> Timing | None:
    """Measure all sizes and the time to decode. Returns the latter. Raises LoadError if the first
    precision fails."""
    decoding: list[float] = []
    reads = True
    progress.stage("measuring", ROUNDS * len(sizes))
    for _ in range(ROUNDS):
        for size in sizes:
            for runner in runners:
                runner.measure(size, seconds / ROUNDS)
            runners[0].check()
            progress.step()
        if reads:
            took = runners[0].process.decode(seconds / ROUNDS)
            reads = took is not None
            decoding += [] if took is None else [took]
    return Timing(decoding) if decoding else None


def _difference(runners: Sequence[_Runner]) -> tuple[Difference | None, list[str]]:
    """Compare the answers to the examples, and return why some were left out."""
    answers: list[list[bytes | None]] = []
    problems: list[str] = []
    for runner in runners:
        if runner.alive:
            with runner.noted():
                answers.append(runner.process.answers())
                problems += runner.process.problems()
    if len(answers) < len(runners):
        return None, problems
    pairs = [
        (orjson.loads(one), orjson.loads(other))
        for one, other in zip(*answers, strict=True)
        if one is not None and other is not None
    ]
    return (compare(pairs) if pairs else None), list(dict.fromkeys(problems))
