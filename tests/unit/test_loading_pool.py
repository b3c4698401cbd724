"""Models load side by side as far as cores and memory allow, small ones first."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from app.errors import LoadError, ModelUnavailable
from app.serving.cards.card import Card
from app.serving.limits import Limits
from app.serving.models.statistics import Statistics
from app.serving.reading.process import ReaderProcess
from app.serving.registry import loading_pool, sync
from app.serving.registry.crash_guard import CrashGuard
from app.serving.registry.folder import ScannedVersion, scan
from app.serving.registry.memory_budget import FACTOR, READER_BYTES, MemoryBudget
from app.serving.registry.registry import Registry
from app.serving.registry.state_folder import StateFolder
from app.serving.registry.sync import FolderSync
from tests.registries import syncing
from tests.support import eventually
from tests.unit.test_container import GB, cgroup


class FakeModel:
    """The parts of a model that the registry uses."""

    loading_bytes = 0
    from_cache = False

    def __init__(self, statistics: Statistics) -> None:
        self.loaded_at = time.time()
        self.statistics = statistics

    def watch_first_run(self, watch: object) -> None:
        """None comes."""

    def close(self) -> None:
        """Nothing to close."""


class Opener:
    """Replaces `open_model`: each opening waits until it is released."""

    def __init__(self) -> None:
        self.began: list[str] = []
        self._let_go: dict[str, threading.Event] = {}
        self.errors: dict[str, BaseException] = {}
        self.at_once = True

    def _event(self, name: str) -> threading.Event:
        return self._let_go.setdefault(name, threading.Event())

    def let_go(self, *names: str) -> None:
        for name in names:
            self._event(name).set()

    def open(
        self,
        scanned: ScannedVersion,
        reader: ReaderProcess,
        limits: Limits,
        stream_limit: object,
        statistics: Statistics,
        on_card: Callable[[Card], None],
    ) -> Any:
        """As `open_model`."""
        name = f"{scanned.name}{scanned.version if scanned.numbered else ''}"
        self.began.append(name)
        if not self.at_once:
            assert self._event(name).wait(30)
        if name in self.errors:
            raise self.errors[name]
        return FakeModel(statistics)


@pytest.fixture
def opener(monkeypatch: pytest.MonkeyPatch) -> Opener:
    opener = Opener()
    monkeypatch.setattr(sync, "open_model", opener.open)
    monkeypatch.setattr(sync, "import_engine", lambda: None)
    monkeypatch.setattr(loading_pool, "own_cores", lambda: 2)
    # Not to be reckoned with.
    monkeypatch.setitem(sys.modules, "tensorflow", sys)
    return opener


@pytest.fixture
def models(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


def _put(models: Path, **sizes: int) -> None:
    for name, size in sizes.items():
        with (models / f"{name}.h5").open("wb") as file:
            file.truncate(size)


def _stays(happened: Callable[[], object]) -> None:
    for _ in range(20):
        assert happened()
        time.sleep(0.01)


def _states(registry: Registry) -> dict[str, str]:
    return {entry.name: entry.state for entry in registry.entries()}


class Memory:
    """A container with so much memory left."""

    def __init__(self, tmp_path: Path) -> None:
        self._folder = tmp_path / "cgroup"
        self.leave(4 * GB)
        self.room = MemoryBudget(StateFolder(None), self._folder, tmp_path / "none")

    def leave(self, left: int) -> None:
        new = cgroup(self._folder.with_name("new"), 4 * GB, 4 * GB - left)
        self._folder.mkdir(exist_ok=True)
        for file in ("memory.stat", "memory.max", "memory.current"):
            (new / file).replace(self._folder / file)


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    return Memory(tmp_path)


def _loading(
    models: Path, memory: Memory, **about: Any
) -> AbstractContextManager[tuple[Registry, FolderSync]]:
    return syncing(models, budget=memory.room, **about)


def test_small_ones_come_first_and_two_at_once(
    models: Path, memory: Memory, opener: Opener
) -> None:
    _put(models, a=4000, b=3000, c=2000, d=1000)
    opener.at_once = False
    with _loading(models, memory) as (registry, _):
        eventually(lambda: len(opener.began) == 2)
        _stays(lambda: sorted(opener.began) == ["c", "d"])
        opener.let_go("c")
        # Ready at once, though it came second; the next one takes its place.
        eventually(lambda: _states(registry)["c"] == "ready")
        eventually(lambda: opener.began[2:] == ["b"])
        assert _states(registry) == {"a": "loading", "b": "loading", "c": "ready", "d": "loading"}
        assert not registry.loaded
        opener.let_go("a", "b", "d")
        eventually(lambda: registry.loaded)
        assert opener.began[3:] == ["a"]
        assert set(_states(registry).values()) == {"ready"}


def test_versions_of_a_model_come_one_after_the_other(
    models: Path, memory: Memory, opener: Opener
) -> None:
    """Which one is next depends on the result of the one before."""
    for version in "123":
        (models / "m" / version).mkdir(parents=True)
        _put(models / "m" / version, model=1000)
    opener.at_once = False
    opener.errors["m3"] = LoadError("broken")
    with _loading(models, memory) as (registry, _):
        eventually(lambda: opener.began == ["m3"])
        _stays(lambda: opener.began == ["m3"])
        opener.let_go("m3", "m2")
        eventually(lambda: registry.loaded)
        assert opener.began == ["m3", "m2"]
        assert registry.entry("m").version == 2


def test_a_crash_in_the_thread_fails_its_model_only(
    models: Path, memory: Memory, opener: Opener, caplog: pytest.LogCaptureFixture
) -> None:
    _put(models, a=1, b=2, c=3)
    opener.errors |= {"a": SystemExit(3), "b": RuntimeError("odd")}
    with _loading(models, memory) as (registry, _):
        eventually(lambda: registry.loaded)
        assert _states(registry) == {"a": "failed", "b": "failed", "c": "ready"}
        assert registry.entry("b").reason == "RuntimeError: odd"


NEED = READER_BYTES + int(FACTOR * GB / 4)


def test_what_does_not_fit_beside_another_waits(
    models: Path, memory: Memory, opener: Opener
) -> None:
    _put(models, large=GB // 4, small=1)
    memory.leave(NEED + READER_BYTES // 2)
    opener.at_once = False
    with _loading(models, memory) as (registry, _):
        eventually(lambda: opener.began == ["small"])
        _stays(lambda: opener.began == ["small"])
        opener.let_go("small", "large")
        eventually(lambda: registry.loaded)
        assert set(_states(registry).values()) == {"ready"}


def test_what_fits_beside_another_does_not_wait(
    models: Path, memory: Memory, opener: Opener
) -> None:
    _put(models, large=GB // 4, small=1)
    memory.leave(NEED + READER_BYTES + 1_000_000)
    opener.at_once = False
    with _loading(models, memory):
        eventually(lambda: sorted(opener.began) == ["large", "small"])
        opener.let_go("small", "large")


@pytest.mark.parametrize("poll", [True, False])
def test_what_does_not_fit_fails_with_the_figures_until_it_does(
    models: Path, memory: Memory, opener: Opener, poll: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAPORT_APP_MEMORY", "4g")
    monkeypatch.setattr(sync, "POLL_S", 0.05)
    _put(models, large=GB // 4, small=1)
    memory.leave(NEED - 1)
    with _loading(models, memory, poll=poll) as (registry, _):
        eventually(lambda: registry.loaded)
        assert _states(registry) == {"large": "failed", "small": "ready"}
        need, left = f"{NEED / GB:.1f}", f"{(NEED - 1) / GB:.1f}"
        assert registry.entry("large").reason == (
            f"needs about {need} GB to load, {left} of 4 GB are left: raise KERAPORT_APP_MEMORY"
        )
        with pytest.raises(ModelUnavailable, match="KERAPORT_APP_MEMORY"):
            registry.entry("large").ready_model()
        _stays(lambda: opener.began == ["small"])
        memory.leave(NEED)
        eventually(lambda: _states(registry)["large"] == "ready")


def test_a_change_that_does_not_fit_leaves_the_old_one_until_it_does(
    models: Path, memory: Memory, opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync, "POLL_S", 0.05)
    _put(models, m=1)
    with _loading(models, memory) as (registry, syncer):
        eventually(lambda: registry.loaded)
        first = registry.entry("m").model
        memory.leave(NEED - 1)
        _put(models, m=GB // 4)
        syncer.scan_now()
        eventually(lambda: registry.entry("m").reason)
        entry = registry.entry("m")
        assert (entry.state, entry.model) == ("ready", first)
        assert "a change of its files is not served: needs about" in (entry.reason or "")
        memory.leave(NEED)
        eventually(lambda: registry.entry("m").model not in (None, first))
        assert registry.entry("m").reason is None


def test_a_version_that_does_not_fit_gives_way_to_the_one_before(
    models: Path, memory: Memory, opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync, "POLL_S", 0.05)
    for version, size in (("1", 1), ("2", GB // 4)):
        (models / "m" / version).mkdir(parents=True)
        _put(models / "m" / version, model=size)
    memory.leave(NEED - 1)
    with _loading(models, memory) as (registry, _):
        eventually(lambda: registry.loaded)
        assert registry.entry("m").version == 1
        memory.leave(NEED)
        eventually(lambda: registry.entry("m").version == 2)


def test_what_a_load_took_is_remembered(
    models: Path, memory: Memory, opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if it is more than the estimate."""
    _put(models, m=1)
    monkeypatch.setattr(FakeModel, "loading_bytes", 3 * GB)
    with _loading(models, memory) as (registry, _):
        eventually(lambda: registry.loaded)
    memory.leave(3 * GB - 1)
    with _loading(models, memory) as (registry, _):
        eventually(lambda: registry.loaded)
        assert (registry.entry("m").reason or "").startswith("needs about 3 GB to load")


def test_a_suspect_is_loaded_last_and_alone(
    models: Path, memory: Memory, opener: Opener, tmp_path: Path
) -> None:
    _put(models, a=1, b=2000, c=3000)
    (scanned,) = (each for each in scan(models).values() if each.name == "a")
    state = StateFolder(tmp_path / "state")
    loading = CrashGuard(state).loading(scanned)
    loading.__enter__()
    state.close()  # the process is killed
    opener.at_once = False
    with _loading(models, memory, state=StateFolder(tmp_path / "state")) as (registry, syncer):
        eventually(lambda: sorted(opener.began) == ["b", "c"])
        opener.let_go("b")
        eventually(lambda: _states(registry)["b"] == "ready")
        _stays(lambda: sorted(opener.began) == ["b", "c"])
        opener.let_go("c")
        eventually(lambda: opener.began[2:] == ["a"])
        _put(models, d=1)  # comes while it is loading
        syncer.scan_now()
        _stays(lambda: opener.began[2:] == ["a"])
        opener.let_go("a", "d")
        eventually(lambda: opener.began[3:] == ["d"])
        eventually(lambda: _states(registry)["d"] == "ready")
        assert [p.name for p in (tmp_path / "state").glob("*@*")] == ["a@1.json"]


def test_stopping_waits_for_what_is_being_opened(
    models: Path, memory: Memory, opener: Opener
) -> None:
    _put(models, a=1, b=2, c=3)
    opener.at_once = False
    with _loading(models, memory) as (registry, syncer):
        eventually(lambda: len(opener.began) == 2)
        syncer.stop()
        opener.let_go("a", "b")
    assert sorted(opener.began) == ["a", "b"]
    assert registry.loaded
