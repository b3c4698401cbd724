"""The cache of converted models never gives a wrong one, whatever happens to its folder."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from app.serving.reading import cache
from app.serving.reading.cache import ENTRY_FILE, Cache
from app.serving.registry.folder import files_below
from app.serving.signature import (
    Signature,
)
from tests.converted import GB, KEY, always, files, kept, made


def test_what_is_kept_is_found(tmp_path: Path) -> None:
    # As where groups are shared: what others may write is not believed.
    before = os.umask(0o002)
    try:
        _is_kept_and_found(tmp_path)
    finally:
        os.umask(before)


def _is_kept_and_found(tmp_path: Path) -> None:
    one = kept(Cache(tmp_path / "c", GB))
    assert one.path == tmp_path / "c" / KEY / "graph.pb"
    found = Cache(tmp_path / "c", GB).find(KEY)
    assert found == one
    assert found is not None
    assert found.generation is not None
    assert found.generation.path.read_bytes() == b"generation"
    assert isinstance(found.signature, Signature)
    assert Cache(tmp_path / "c", GB).find("1" * 40) is None


def entry_files() -> list[str]:
    return ["graph.pb", "weight", "generation/graph.pb", ENTRY_FILE]


@pytest.mark.parametrize("name", entry_files())
@pytest.mark.parametrize("how", ["flipped", "cut", "longer", "empty", "gone", "link", "writable"])
def test_what_is_damaged_is_made_again(name: str, how: str, tmp_path: Path) -> None:
    store = Cache(tmp_path, GB)
    kept(store)
    path = tmp_path / KEY / name
    data = path.read_bytes()
    if how == "flipped":
        for at in random.Random(name).sample(range(len(data) - 1), k=min(20, len(data) - 1)):
            path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
            with pytest.raises(ValueError, match=r"checksum|another"):
                cache._read(tmp_path / KEY, KEY)
    elif how == "cut":
        path.write_bytes(data[:-2])
    elif how == "longer":
        path.write_bytes(data + b"\n")
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "gone":
        path.unlink()
    elif how == "link":
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
    else:
        path.chmod(0o666)
    assert store.find(KEY) is None
    if how != "gone":  # as if another process had just dropped it
        assert not (tmp_path / KEY).exists()
    shutil.rmtree(tmp_path / KEY, ignore_errors=True)
    kept(store)
    assert store.find(KEY) is not None


def test_an_entry_under_another_name_is_none(tmp_path: Path) -> None:
    store = Cache(tmp_path, GB)
    kept(store)
    (tmp_path / KEY).rename(tmp_path / ("1" * 40))
    assert store.find("1" * 40) is None


@pytest.mark.parametrize("name", [".", "generation"])
def test_an_entry_that_others_may_write_is_made_again(name: str, tmp_path: Path) -> None:
    store = Cache(tmp_path, GB)
    kept(store)
    (tmp_path / KEY / name).chmod(0o777)
    assert store.find(KEY) is None


def test_an_entry_of_another_user_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Cache(tmp_path, GB)
    kept(store)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert store.find(KEY) is None


# --- what the name of an entry is made of ---------------------------------------------------------


def test_every_difference_makes_another_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.h5"
    path.write_bytes(b"one")
    keys = [cache.key([("m.h5", path)], False, None, "float32")]
    assert keys == [cache.key([("m.h5", path)], False, None, "float32")]
    keys.append(cache.key([("m.h5", path)], True, None, "float32"))
    keys.append(cache.key([("m.h5", path)], False, None, "bfloat16"))
    keys.append(cache.key([("n.h5", path)], False, None, "float32"))
    keys.append(cache.key([("m.h5", path), ("custom.py", path)], False, None, "float32"))
    path.write_bytes(b"two")
    keys.append(cache.key([("m.h5", path)], False, None, "float32"))
    for module, name, value in (
        (cache, "_cpu", lambda: "other"),
        (cache, "__version__", "9"),
        (cache, "version", lambda _: "9"),
        (sys, "version", "9"),
        (cache, "__file__", str(tmp_path / "reading" / "cache.py")),  # other code of ours
    ):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, value)
            cache._fingerprint.cache_clear()
            keys.append(cache.key([("m.h5", path)], False, None, "float32"))
    off = os.environ.get("TF_ENABLE_ONEDNN_OPTS") == "0"
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "1" if off else "0")
    cache._fingerprint.cache_clear()
    keys.append(cache.key([("m.h5", path)], False, None, "float32"))
    cache._fingerprint.cache_clear()
    assert len(set(keys)) == len(keys)


# --- the folder -----------------------------------------------------------------------------------


def test_the_least_recently_used_goes_first(tmp_path: Path) -> None:
    store = Cache(tmp_path, 350_000)
    for number, key in enumerate(("a", "b", "c")):
        kept(store, key, 100_000)
        os.utime(tmp_path / key, (number, number))
    assert store.find("a") is not None  # used now
    kept(store, "d", 100_000)
    assert [store.find(key) is not None for key in "abcd"] == [True, False, True, True]


def test_a_lock_that_is_held_stays(tmp_path: Path) -> None:
    store = Cache(tmp_path, GB)
    path = tmp_path / "k.lock"
    with store.lock("k", always):
        os.utime(path, (0, 0))
        store._sweep()
        assert path.exists()
        os.utime(path, (0, 0))
    store._sweep()
    assert not path.exists()


def test_a_lock_whose_file_was_removed_is_taken_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else another process could lock the next file of that name meanwhile."""
    path, flock = tmp_path / "k.lock", fcntl.flock
    calls: list[int] = []

    def after_a_sweep(handle: int, how: int) -> None:
        if not calls:
            path.unlink()
        calls.append(how)
        flock(handle, how)

    monkeypatch.setattr(fcntl, "flock", after_a_sweep)
    with Cache(tmp_path, GB).lock("k", always) as take:
        take(True)
        with path.open() as other, pytest.raises(BlockingIOError):
            flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)


def test_what_is_in_use_stays(tmp_path: Path) -> None:
    store = Cache(tmp_path, 150_000)
    kept(store, "a", 100_000)
    with store.lock("a", always):
        kept(store, "b", 100_000)
        assert store.find("a") is not None
    kept(store, "c", 100_000)
    assert store.find("a") is None
    assert store.find("c") is not None


def test_what_is_larger_than_the_limit_is_not_kept(tmp_path: Path) -> None:
    store = Cache(tmp_path, 5_000)
    with store.work_folder(10_000) as out:
        assert store.keep(KEY, out, made(out, 10_000)) is None
        assert (out / "graph.pb").exists()
    assert files(tmp_path) == []


def test_a_folder_that_cannot_be_made_costs_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_bytes(b"")
    store = Cache(tmp_path / "file" / "c", GB)
    assert store.find(KEY) is None
    with store.lock(KEY, always) as take, store.work_folder(1000) as out:
        take(True)
        assert store.keep(KEY, out, made(out)) is None
        assert (out / "graph.pb").exists()
    assert not out.exists()
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_a_folder_that_takes_nothing_more(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Cache(tmp_path, GB)
    kept(store, "a")

    def refuse(*_: Any, **__: Any) -> Any:
        raise OSError(code, os.strerror(code))

    with store.work_folder(1000) as out:
        model = made(out)
        monkeypatch.setattr(Path, "rename", refuse)
        assert store.keep(KEY, out, model) is None
        assert model.path.exists()
    monkeypatch.undo()
    assert store.find("a") is not None
    assert store.find(KEY) is None


def test_a_disk_that_is_nearly_full_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Cache(tmp_path, GB)
    usage = shutil.disk_usage(tmp_path)._replace(free=60_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with store.work_folder(1000) as out:
        assert out.parent == tmp_path
    with store.work_folder(10_000_000) as out:
        assert out.parent != tmp_path


def test_linked_folders_count_and_hidden_files_do_not(tmp_path: Path) -> None:
    """A SavedModel whose `variables` is a link must not be served as it was before."""
    model, elsewhere = tmp_path / "m", tmp_path / "elsewhere"
    (model / ".git").mkdir(parents=True)
    elsewhere.mkdir()
    (model / "saved_model.pb").write_bytes(b"graph")
    (elsewhere / "data").write_bytes(b"one")
    (model / "variables").symlink_to(elsewhere)

    def name() -> str:
        return cache.key([(str(path), path) for path in files_below(model)])

    first = name()
    (model / ".git" / "index").write_bytes(b"x")
    assert name() == first
    (elsewhere / "data").write_bytes(b"two")
    assert name() != first
