"""What is written down, and what is made of a file that is not as it should be."""

from __future__ import annotations

import fcntl
import json
import multiprocessing
from pathlib import Path
from typing import Any

import pytest

from app.status import journal as module
from app.status.journal import DAY_S, MAX_EVENTS, Journal

NOW = 1_700_000_000.0


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        self.now += 1
        return self.now


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "events" / "events.jsonl"


def _kinds(journal: Journal) -> list[str]:
    """The oldest first."""
    return [f"{e.replica} {e.kind}" for e in reversed(journal.events())]


def _lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_without_a_file_a_replica_remembers_its_own() -> None:
    journal = Journal(None, "a", Clock())
    journal.start()
    journal.note("loaded", model="mpg", seconds=1.23456)
    journal.note("failed", model="bad", reason="no model")
    texts = [e.text for e in journal.events()]
    assert texts == [
        "Model bad failed to load: no model",
        "Model mpg ready after 1.2 s",
        "Server started",
    ]


def test_replicas_share_a_file(file: Path) -> None:
    clock = Clock()
    first, second = Journal(file, "a", clock), Journal(file, "b", clock)
    first.start()
    second.start()
    first.note("stopped", reason="every request was answered")
    assert _kinds(first) == _kinds(second) == ["a started", "b started", "a stopped"]
    assert [line["kind"] for line in _lines(file)] == ["started", "started", "stopped"]


def test_an_end_without_a_stop_is_found_at_the_next_start(file: Path) -> None:
    clock = Clock()
    Journal(file, "a", clock).start()
    Journal(file, "b", clock).start()
    again = Journal(file, "a", clock)
    again.start()
    assert _kinds(again) == ["a started", "b started", "a died", "a started"]
    again.note("loaded", model="m", seconds=1)
    again.note("stopped", reason="x")
    Journal(file, "a", clock).start()
    assert _kinds(again)[-2:] == ["a stopped", "a started"]
    assert _kinds(again).count("a died") == 1


def test_what_happens_in_one_moment_is_told_in_its_order(file: Path) -> None:
    for _ in range(2):
        Journal(file, "a", lambda: NOW).start()
    journal = Journal(file, "a", lambda: NOW)
    journal.note("stopped", reason="x")
    assert _kinds(journal) == ["a died", "a started", "a stopped"]


def test_what_is_older_than_a_day_goes_at_the_next_start(file: Path) -> None:
    clock = Clock()
    old = Journal(file, "a", clock)
    old.start()
    old.note("loaded", model="m", seconds=1)
    old.note("stopped", reason="x")
    clock.now += DAY_S + 10
    assert old.events() == []
    Journal(file, "b", clock).start()
    assert [line["replica"] for line in _lines(file)] == ["b"]


def test_a_start_of_long_ago_still_tells_of_a_death(file: Path) -> None:
    """Another replica has cleared the file meanwhile."""
    clock = Clock()
    Journal(file, "a", clock).start()
    clock.now += 3 * DAY_S
    Journal(file, "b", clock).start()
    clock.now += 3 * DAY_S
    again = Journal(file, "a", clock)
    again.start()
    assert _kinds(again) == ["a died", "a started"]


def test_the_file_is_bounded(file: Path) -> None:
    clock = Clock()
    journal = Journal(file, "a", clock)
    journal.start()
    for i in range(MAX_EVENTS + 50):
        journal.note("loaded", model=f"m{i}", seconds=0)
    journal.note("stopped", reason="x")
    Journal(file, "a", clock).start()
    lines = _lines(file)
    assert len(lines) == MAX_EVENTS + 1
    assert [line["kind"] for line in lines[-2:]] == ["stopped", "started"]


def test_lines_that_cannot_be_read_are_passed_over(file: Path) -> None:
    file.parent.mkdir()
    clock = Clock()
    good = json.dumps({"time": NOW, "replica": "b", "kind": "started"})
    huge = json.dumps({"time": NOW, "replica": "x" * 10_000, "kind": "started"})
    other = json.dumps({"time": 1e300, "replica": "b", "kind": "started"})
    file.write_bytes("\n".join(["", "[]", good, "{", huge, other, "null"]).encode() + b"\n\xff\n")
    journal = Journal(file, "a", clock)
    journal.start()
    assert _kinds(journal) == ["b started", "a started"]


def test_a_torn_line_takes_no_other_with_it(file: Path) -> None:
    journal = Journal(file, "a", Clock())
    journal.start()
    with file.open("ab") as out:
        out.write(b'{"time": 17000')
    journal.note("stopped", reason="x")
    reader = Journal(file, "b", Clock())
    assert _kinds(reader) == ["a started", "a stopped"]


def test_odd_names_can_be_written(file: Path) -> None:
    journal = Journal(file, "a", Clock())
    journal.start()
    journal.note("failed", model="\udcff", reason="long " * 1000 + "\n")
    event, _ = Journal(file, "b", Clock()).events()
    assert event.model == "?"
    assert len(event.reason or "") == 500


@pytest.mark.parametrize("problem", ["folder", "under a file"])
def test_a_file_that_cannot_be_written_is_told_once(
    file: Path, caplog: pytest.LogCaptureFixture, problem: str
) -> None:
    if problem == "folder":
        file.mkdir(parents=True)
    else:
        file.parent.write_text("")
    journal = Journal(file, "a", Clock())
    journal.start()
    journal.note("loaded", model="m", seconds=1)
    assert _kinds(journal) == ["a started", "a loaded"]
    assert len(caplog.messages) == 1
    assert "in memory only" in caplog.messages[0]


def test_a_full_disk_hurts_nobody(caplog: pytest.LogCaptureFixture) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    journal = Journal(full, "a", Clock())
    journal.note("started")
    assert _kinds(journal) == ["a started"]
    assert "No space left" in caplog.text


def test_a_lock_that_nobody_frees_is_done_without(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOCK_TIMEOUT_S", 0.05)
    journal = Journal(file, "a", Clock())
    journal.start()
    with file.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        journal.note("stopped", reason="x")
    assert _kinds(Journal(file, "b", Clock())) == ["a started", "a stopped"]


OFTEN = 100


def _start_often(file: Path, replica: str, together: Any) -> None:
    # In a process of its own. On a busy machine, three that never pause wait longer than half a
    # second, after which a replica writes without the lock.
    module.LOCK_TIMEOUT_S = 60
    together.wait()
    for _ in range(OFTEN):
        journal = Journal(file, replica)
        journal.start()
        journal.note("stopped", reason="x")


def test_replicas_that_start_at_once_lose_no_event(file: Path) -> None:
    """Each start writes the file anew, under the others' hands."""
    context = multiprocessing.get_context("spawn")
    names = ["a", "b", "c"]
    together = context.Barrier(len(names))
    processes = [context.Process(target=_start_often, args=(file, n, together)) for n in names]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    found = [(line["replica"], line["kind"]) for line in _lines(file)]
    for name in names:
        own = [kind for replica, kind in found if replica == name]
        assert own == ["started", "stopped"] * OFTEN


def test_a_file_that_is_replaced_between_opening_and_locking_is_opened_again(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(file, "a", Clock())
    journal.start()
    lock = module._lock
    calls: list[int] = []

    def replaced_first(fd: int) -> bool:
        if not calls:
            calls.append(fd)
            new = file.with_name("new")
            new.write_bytes(file.read_bytes())
            new.replace(file)
        return lock(fd)

    monkeypatch.setattr(module, "_lock", replaced_first)
    journal.note("stopped", reason="x")
    assert [line["kind"] for line in _lines(file)] == ["started", "stopped"]
