"""Replicas that an autoscaler starts and stops, simulated with simpy: what a burst costs.

The autoscaler is that of Kubernetes (HorizontalPodAutoscaler) or KEDA on the depth of the queues:
https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#algorithm-details
"""

from __future__ import annotations

import math
import random
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import simpy

T = TypeVar("T", int, float)

# A change of less than a tenth is none, as in Kubernetes.
TOLERANCE = 0.1
# As app/serving/engine/admission.py.
MARGIN = 0.8


@dataclass(frozen=True, slots=True)
class Service:
    """What a replica does.

    seconds: of one prediction at full load, its share of a batch. queue: most predictions between
    arrival and answer. timeout_s: that a request may take. start_s: from the decision to start a
    replica to its first answer.
    """

    seconds: float
    start_s: float
    queue: int = 256
    timeout_s: float = 30.0

    @property
    def admitted(self) -> int:
        """The predictions that may wait: more could not be answered in time."""
        return max(1, min(self.queue, int(MARGIN * self.timeout_s / self.seconds)))


@dataclass(frozen=True, slots=True)
class Rule:
    """When to start and to stop replicas.

    queue: predictions between arrival and answer, for each replica, that are aimed at. every_s:
    between two looks. window_s: over which the queue is averaged. cool_down_s: for which the
    largest number that was wanted is kept. step_s: within which the number at most doubles.
    """

    queue: float
    least: int = 2
    most: int = 10
    every_s: float = 5.0
    window_s: float = 15.0
    cool_down_s: float = 300.0
    step_s: float = 15.0


@dataclass(slots=True)
class Outcome:
    """What came of it. seconds: from arrival to answer, of each one answered. replica_s: for which
    replicas ran, starting included."""

    sent: int = 0
    refused: int = 0
    seconds: list[float] = field(default_factory=list)
    replica_s: float = 0.0
    most_replicas: int = 0

    @property
    def refused_share(self) -> float:
        """The share of the requests that got 503."""
        return self.refused / max(1, self.sent)

    def percentile(self, share: float) -> float:
        """The seconds within which this share of the answers came."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


class Autoscaler:
    """Decides how many replicas there are to be. For clocks of any kind: it takes the time."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._depths: list[tuple[float, float]] = []
        self._wanted: list[tuple[float, int]] = []
        self._counts: list[tuple[float, int]] = [(-math.inf, rule.least)]

    def see(self, now: float, depth: int) -> None:
        """Note the depth of all queues together."""
        self._depths = [*_after(self._depths, now - self._rule.window_s), (now, depth)]

    def target(self, now: float, ready: int, starting: int) -> int:
        """Return how many replicas there are to be, of which so many are ready or starting."""
        rule = self._rule
        mean = sum(depth for _, depth in self._depths) / len(self._depths)
        # Of those that are ready: one that starts has no queue yet.
        unchanged = abs(mean / ready / rule.queue - 1) <= TOLERANCE
        wanted = ready if unchanged else math.ceil(mean / rule.queue)
        wanted = max(rule.least, min(rule.most, wanted))
        self._wanted = [*_after(self._wanted, now - rule.cool_down_s), (now, wanted)]
        count = ready + starting
        before = [number for at, number in self._counts if at <= now - rule.step_s][-1]
        if wanted > count:
            count = max(count, min(wanted, 2 * before))
        elif not starting and max(number for _, number in self._wanted) < count:
            count -= 1
        self._counts.append((now, count))
        return count


class _Replica:
    """A queue and whoever works it off, one prediction after the other."""

    def __init__(self, environment: simpy.Environment, service: Service, outcome: Outcome) -> None:
        self._environment = environment
        self._service = service
        self._outcome = outcome
        self._worker = simpy.Resource(environment)
        self.depth = 0

    def take(self) -> bool:
        """Accept a request, or refuse it."""
        if self.depth >= self._service.admitted:
            return False
        self.depth += 1
        self._environment.process(self._answer())
        return True

    def _answer(self) -> Generator[Any, Any, None]:
        arrived = self._environment.now
        with self._worker.request() as turn:
            yield turn
            yield self._environment.timeout(self._service.seconds)
        self.depth -= 1
        self._outcome.seconds.append(self._environment.now - arrived)


class _Fleet:
    """The replicas, started and stopped as the autoscaler wants it."""

    def __init__(self, environment: simpy.Environment, service: Service, rule: Rule) -> None:
        self._environment = environment
        self._service = service
        self._rule = rule
        self._autoscaler = Autoscaler(rule)
        self.outcome = Outcome()
        self._ready = [self._new() for _ in range(rule.least)]
        self._starting = 0

    def arrive(self) -> None:
        """Send a request to the replica with the shortest queue, as nginx does."""
        self.outcome.sent += 1
        if not min(self._ready, key=lambda replica: replica.depth).take():
            self.outcome.refused += 1

    def scale(self) -> Generator[Any, Any, None]:
        """Look at the queues once a second, and act every `every_s`."""
        acted = 0.0
        while True:
            yield self._environment.timeout(1.0)
            now = self._environment.now
            count = len(self._ready) + self._starting
            self.outcome.replica_s += count
            self.outcome.most_replicas = max(self.outcome.most_replicas, count)
            self._autoscaler.see(now, sum(replica.depth for replica in self._ready))
            if now - acted >= self._rule.every_s:
                acted = now
                target = self._autoscaler.target(now, len(self._ready), self._starting)
                for _ in range(count, target):
                    self._starting += 1
                    self._environment.process(self._start())
                if target < count:
                    # It finishes what it has.
                    self._ready.remove(min(self._ready, key=lambda replica: replica.depth))

    def _start(self) -> Generator[Any, Any, None]:
        yield self._environment.timeout(self._service.start_s)
        self._starting -= 1
        self._ready.append(self._new())

    def _new(self) -> _Replica:
        return _Replica(self._environment, self._service, self.outcome)


def _after(noted: list[tuple[float, T]], time: float) -> list[tuple[float, T]]:
    return [(at, number) for at, number in noted if at > time]


def arrivals(phases: list[tuple[float, float]], seed: int = 1) -> list[float]:
    """Return the times of requests that come independently of each other (a Poisson process), for
    phases of so many seconds with so many requests a second."""
    chance = random.Random(seed)
    times, began = [], 0.0
    for seconds, rate in phases:
        at = began + chance.expovariate(rate)
        while at < began + seconds:
            times.append(at)
            at += chance.expovariate(rate)
        began += seconds
    return times


def simulate(service: Service, rule: Rule, times: list[float]) -> Outcome:
    """Return what comes of requests at these times."""
    environment = simpy.Environment()
    fleet = _Fleet(environment, service, rule)

    def send() -> Generator[Any, Any, None]:
        for at in times:
            yield environment.timeout(at - environment.now)
            fleet.arrive()

    environment.process(fleet.scale())
    environment.process(send())
    environment.run(until=times[-1] + service.timeout_s)
    return fleet.outcome
