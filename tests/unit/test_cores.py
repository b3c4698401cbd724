"""How many cores a container leaves."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from app.serving.cores import usable_cores

OURS = len(os.sched_getaffinity(0))


def v2(folder: Path, text: str) -> Path:
    (folder / "cpu.max").write_text(text)
    return folder


def v1(folder: Path, quota: int, period: int = 100_000) -> Path:
    (folder / "cpu").mkdir()
    (folder / "cpu" / "cpu.cfs_quota_us").write_text(f"{quota}\n")
    (folder / "cpu" / "cpu.cfs_period_us").write_text(f"{period}\n")
    return folder


@pytest.mark.parametrize(
    ("quota", "cores"),
    [(1_000, 1), (50_000, 1), (100_000, 1), (100_001, 2), (150_000, 2), (200_000, 2), (200_001, 3)],
)
def test_a_quota_counts_up_to_whole_cores(tmp_path: Path, quota: int, cores: int) -> None:
    (tmp_path / "2").mkdir()
    (tmp_path / "1").mkdir()
    assert usable_cores(v2(tmp_path / "2", f"{quota} 100000\n")) == min(cores, OURS)
    assert usable_cores(v1(tmp_path / "1", quota)) == min(cores, OURS)


def test_the_period_counts(tmp_path: Path) -> None:
    assert usable_cores(v2(tmp_path, "100000 50000\n")) == min(2, OURS)
    assert usable_cores(v2(tmp_path, "100000 200000\n")) == 1


@pytest.mark.parametrize("text", ["max 100000\n", "9999999 100000\n", "", "nonsense\n"])
def test_without_a_tight_quota_the_scheduler_decides(tmp_path: Path, text: str) -> None:
    assert usable_cores(v2(tmp_path, text)) == OURS


def test_v1_without_a_quota(tmp_path: Path) -> None:
    assert usable_cores(v1(tmp_path, -1)) == OURS


def test_without_cgroups(tmp_path: Path) -> None:
    assert usable_cores(tmp_path / "nothing") == OURS


def test_v2_goes_before_v1(tmp_path: Path) -> None:
    assert usable_cores(v2(v1(tmp_path, 10_000_000), "100000 100000")) == 1


def test_the_affinity_of_the_process_counts(tmp_path: Path) -> None:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert usable_cores(tmp_path) == 1
    finally:
        os.sched_setaffinity(0, before)
