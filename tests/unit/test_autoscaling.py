"""The simulation of autoscaling agrees with what can be reckoned."""

from __future__ import annotations

import pytest

from benchmarks.autoscaling import Rule, Service, arrivals, simulate

# Twenty predictions a second, and a replica that is there after ten seconds.
SERVICE = Service(seconds=0.05, start_s=10)
FIXED = Rule(queue=32, least=1, most=1)


def test_what_one_replica_cannot_do_is_refused() -> None:
    """Twice its capacity for a minute: half is refused, but for what waits in the end."""
    outcome = simulate(SERVICE, FIXED, arrivals([(60, 40)]))
    assert outcome.sent == pytest.approx(2400, rel=0.05)
    assert outcome.refused == pytest.approx(outcome.sent - 1200 - SERVICE.admitted, rel=0.03)
    assert len(outcome.seconds) == outcome.sent - outcome.refused
    assert outcome.percentile(0.99) == pytest.approx(SERVICE.admitted * SERVICE.seconds, rel=0.05)


def test_no_more_waits_than_can_be_answered_in_time() -> None:
    assert SERVICE.admitted == 256
    assert Service(seconds=1, start_s=1).admitted == 24
    assert Service(seconds=100, start_s=1).admitted == 1


def test_a_queue_starts_replicas_and_quiet_stops_them() -> None:
    rule = Rule(queue=32, least=1, most=4, cool_down_s=60)
    busy = simulate(SERVICE, rule, arrivals([(120, 60)]))
    assert busy.most_replicas == 4
    alone = simulate(SERVICE, FIXED, arrivals([(120, 60)]))
    assert busy.refused < 0.4 * alone.refused
    long_after = simulate(SERVICE, rule, arrivals([(120, 60), (600, 2)]))
    always = 4 * (720 + SERVICE.timeout_s)
    assert long_after.replica_s < 0.6 * always


def test_a_load_within_the_capacity_changes_nothing() -> None:
    outcome = simulate(SERVICE, Rule(queue=32, least=2), arrivals([(120, 20)]))
    assert outcome.refused == 0
    assert outcome.most_replicas == 2


def test_sooner_is_better() -> None:
    burst = arrivals([(30, 10), (60, 100)])
    refused = [
        simulate(Service(seconds=0.05, start_s=start_s), Rule(queue=queue), burst).refused
        for start_s, queue in ((5, 16), (20, 16), (20, 128))
    ]
    assert refused == sorted(refused)
    assert refused[0] < refused[1]
