"""The memory that a model needs, and the memory that is left."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from app.resources.memory import Resident, growth, own_peak, reset_peak, resident
from app.serving.reading.oom import die_first
from app.serving.registry.folder import ScannedVersion
from app.serving.registry.memory_budget import (
    FACTOR,
    READER_BYTES,
    MemoryBudget,
    MemoryLeft,
    refusal,
    weights_size,
)
from app.serving.registry.state_folder import StateFolder
from tests.unit.test_container import GB, cgroup

SEEN = ScannedVersion("m", 1, Path("m.h5"), files=(("m.h5", 100_000_000, 5, 7),))
ESTIMATE = READER_BYTES + int(FACTOR * 100_000_000)


def _room(tmp_path: Path, *, machine_kb: int = 10**9) -> MemoryBudget:
    (tmp_path / "meminfo").write_text(f"MemTotal: {machine_kb} kB\nMemAvailable: {machine_kb} kB\n")
    return MemoryBudget(StateFolder(tmp_path / "state"), tmp_path / "cgroup", tmp_path / "meminfo")


@pytest.fixture(autouse=True)
def _imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", sys)


@pytest.mark.parametrize(
    ("files", "size"),
    [
        ((("model.h5", 5, 0, 0),), 5),
        ((("model.keras", 5, 0, 0), ("data.csv", 9, 0, 0), ("best.H5", 4, 0, 0)), 5),
        ((("saved_model.pb", 2, 0, 0), ("variables/variables.data-00000-of-00001", 7, 0, 0)), 7),
        ((("model.json", 3, 0, 0), ("model.weights.h5", 8, 0, 0)), 8),
        ((("model.yaml", 3, 0, 0),), 0),
        ((), 0),
    ],
)
def test_the_largest_file_of_weights_counts(
    files: tuple[tuple[str, int, int, int], ...], size: int
) -> None:
    assert weights_size(replace(SEEN, files=files)) == size
    assert weights_size(replace(SEEN, files=(), shared=files)) == size


def test_an_estimate_comes_first_and_what_was_measured_wins(tmp_path: Path) -> None:
    room = _room(tmp_path)
    assert room.need(SEEN) == ESTIMATE
    room.remember(SEEN, 7 * GB, alone=True)
    assert room.need(SEEN) == 7 * GB
    room.remember(SEEN, GB, alone=True)
    assert room.need(SEEN) == GB
    # What others took meanwhile is not its own.
    room.remember(SEEN, 2 * GB, alone=False)
    assert room.need(SEEN) == GB
    room.remember(SEEN, GB // 2, alone=False)
    assert room.need(SEEN) == GB // 2
    room.remember(SEEN, 0, alone=True)  # nothing was measured
    assert room.need(SEEN) == GB // 2
    assert room.need(replace(SEEN, version=2)) == ESTIMATE
    assert room.need(replace(SEEN, files=(("m.h5", 100_000_000, 6, 7),))) == ESTIMATE
    room.forget(SEEN)
    assert room.need(SEEN) == ESTIMATE


def test_what_was_measured_outlives_the_process(tmp_path: Path) -> None:
    state = StateFolder(tmp_path / "state")
    MemoryBudget(state).remember(SEEN, GB, alone=False)
    state.close()
    assert _room(tmp_path).need(SEEN) == GB


@pytest.mark.parametrize(
    "content",
    ["", "[]", "null", '{"m@1": 5}', '{"m@1": ["x"]}', '{"m@1": ["x", -1]}', '{"m@1": [1, 1]}'],
)
def test_damage_is_forgotten(tmp_path: Path, content: str) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "memory.json").write_text(content)
    room = _room(tmp_path)
    assert room.need(SEEN) == ESTIMATE
    room.remember(SEEN, GB, alone=True)
    assert room.need(SEEN) == GB


def test_the_narrower_of_container_and_machine_counts(tmp_path: Path) -> None:
    assert _room(tmp_path, machine_kb=2**20).left() == MemoryLeft(GB, GB, in_container=False)
    cgroup(tmp_path / "cgroup", 4 * GB, 3 * GB)
    assert _room(tmp_path, machine_kb=2**20 + 1).left() == MemoryLeft(GB, 4 * GB, in_container=True)
    assert _room(tmp_path, machine_kb=2**20 - 1).left() == MemoryLeft(
        GB - 1024, GB - 1024, in_container=False
    )
    assert MemoryBudget(StateFolder(None), tmp_path / "no", tmp_path / "no").left() is None


@pytest.mark.parametrize(
    ("stack", "in_container", "said"),
    [
        ("4g", True, "needs about 2.1 GB to load, 0.9 of 4 GB are left: raise KERAPORT_APP_MEMORY"),
        ("", True, "0.9 of 4 GB are left: raise the memory limit of this container"),
        ("", False, "0.9 of 4 GB of this machine are left: serve fewer or smaller models"),
        ("4g", False, "0.9 of 4 GB of this machine are left: serve fewer or smaller models"),
    ],
)
def test_a_refusal_has_the_figures_and_the_setting(
    stack: str, in_container: bool, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAPORT_APP_MEMORY", stack)
    left = MemoryLeft(int(0.9 * GB), 4 * GB, in_container=in_container)
    assert said in refusal(int(2.1 * GB), left)


@pytest.mark.parametrize(
    ("began", "ended", "took"),
    [
        ((10, 5, 1), (20, 8, 1), 15),  # a new peak
        ((10, 5, 1), (10, 8, 1), 3),  # none: what is there more
        ((10, 5, 1), (10, 4, 1), 0),
        ((10, 5, 1), (20, 8, 4), 12),  # files that are mapped now
        ((10, 5, 3), (20, 8, 1), 15),
    ],
)
def test_growth(began: tuple[int, int, int], ended: tuple[int, int, int], took: int) -> None:
    assert growth(Resident(*began), Resident(*ended)) == took


ALLOCATES = """
import sys
sys.stdin.readline()
held = bytearray(300_000_000)
del held
print(flush=True)
sys.stdin.readline()
"""


def test_the_peak_of_another_process(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", ALLOCATES], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdin is not None
    assert child.stdout is not None
    with child:
        child.stdin.write(b"\n")
        child.stdin.flush()
        child.stdout.readline()
        assert 300_000_000 < own_peak(child.pid) < 400_000_000
        peak, now, _ = resident(child.pid)
        assert peak - now > 250_000_000
        reset_peak(child.pid)
        assert own_peak(child.pid) < 100_000_000
    assert resident(child.pid) == (0, 0, 0)
    assert own_peak(child.pid) == 0
    reset_peak(child.pid)  # nothing happens


def test_the_reader_dies_first_when_memory_runs_out() -> None:
    before = Path("/proc/self/oom_score_adj").read_text()
    pid = os.fork()
    if not pid:
        die_first()
        os._exit(int(Path("/proc/self/oom_score_adj").read_text()) != 1000)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert Path("/proc/self/oom_score_adj").read_text() == before
