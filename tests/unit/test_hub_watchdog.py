"""Which seconds count as standing still."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.server.hub_watchdog import HubWatchdog


class Hub:
    """A hub of a process 7 that is made of files, and a clock that stands."""

    def __init__(self, proc: Path, limit_s: float = 8, drain_s: float = 20) -> None:
        self._folder = proc / "7"
        (self._folder / "task" / "7").mkdir(parents=True)
        self._waited_s, self.now = 100.0, 1000.0
        self.reader, self.writer = os.pipe()
        self.is_in("S")
        self.watch = HubWatchdog(self.reader, 7, limit_s, drain_s, lambda: self.now, proc)
        self.turn()
        assert self.look() is None

    def is_in(self, state: str) -> None:
        (self._folder / "stat").write_text(f"7 (a) T (x) {state} 1 7 7 0")

    def turn(self) -> None:
        os.write(self.writer, b".")

    def look(self, after_s: float = 0.0, waited_s: float = 0.0) -> str | None:
        self.now += after_s
        self._waited_s += waited_s
        stat = f"5000000000 {int(self._waited_s * 1e9)} 17\n"
        (self._folder / "task" / "7" / "schedstat").write_text(stat)
        return self.watch.check()

    def still_for(self, seconds: int, waited_s: float = 0.0) -> bool:
        """Whether it is not ended within so many looks, one a second."""
        return not any(self.look(1.0, waited_s) for _ in range(seconds))


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    hub = Hub(tmp_path)
    yield hub
    os.close(hub.reader)
    os.close(hub.writer)


def test_a_hub_that_stands_still(hub: Hub) -> None:
    assert hub.watch.every_s == 1
    assert hub.still_for(7)
    hub.turn()
    assert hub.still_for(8)
    reason = hub.look(1)
    assert reason is not None
    assert "for 8 s (KERAPORT_WATCHDOG_S)" in reason


def test_a_sleep_of_the_machine_is_two_seconds(hub: Hub) -> None:
    """As is any time in which this process did not look."""
    assert hub.look(3600) is None
    assert hub.still_for(5)
    assert hub.look(1)


@pytest.mark.parametrize("state", ["T", "t"])
def test_a_process_that_is_stopped_does_not_count(hub: Hub, state: str) -> None:
    hub.is_in(state)
    assert hub.still_for(100)
    hub.is_in("R")
    assert hub.still_for(7)
    assert hub.look(1)


@pytest.mark.parametrize("state", ["R", "S", "D"])
def test_any_other_state_counts(hub: Hub, state: str) -> None:
    hub.is_in(state)
    assert not hub.still_for(8)


def test_waiting_for_a_core_does_not_count(hub: Hub) -> None:
    assert hub.still_for(31, waited_s=0.75)
    assert hub.look(1, waited_s=0.75)
    hub.turn()
    assert hub.look() is None
    assert hub.still_for(100, waited_s=2)


def test_a_kernel_that_does_not_say(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "7" / "stat").unlink()
    assert hub.still_for(7)
    assert hub.look(1)


def test_a_start_may_take_as_long_as_it_likes(tmp_path: Path) -> None:
    heartbeat, beat = os.pipe()
    now = 0.0
    watch = HubWatchdog(heartbeat, 7, 8, 20, lambda: now, tmp_path)
    for _ in range(100):
        now += 1
        assert watch.check() is None
    # Unless it was asked to stop.
    watch.stop()
    ends = []
    for _ in range(21):
        now += 1
        ends.append(watch.check() is not None)
    assert ends == [False] * 19 + [True] * 2
    os.close(heartbeat)
    os.close(beat)


def test_a_hub_that_was_stopped_and_stands_still(tmp_path: Path) -> None:
    hub = Hub(tmp_path, limit_s=120)
    hub.watch.stop()
    for _ in range(100):  # one that turns ends by itself
        hub.turn()
        assert hub.look(1) is None
    assert hub.still_for(2)
    assert "asked to stop" in (hub.look(1) or "")
    hub.turn()
    assert hub.look() is None
    hub.watch.stop()
    assert hub.still_for(2)
    assert hub.look(1)
