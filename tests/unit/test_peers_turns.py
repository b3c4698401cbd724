"""The turns of the peers of the benchmark, and who can be measured. No server starts here."""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import httpx
import psutil
import pytest

from benchmarks import processes
from benchmarks.load import Answers
from benchmarks.peers import turns, usage
from benchmarks.peers.cases import PICTURE, ROW, TENSOR, Case
from benchmarks.peers.contestants import (
    CONTESTANTS,
    Contestant,
    Place,
    Target,
    reason,
    unavailable,
)
from benchmarks.peers.machine import processor
from benchmarks.peers.results import BOUND, OURS, PEER, Missing, Run
from benchmarks.peers.turns import Plan, duration, measure, summary
from tests.support import ROOT

CASE = Case("a case", ROW, "model", {"weight": 3504.5}, {"weight": 3504.5})


@pytest.mark.parametrize(
    ("connections", "rate", "lasts"),
    [
        (1, 1000.0, 4),  # as asked for
        (256, 128.0, 4),  # two answers a connection in just that
        (256, 51.2, 10),  # a slow model takes longer
        (1, 2.0, 10),  # twenty answers at least
        (256, 1.0, 60),  # but not without end
        (32, 0.0, 60),  # nothing was answered while warming up
    ],
)
def test_a_turn_lasts_until_each_connection_has_had_answers(
    connections: int, rate: float, lasts: float
) -> None:
    assert duration(4, connections, rate) == pytest.approx(lasts)


def test_refusals_are_no_answers() -> None:
    got = summary(Answers(100, 2.0, 5.0, 9.0, 20, 4), 0.4, 300.0, silent=False)
    assert got.rate == 40
    assert got.cpu_s == pytest.approx(5)
    assert got.lost == pytest.approx(24 / 104)
    assert (got.p50_ms, got.p99_ms, got.memory_mb) == (5.0, 9.0, 300.0)


def test_without_answers_there_is_no_cost_of_one() -> None:
    got = summary(Answers(3, 2.0, 5.0, 9.0, 3, 0), 0.4, 300.0, silent=True)
    assert (got.rate, got.cpu_s, got.p50_ms, got.p99_ms, got.lost) == (0, None, None, None, 1)
    assert summary(Answers(0, 2.0, 0, 0, 0, 0), 0.0, 1.0, silent=True).lost == 1


class Pretended:
    """A server that answers at a rate, until it fails; `log` has its turns."""

    pids: tuple[int, ...] = ()

    def __init__(self, name: str, log: list[str], answer: Any = 1.0, fails_at: int = 99) -> None:
        self._name, self._log = name, log
        self._answer = answer
        self._left = fails_at

    def answer(self, case: Case) -> Any:
        return self._answer

    def run(self, case: Case, connections: int, seconds: float) -> Answers:
        self._left -= 1
        if self._left < 0:
            raise click.ClickException("wrk failed\n  it is gone")
        self._log.append(self._name)
        return Answers(round(50 * seconds), seconds, 1.0, 2.0, 0, 0)


def pretend(name: str, role: str, target: Any, **options: Any) -> Contestant:
    @contextmanager
    def start(case: Case, place: Place) -> Iterator[Target]:
        if isinstance(target, Exception):
            raise target
        yield target

    return Contestant(name, role, start, **options)


@pytest.fixture
def restless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "rest", lambda pids: None)


def measured(*contestants: Contestant, rounds: int = 2) -> Run:
    run = Run({})
    place = Place(Path(), Path(), Path())
    measure(CASE, list(contestants), [32], place, Plan(1, rounds), run, lambda text: None)
    return run


@pytest.mark.usefixtures("restless")
def test_contestants_alternate_after_a_warm_up() -> None:
    log: list[str] = []
    names = ("a", "b", "c")
    run = measured(*(pretend(name, PEER, Pretended(name, log)) for name in names))
    assert log == [*names] * 3
    assert [(each.contestant, len(each.samples)) for each in run.cells] == [
        (name, 2) for name in names
    ]
    assert {rate for each in run.cells for rate in each.rates} == {50}


@pytest.mark.usefixtures("restless")
def test_one_that_does_not_start_or_ends_is_named_and_the_others_go_on() -> None:
    log: list[str] = []
    run = measured(
        pretend("Keraport", OURS, Pretended("Keraport", log)),
        pretend("absent", PEER, click.ClickException("its log ends:\n\n  no module\n")),
        pretend("silent", PEER, httpx.ConnectError("refused")),
        pretend("mortal", PEER, Pretended("mortal", log, fails_at=2)),
        pretend("immortal", PEER, Pretended("immortal", log)),
    )
    assert [each.contestant for each in run.cells] == ["Keraport", "immortal"]
    assert run.missing == [
        Missing("absent", "a case", None, "no module"),
        Missing("silent", "a case", None, "refused"),
        Missing("mortal", "a case", 32, "it is gone"),
    ]


@pytest.mark.usefixtures("restless")
def test_one_that_starts_at_a_later_try_is_measured() -> None:
    log: list[str] = []
    left = iter(range(turns.TRIES - 1))

    @contextmanager
    def start(case: Case, place: Place) -> Iterator[Any]:
        if next(left, None) is not None:
            raise click.ClickException("too slow")
        yield Pretended("slow", log)

    run = measured(Contestant("slow", PEER, start))
    assert [each.contestant for each in run.cells] == ["slow"]
    assert run.missing == []


@pytest.mark.usefixtures("restless")
def test_one_that_answers_otherwise_is_not_measured() -> None:
    log: list[str] = []
    run = measured(
        pretend("Keraport", OURS, Pretended("Keraport", log, 1.0)),
        pretend("wrong", PEER, Pretended("wrong", log, 1.5)),
        pretend("rough", OURS, Pretended("rough", log, 1.15), coarse=True),
        pretend("floor", BOUND, Pretended("floor", log, 7.0), answers=False),
        pretend("ceiling", BOUND, Pretended("ceiling", log, None)),
    )
    assert [each.contestant for each in run.cells] == ["Keraport", "rough", "floor", "ceiling"]
    (missing,) = run.missing
    assert missing.contestant == "wrong"
    assert missing.reason == "its answer is not that of Keraport: 1.5 where that is 1.0"


def test_the_cost_of_processes_is_that_of_their_children_too() -> None:
    pids = [os.getpid()]
    before = usage.processor_seconds(pids)
    subprocess.run([sys.executable, "-c", "sum(range(3_000_000))"], check=True)
    assert usage.processor_seconds(pids) > before
    assert usage.memory_mb(pids) > 10
    assert usage.tree([2**22 + 1]) == []
    assert usage.memory_mb([2**22 + 1]) == usage.processor_seconds([2**22 + 1]) == 0


# Ignores the request to end, and starts one that does too, in a session of its own.
STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"],
                         start_new_session=True)
print(child.pid, flush=True)
time.sleep(60)
"""


def test_what_was_started_ends_with_all_that_it_started(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(processes, "STOP_TIMEOUT_S", 0.1)
    with processes.running(["-c", STUBBORN], tmp_path / "log") as process:
        assert process.stdout is not None
        child = psutil.Process(int(process.stdout.readline()))
        assert child.is_running()
    assert process.returncode == -signal.SIGKILL
    with suppress(psutil.NoSuchProcess):
        assert child.wait(10) is None


def test_what_a_peer_prints_goes_into_its_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with processes.running(["-c", "print('x' * 100_000)"], log, talks=False) as process:
        assert process.wait(30) == 0
    assert len(log.read_text()) > 100_000


def test_rest_waits_for_a_pause_and_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=0.0)
    spent = iter([0.0, 0.5, 0.5, 0.9, 0.9, 0.91, 5.0])

    def sleep(seconds: float) -> None:
        clock.now += seconds

    monkeypatch.setattr(time, "monotonic", lambda: clock.now)
    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(usage, "processor_seconds", lambda pids: next(spent))
    usage.rest([1])
    assert clock.now == pytest.approx(3 * usage.LOOK_S)
    busy = itertools.count()
    monkeypatch.setattr(usage, "processor_seconds", lambda pids: next(busy))
    usage.rest([1])
    assert clock.now == pytest.approx(usage.REST_S, abs=5)


def test_every_input_has_contestants_of_all_roles() -> None:
    assert len({each.name for each in CONTESTANTS}) == len(CONTESTANTS)
    for kind in (ROW, PICTURE, TENSOR):
        roles = {each.role for each in CONTESTANTS if kind in each.kinds}
        assert roles == {OURS, PEER, BOUND}
    assert all((each.role == PEER) == (each.module is not None) for each in CONTESTANTS)


def test_the_environment_of_the_peers_has_each_with_hashes() -> None:
    wanted = (ROOT / "benchmarks/peers/requirements.in").read_text()
    locked = (ROOT / "benchmarks/peers/requirements.lock").read_text()
    for module in {each.module for each in CONTESTANTS if each.module}:
        package = module.replace("pytriton", "nvidia-pytriton")
        assert re.search(rf"(?m)^{package}\b", wanted)
        assert re.search(rf"(?m)^{package}==.+\n    --hash=sha256:", locked)
    assert "://" not in locked


def test_a_peer_that_cannot_be_had_has_a_reason() -> None:
    assert unavailable("json", Path(sys.executable)) is None
    why = unavailable("no_such_package", Path(sys.executable))
    assert why == "ModuleNotFoundError: No module named 'no_such_package'"
    assert "make bench PEERS=1" in str(unavailable("json", Path("/none/python")))


def test_an_error_is_its_last_line_or_the_one_that_names_it() -> None:
    log = "its log ends:\n  File x\ntritonclient.utils.InferenceServerException: [400]\n\nAt:\n ;"
    named = "tritonclient.utils.InferenceServerException: [400]"
    assert reason(click.ClickException(log)) == named
    assert (
        reason(click.ClickException("its log ends:\nTraceback\nOSError: no\n\n")) == "OSError: no"
    )
    assert reason(httpx.ConnectError("")) == "ConnectError"


def test_the_processor_is_named_with_what_makes_bfloat16_fast(tmp_path: Path) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text("processor : 0\nmodel name : Some CPU\nflags : fpu avx512_bf16 amx_bf16\n")
    assert processor(file) == "Some CPU with amx_bf16"
    file.write_text("model name : Old CPU\nflags : fpu\n")
    assert processor(file) == "Old CPU"
    assert processor(tmp_path / "none")
