"""The order of a measurement, and what is left of it where a process ends; the processes here are
scripts. tests/http/test_cli_profile.py has real ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar
from unittest.mock import patch

import pytest

from app.cli.profiling import rounds
from app.cli.profiling.measurements import Memory, Profile, Stated
from app.cli.profiling.process import Loaded, Order
from app.errors import LoadError
from app.serving.limits import Limits

SIZES = (1, 2, 3, 4)
MEMORY = Memory(100, 200)
ENDED = LoadError("TensorFlow ended the process (SIGILL)")


class Script:
    """In the place of a process. calls: of all processes. most: that a server would run at once.
    fails: the precision and the method that fails."""

    calls: ClassVar[list[tuple[str, ...]]] = []
    most: ClassVar[int] = 100
    fails: ClassVar[tuple[str, str]] = ("", "")
    examples: ClassVar[bool] = True

    def __init__(self, order: Order) -> None:
        self._precision = order.precision

    def _called(self, method: str, *arguments: object) -> None:
        self.calls.append((self._precision, method, *map(str, arguments)))
        if self.fails == (self._precision, method):
            raise ENDED

    def start(self) -> None:
        self._called("start")

    def close(self) -> None:
        self._called("close")

    def loaded(self) -> Loaded:
        self._called("loaded")
        stated = Stated(True, "float32", 32)
        return Loaded(1, stated, 1.5, MEMORY, False, SIZES, "examples", 2, 4, "CPU")

    def first(self, size: int) -> tuple[int, int | None]:
        self._called("first", size)
        return self.most, 1000 * size

    def run(self, size: int, seconds: float) -> float:
        self._called("run", size)
        assert seconds == 0.2
        return size / (200 if self._precision == "float32" else 400)

    def decode(self, seconds: float) -> float | None:
        self._called("decode")
        return 0.001 if self.examples else None

    def answers(self) -> list[bytes | None]:
        self._called("answers")
        value = b"1.0" if self._precision == "float32" else b"1.5"
        return [b"[" + value + b"]", None] if self.examples else []

    def problems(self) -> list[str]:
        return ["examples[1] is left out"] if self.examples else []


class Steps:
    """Counts the steps that are shown."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, int | None]] = []
        self.steps = 0

    def stage(self, name: str, steps: int | None = None) -> None:
        self.stages.append((name, steps))

    def step(self) -> None:
        self.steps += 1


@pytest.fixture
def script() -> Iterator[type[Script]]:
    class Own(Script):
        calls: ClassVar[list[tuple[str, ...]]] = []

    with patch.object(rounds, "MeasuredProcess", Own):
        yield Own


def measured(progress: Steps | None = None) -> Profile:
    return rounds.profile(Path(), "flowers", Limits(), 1.0, None, progress or Steps())


def closed(script: type[Script]) -> list[str]:
    return sorted(precision for precision, method, *_ in script.calls if method == "close")


def test_both_precisions_are_run_in_turns(script: type[Script]) -> None:
    progress = Steps()
    found = measured(progress)
    runs = [(p, *rest) for p, method, *rest in script.calls if method == "run"]
    one = [(p, str(size)) for size in SIZES for p in ("float32", "bfloat16")]
    assert runs == one * rounds.ROUNDS
    assert [name for name, _ in progress.stages] == [
        "loading flowers in float32",
        "loading flowers in bfloat16",
        "warming up float32",
        "warming up bfloat16",
        "measuring",
        "comparing answers",
    ]
    assert progress.steps == sum(steps or 0 for _, steps in progress.stages)
    for each in found.measured.values():
        assert (each.problem, each.stopped, each.load_seconds) == ("", "", 1.5)
        assert each.memory == Memory(100, 200, 4000)
        assert [*each.points] == [*SIZES]
        assert all(len(point.rates) == rounds.ROUNDS for point in each.points.values())
    assert found.measured["float32"].points[3].rates[0] == pytest.approx(200)
    assert found.decoding is not None
    assert found.decoding.rounds == [0.001] * rounds.ROUNDS
    assert found.difference is not None
    assert (found.difference.examples, found.difference.numbers) == (1, 0.5)
    assert found.problems == ["examples[1] is left out"]
    assert closed(script) == ["bfloat16", "float32"]


@pytest.mark.parametrize(("most", "sizes"), [(4, 4), (3, 3), (2, 2), (1, 1)])
def test_sizes_end_where_the_server_would_run_no_more(
    script: type[Script], most: int, sizes: int
) -> None:
    script.most = most
    found = measured().measured["float32"]
    assert [*found.points] == [*SIZES[:sizes]]
    assert ("the server makes them smaller itself" in found.stopped) is (sizes < len(SIZES))


def test_without_examples_nothing_is_decoded_or_compared(script: type[Script]) -> None:
    script.examples = False
    found = measured()
    assert (found.decoding, found.difference) == (None, None)
    assert [method for _, method, *_ in script.calls].count("decode") == 1


@pytest.mark.parametrize("method", ["loaded", "first", "run", "answers"])
def test_float32_is_shown_where_bfloat16_fails(script: type[Script], method: str) -> None:
    script.fails = ("bfloat16", method)
    found = measured()
    assert found.measured["bfloat16"].problem == ENDED.message
    assert found.measured["bfloat16"].points == {}
    assert [*found.measured["float32"].points] == [*SIZES]
    assert found.difference is None
    # It is not asked again.
    assert [(p, m) for p, m, *_ in script.calls].count(("bfloat16", method)) == 1
    assert closed(script) == ["bfloat16", "float32"]


@pytest.mark.parametrize("method", ["loaded", "first", "run", "decode", "answers"])
def test_nothing_is_shown_where_float32_fails(script: type[Script], method: str) -> None:
    script.fails = ("float32", method)
    with pytest.raises(LoadError, match="SIGILL"):
        measured()
    # Of what did not load, nothing else is tried.
    started = sorted(precision for precision, called, *_ in script.calls if called == "start")
    assert started == (["float32"] if method == "loaded" else ["bfloat16", "float32"])
    assert closed(script) == started
