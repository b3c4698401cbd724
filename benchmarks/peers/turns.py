"""The contestants of a case in turns: a little of each, again and again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass

import click
import httpx
import numpy as np

from benchmarks.load import Answers
from benchmarks.peers.cases import Answer, Case, agree
from benchmarks.peers.contestants import Bound, Contestant, Place, Target, reason
from benchmarks.peers.results import OURS, Cell, Missing, Run, Sample
from benchmarks.peers.usage import memory_mb, processor_seconds, rest

WARM_UP_S = 2
# How often a contestant may fail to start.
TRIES = 3
# A turn lasts until each connection has had so many answers, and all together so many, but at most
# so many times what was asked for. Of a slow model, a few seconds would show a queue that is still
# filling, and the request that the end of the turn cuts off would count as much as those before.
PASSES = 2
ANSWERS = 20
LONGEST = 15
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """seconds: of a turn, at least. rounds: turns of each."""

    seconds: int
    rounds: int


def duration(seconds: int, connections: int, rate: float) -> float:
    """The seconds of a turn, for one that answers `rate` a second."""
    needed = max(PASSES * connections, ANSWERS) / rate if rate else float("inf")
    return min(max(seconds, needed), LONGEST * seconds)


def sample(target: Target, case: Case, connections: int, seconds: float) -> Sample:
    """One turn."""
    before = processor_seconds(target.pids)
    got = target.run(case, connections, seconds)
    spent = processor_seconds(target.pids) - before
    memory = memory_mb(target.pids)
    rest(target.pids)
    return summary(got, spent, memory, silent=isinstance(target, Bound))


def summary(got: Answers, spent: float, memory: float, *, silent: bool) -> Sample:
    """What was counted, in the terms of a sample. silent: there are no latencies."""
    good = got.requests - got.refused
    asked = got.requests + got.broken
    return Sample(
        rate=good / got.seconds,
        p50_ms=None if silent else got.p50_ms,
        p99_ms=None if silent else got.p99_ms,
        cpu_s=1000 * spent / good if good else None,
        memory_mb=memory,
        lost=(got.refused + got.broken) / asked if asked else 1.0,
    )


def measure(
    case: Case,
    contestants: list[Contestant],
    connections: list[int],
    place: Place,
    plan: Plan,
    run: Run,
    tell: Tell,
) -> None:
    """Start the contestants of a case, let each show that it answers as Keraport does, and measure
    them in turns. What was found goes into `run`, as does who could not be measured, and why."""
    with ExitStack() as stack:
        targets: dict[str, Target] = {}
        reference: Answer | None = None
        for contestant in contestants:
            tell(f"{case.name}: {contestant.name} starts")
            try:
                target = _started(contestant, case, place, stack)
                answer = target.answer(case)
                if reference is not None and answer is not None and contestant.answers:
                    _check(case, contestant, reference, answer)
            except (click.ClickException, httpx.HTTPError) as error:
                run.missing.append(Missing(contestant.name, case.name, None, reason(error)))
                continue
            if reference is None and contestant.role == OURS:
                reference = answer
            targets[contestant.name] = target
            rest(target.pids)
        for count in connections:
            _measure(case, contestants, count, targets, plan, run, tell)


def _started(contestant: Contestant, case: Case, place: Place, stack: ExitStack) -> Target:
    """A contestant that answers, on the first try or a later one: PyTriton, for one, gives its
    processes a second to find each other, which is short on a machine that starts fifteen."""
    for _ in range(TRIES - 1):
        with suppress(click.ClickException):
            return stack.enter_context(contestant.start(case, place))
    return stack.enter_context(contestant.start(case, place))


def _check(case: Case, contestant: Contestant, ours: Answer, theirs: Answer) -> None:
    if not agree(case, ours, theirs, coarse=contestant.coarse):
        values = "" if isinstance(ours, np.ndarray) else f": {theirs} where that is {ours}"
        raise click.ClickException(f"its answer is not that of Keraport{values}")


def _measure(
    case: Case,
    contestants: list[Contestant],
    connections: int,
    targets: Mapping[str, Target],
    plan: Plan,
    run: Run,
    tell: Tell,
) -> None:
    lasting: dict[str, float] = {}
    samples: dict[str, list[Sample]] = {}
    for number in range(plan.rounds + 1):
        for name, target in targets.items():
            if number and name not in samples:
                continue
            turn = f"round {number}" if number else "warming up"
            tell(f"{case.name}, {connections} connections, {turn}: {name}")
            try:
                seconds = lasting.get(name, WARM_UP_S)
                found = sample(target, case, connections, seconds)
            except click.ClickException as error:
                run.missing.append(Missing(name, case.name, connections, reason(error)))
                samples.pop(name, None)
                continue
            if number:
                samples[name].append(found)
            else:
                lasting[name] = duration(plan.seconds, connections, found.rate)
                samples[name] = []
    for contestant in contestants:
        if contestant.name in samples:
            run.cells.append(
                Cell(
                    case.name,
                    connections,
                    contestant.name,
                    contestant.role,
                    contestant.processes,
                    samples[contestant.name],
                )
            )
