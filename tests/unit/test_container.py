"""Cores and memory that a container may use, from cgroups."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.resources import container
from app.resources.container import (
    container_memory,
    machine_memory,
    own_cores,
    share_cores,
    usable_cores,
)

GB = 2**30

# --- memory


def cgroup(folder: Path, limit: object, used: int, **stat: int) -> Path:
    """A folder as cgroup v2 has it."""
    folder.mkdir(exist_ok=True)
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text("".join(f"{k} {v}\n" for k, v in stat.items()))
    return folder


def cgroup_v1(folder: Path, limit: int, used: int, **stat: int) -> Path:
    """A folder as cgroup v1 has it."""
    (folder / "memory").mkdir(parents=True)
    (folder / "memory/memory.limit_in_bytes").write_text(f"{limit}\n")
    (folder / "memory/memory.usage_in_bytes").write_text(f"{used}\n")
    (folder / "memory/memory.stat").write_text("".join(f"{k} {v}\n" for k, v in stat.items()))
    return folder


def test_the_page_cache_that_nothing_maps_is_left(tmp_path: Path) -> None:
    cached = {"inactive_file": GB // 2, "active_file": GB // 4, "file_mapped": GB // 8}
    found = container_memory(cgroup(tmp_path, 4 * GB, 2 * GB, **cached))
    assert found is not None
    assert (found.limit, found.used) == (4 * GB, 2 * GB - GB // 2)
    assert found.left == 2 * GB + GB // 2 + GB // 4 - GB // 8


def test_what_is_mapped_counts_once(tmp_path: Path) -> None:
    """Inactive pages count as free, even if most of the cache is mapped."""
    cached = {"inactive_file": GB // 2, "active_file": GB // 4, "file_mapped": GB}
    found = container_memory(cgroup(tmp_path, 4 * GB, 2 * GB, **cached, slab_reclaimable=1000))
    assert found is not None
    assert found.left == 2 * GB + GB // 2 + 1000


def test_cgroup_v1(tmp_path: Path) -> None:
    cached = {
        "inactive_file": 1,  # of this group alone, without those in it
        "total_inactive_file": GB // 2,
        "total_active_file": GB // 4,
        "total_mapped_file": GB // 8,
    }
    found = container_memory(cgroup_v1(tmp_path, 4 * GB, 2 * GB, **cached))
    assert found is not None
    assert (found.limit, found.used) == (4 * GB, 2 * GB - GB // 2)
    assert found.left == 2 * GB + GB // 2 + GB // 4 - GB // 8


@pytest.mark.parametrize("limit", ["max", "", "nonsense", 2**63 - 4096])
def test_no_limit(tmp_path: Path, limit: object) -> None:
    assert container_memory(cgroup(tmp_path, limit, GB)) is None
    assert container_memory(tmp_path / "nothing") is None


def test_cgroup_v1_without_a_limit(tmp_path: Path) -> None:
    assert container_memory(cgroup_v1(tmp_path, 2**63 - 4096, GB)) is None


sizes = st.integers(0, 2**40)


@given(
    limit=sizes, used=sizes, inactive_file=sizes, active_file=sizes, file_mapped=sizes
)  # fmt: skip
def test_whatever_it_says_the_numbers_are_in_bounds(
    tmp_path_factory: pytest.TempPathFactory, limit: int, used: int, **stat: int
) -> None:
    found = container_memory(cgroup(tmp_path_factory.getbasetemp() / "any", limit, used, **stat))
    assert found is not None
    assert 0 <= found.left <= found.limit == limit
    assert 0 <= found.used <= used


def test_the_machine(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text(
        "MemTotal:       24000 kB\nMemFree:  10 kB\nMemAvailable:   12000 kB\nHugePages_Total: 0\n"
    )
    assert machine_memory(tmp_path / "meminfo") == (12000 * 1024, 24000 * 1024)
    assert machine_memory(tmp_path / "nothing") is None
    (tmp_path / "meminfo").write_text("MemTotal:       24000 kB\n")
    assert machine_memory(tmp_path / "meminfo") is None
    ours = machine_memory()
    assert ours is not None
    assert 0 < ours[0] <= ours[1]


# --- cores

OURS = len(os.sched_getaffinity(0))


def cpu(folder: Path, text: str) -> Path:
    (folder / "cpu.max").write_text(text)
    return folder


def cpu_v1(folder: Path, quota: int, period: int = 100_000) -> Path:
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
    assert usable_cores(cpu(tmp_path / "2", f"{quota} 100000\n")) == min(cores, OURS)
    assert usable_cores(cpu_v1(tmp_path / "1", quota)) == min(cores, OURS)


def test_the_period_counts(tmp_path: Path) -> None:
    assert usable_cores(cpu(tmp_path, "100000 50000\n")) == min(2, OURS)
    assert usable_cores(cpu(tmp_path, "100000 200000\n")) == 1


@pytest.mark.parametrize("text", ["max 100000\n", "9999999 100000\n", "", "nonsense\n"])
def test_without_a_tight_quota_the_scheduler_decides(tmp_path: Path, text: str) -> None:
    assert usable_cores(cpu(tmp_path, text)) == OURS


def test_cgroup_v1_without_a_quota(tmp_path: Path) -> None:
    assert usable_cores(cpu_v1(tmp_path, -1)) == OURS


def test_without_cgroups(tmp_path: Path) -> None:
    assert usable_cores(tmp_path / "nothing") == OURS


def test_cgroup_v2_goes_before_v1(tmp_path: Path) -> None:
    assert usable_cores(cpu(cpu_v1(tmp_path, 10_000_000), "100000 100000")) == 1


def test_the_affinity_of_the_process_counts(tmp_path: Path) -> None:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert usable_cores(tmp_path) == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize(("processes", "part"), [(1, 6), (2, 3), (4, 1), (9, 1)])
def test_processes_that_share_cores_have_a_part_of_their_own(
    monkeypatch: pytest.MonkeyPatch, processes: int, part: int
) -> None:
    monkeypatch.setattr(container, "usable_cores", lambda: 6)
    share_cores(processes)
    try:
        assert own_cores() == part
    finally:
        share_cores(1)
