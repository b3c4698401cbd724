"""Which model is blamed when the server dies, and which is not."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.serving.registry.crash_guard import MOST_ENDS, CrashGuard, release
from app.serving.registry.folder import ScannedVersion
from app.serving.registry.state_folder import StateFolder, replica_folder, replica_folders

SEEN = ScannedVersion("m", 1, Path("m.h5"), files=(("m.h5", 100, 5, 7),))


class Killed(BaseException):
    """The process ends here and now."""


class Replica:
    """A server process, which is killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.start()

    def start(self) -> CrashGuard:
        self.state = StateFolder(self.folder)
        self.attempts = CrashGuard(self.state)
        return self.attempts

    def killed(self) -> None:
        """What a killed process leaves: its files as they are, and no lock."""
        self.state.close()

    def dies_while(self, what: str, scanned: ScannedVersion = SEEN) -> CrashGuard:
        """Is killed in this block of `CrashGuard`, and started again."""
        tried = getattr(self.attempts, what)(scanned)
        tried.__enter__()
        self.killed()
        return self.start()


@pytest.fixture
def replica(tmp_path: Path) -> Replica:
    return Replica(tmp_path / "state")


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ("loading", "loading", "twice while loading it;"),
        ("first_run", "first_run", "twice while it ran for the first time;"),
        ("first_run", "loading", "twice while loading it;"),
    ],
)
def test_two_ends_in_a_row_set_a_model_aside(
    replica: Replica, first: str, second: str, said: str
) -> None:
    assert replica.attempts.set_aside(SEEN) is None
    attempts = replica.dies_while(first)
    assert attempts.set_aside(SEEN) is None
    assert attempts.is_suspected(SEEN)
    reason = replica.dies_while(second).set_aside(SEEN)
    assert reason is not None
    assert reason.startswith(f"set aside: the server ended {said}")
    # It stays so, over any number of starts.
    replica.killed()
    assert replica.start().set_aside(SEEN) == reason
    assert not replica.attempts.is_suspected(SEEN)


def test_a_load_between_does_not_clear_a_model_that_kills_when_it_runs(replica: Replica) -> None:
    replica.dies_while("first_run")
    with replica.attempts.loading(SEEN):
        pass
    assert replica.dies_while("first_run").set_aside(SEEN)


def test_a_first_run_that_ends_well_clears_it(replica: Replica) -> None:
    replica.dies_while("first_run")
    with replica.attempts.loading(SEEN):
        pass
    with replica.attempts.first_run(SEEN):
        pass
    assert not replica.attempts.is_suspected(SEEN)
    assert replica.state.names() == []
    assert replica.dies_while("first_run").set_aside(SEEN) is None


def test_an_error_is_no_end(replica: Replica) -> None:
    replica.dies_while("loading")
    with pytest.raises(ValueError, match="wrong"), replica.attempts.loading(SEEN):
        raise ValueError("wrong")
    assert not replica.attempts.is_suspected(SEEN)
    assert replica.state.names() == []


def test_a_run_that_fails_proves_nothing(replica: Replica) -> None:
    replica.dies_while("first_run")
    with pytest.raises(ValueError, match="wrong"), replica.attempts.first_run(SEEN):
        raise ValueError("wrong")
    assert replica.attempts.is_suspected(SEEN)
    replica.killed()
    assert replica.start().set_aside(SEEN) is None


@pytest.mark.parametrize(("hung", "suspected"), [(False, []), (True, ["runs"])])
def test_an_orderly_end_blames_no_model(replica: Replica, hung: bool, suspected: list[str]) -> None:
    """But that of a server whose model hangs."""
    loads, runs = replace(SEEN, name="loads"), replace(SEEN, name="runs")
    loading = replica.attempts.loading(loads)
    loading.__enter__()
    running = replica.attempts.first_run(runs)
    running.__enter__()
    replica.attempts.end(hung=hung)
    after = replica.start()
    assert [scanned.name for scanned in (loads, runs) if after.is_suspected(scanned)] == suspected


def test_other_files_get_another_chance(replica: Replica) -> None:
    replica.dies_while("loading")
    replica.dies_while("loading")
    for changed in (
        replace(SEEN, files=(("m.h5", 101, 5, 7),)),
        replace(SEEN, files=(("m.h5", 100, 6, 7),)),
        replace(SEEN, shared=(("labels.txt", 1, 1, 1),)),
        replace(SEEN, version=2),
    ):
        assert replica.attempts.set_aside(changed) is None
    # Another mount of the same files is no change.
    assert replica.attempts.set_aside(replace(SEEN, files=(("m.h5", 100, 5, 8),)))
    # Back to the old files after a try with others: that was long ago.
    with replica.attempts.loading(replace(SEEN, files=(("m.h5", 101, 5, 7),))):
        pass
    assert replica.attempts.set_aside(SEEN) is None


def test_sighup_forgets(replica: Replica) -> None:
    replica.dies_while("loading")
    replica.dies_while("loading")
    replica.attempts.forget(SEEN)
    assert replica.attempts.set_aside(SEEN) is None
    assert replica.dies_while("loading").set_aside(SEEN) is None


def test_check_releases_every_replica(tmp_path: Path) -> None:
    events = tmp_path / "events.jsonl"
    replicas = [Replica(replica_folder(events, name) or tmp_path) for name in ("app-1", "app-2")]
    for each in replicas:
        each.dies_while("loading")
        assert not each.dies_while("loading").is_released(SEEN)
    release(events, "other", 1)
    release(events, "m", 2)
    assert not any(each.attempts.is_released(SEEN) for each in replicas)
    release(events, "m", 1)
    assert all(each.attempts.is_released(SEEN) for each in replicas)
    release(events, "m", 1)
    release(tmp_path / "nowhere" / "events.jsonl", "m", 1)
    release(None, "m", 1)


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.sampled_from(["loading", "first_run"])),
    st.randoms(use_true_random=False),
)
def test_only_those_that_end_it_are_set_aside(
    killers: dict[str, str], chance: random.Random
) -> None:
    """Of models that load side by side in any order, as the reloader does it: suspects last, one
    after the other. Each killer costs two ends at most."""
    import tempfile

    models = [replace(SEEN, name=name) for name in "abcdef"]

    def life(attempts: CrashGuard) -> None:
        """Load them two at a time, and run each as soon as it is there."""
        chance.shuffle(models)
        served = [m for m in models if not attempts.set_aside(m)]
        served.sort(key=attempts.is_suspected)
        while served:
            alone = attempts.is_suspected(served[0])
            pair = [m for m in served[: 1 if alone else 2] if alone or not attempts.is_suspected(m)]
            del served[: len(pair)]
            for what in ("loading", "first_run"):
                tried = [getattr(attempts, what)(m) for m in pair]
                for each in tried:
                    each.__enter__()
                if any(killers.get(m.name) == what for m in pair):
                    raise Killed
                for each in tried:
                    each.__exit__(None, None, None)

    with tempfile.TemporaryDirectory() as folder:
        replica = Replica(Path(folder))
        ends = 0
        while True:
            try:
                life(replica.attempts)
                break
            except Killed:
                ends += 1
                replica.killed()
                replica.start()
        assert ends <= MOST_ENDS * len(killers)
        aside = {m.name for m in models if replica.attempts.set_aside(m)}
        assert aside == set(killers)


def test_two_suspects_are_never_tried_at_once(replica: Replica) -> None:
    other = replace(SEEN, name="n")
    for scanned in (SEEN, other):
        replica.dies_while("loading", scanned)
    order: list[str] = []

    def run() -> None:
        with replica.attempts.first_run(other):
            order.append("other")

    with replica.attempts.loading(SEEN):
        thread = Thread(target=run)
        thread.start()
        thread.join(0.2)
        order.append("first")
    thread.join(30)
    assert order == ["first", "other"]


# --- the folder -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"\xff\x00", b'{"files": 1}', b'{"files":"x","ends":-1}',
     b'{"files":"x","ends":1,"doing":"dancing"}', b'{"files":"x","ends":"2"}', b"9" * 2_000_000],
)  # fmt: skip
def test_damage_is_forgotten(tmp_path: Path, content: bytes) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    (folder / "m@1.json").write_bytes(content)
    replica = Replica(folder)
    assert replica.attempts.set_aside(SEEN) is None
    replica.dies_while("loading")
    assert replica.dies_while("loading").set_aside(SEEN)


def test_every_cut_of_a_file_is_survived(tmp_path: Path) -> None:
    replica = Replica(tmp_path / "state")
    replica.dies_while("loading")
    file = tmp_path / "state" / "m@1.json"
    whole = file.read_bytes()
    for length in range(len(whole)):
        replica.killed()
        file.write_bytes(whole[:length])
        assert not replica.start().is_suspected(SEEN)


def test_without_a_place_nothing_is_remembered() -> None:
    attempts = CrashGuard(StateFolder(None))
    attempts.loading(SEEN).__enter__()
    with attempts.first_run(SEEN):
        pass
    assert attempts.set_aside(SEEN) is None
    assert not attempts.is_released(SEEN)
    assert replica_folder(None, "app-1") is None


def _no_folder(folder: Path) -> None:
    folder.write_text("")


def _a_folder_in_the_way(folder: Path) -> None:
    (folder / "m@1.json").mkdir(parents=True)
    (folder / ".m@1.new").mkdir()


@pytest.mark.parametrize("hinder", [_no_folder, _a_folder_in_the_way])
def test_a_place_that_takes_nothing_costs_nothing(
    tmp_path: Path, hinder: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    hinder(tmp_path / "state")
    attempts = CrashGuard(StateFolder(tmp_path / "state"))
    for _ in range(3):
        with attempts.loading(SEEN):
            pass
        with attempts.first_run(SEEN):
            pass
    warned = [m for m in caplog.messages if "what must outlive this process is not kept" in m]
    assert len(warned) == 1


def test_two_processes_of_one_name_do_not_suspect_each_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = Replica(tmp_path)
    with first.attempts.loading(SEEN):
        second = CrashGuard(StateFolder(tmp_path))
        assert not second.is_suspected(SEEN)
    assert "belongs to another process" in caplog.text


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=100), unique=True, max_size=5))
def test_each_replica_has_a_folder_of_its_own(names: list[str]) -> None:
    events = Path("/events/events.jsonl")
    folders = {replica_folder(events, name) for name in names}
    assert len(folders) == len(names)
    for folder in folders:
        assert folder is not None
        assert folder.parent == Path("/events/events-models")
        assert len(folder.name.encode()) < 100


def test_folders_of_replicas_are_found(tmp_path: Path) -> None:
    events = tmp_path / "events.jsonl"
    assert list(replica_folders(events)) == []
    made = [replica_folder(events, name) for name in ("a", "b/../..", ".")]
    for folder in made:
        assert folder is not None
        StateFolder(folder)
    assert sorted(replica_folders(events)) == sorted(filter(None, made))
    with suppress(FileNotFoundError):
        (tmp_path / "events.jsonl").unlink()
