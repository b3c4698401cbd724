"""The cache of converted models never gives a wrong one, whatever happens to its folder."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.serving.cards.card import Runtime
from app.serving.reading import cache
from app.serving.reading.cache import ENTRY_FILE, Cache
from app.serving.reading.process import ReaderProcess
from app.serving.registry.folder import files_below
from app.serving.signature import (
    Converted,
    Generation,
    OutputMeaning,
    PictureEvidence,
    Signature,
    SignatureDef,
    TensorSpec,
    Weight,
)
from tests.models.fixtures import assert_as_expected, fixture
from tests.support import ROOT

KEY = "0" * 40
EVIDENCE = PictureEvidence("-1..1", True, "seen", ("0..1", "none"), "bgr", (96, 96))
GB = 10**9


def always() -> bool:
    return True


def made(folder: Path, size: int = 1000, fill: bytes = b"g") -> Converted:
    """A converted model of about so many bytes, as the reader leaves it."""
    (folder / "graph.pb").write_bytes(fill * size)
    (folder / "weight").write_bytes(b"w" * 12)
    spec = TensorSpec("x", "x:0", "float32", (None, 3))
    generation = Generation(
        path=folder / "generation" / "graph.pb",
        kind="step",
        token="t:0",
        states=(spec,),
        next_states=("s:0",),
        uniform="u:0",
        diversity="d:0",
        top_k="k:0",
        next_token="n:0",
        probabilities="p:0",
        vocabulary=3,
        window=None,
        reason=None,
    )
    (folder / "generation").mkdir()
    generation.path.write_bytes(b"generation")
    return Converted(
        folder / "graph.pb",
        Signature(
            (spec,),
            (spec,),
            meanings=(OutputMeaning("softmax", True, True, "a softmax"),),
            parameters=3,
            pictures={"x": EVIDENCE},
        ),
        frozen=True,
        others={"other": SignatureDef((spec,), ())},
        generation=generation,
        weights=(Weight("w:0", "weight", "float32", (3,), mapped=True),),
    )


def kept(store: Cache, key: str = KEY, size: int = 1000) -> Converted:
    """The model, put into the cache."""
    with store.lock(key, always) as take:
        take(True)
        with store.work_folder(size) as out:
            found = store.keep(key, out, made(out, size))
    assert found is not None
    return found


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


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


# --- several processes ----------------------------------------------------------------------------

TOGETHER = """
import sys, time
from pathlib import Path
from app.serving.reading.cache import Cache
from tests.models.test_cache import always, made
store, log = Cache(Path(sys.argv[1]), 10**9), Path(sys.argv[2])
with store.lock("k", always) as take:
    if store.find("k") is None:
        take(True)
        if store.find("k") is None:
            with log.open("a") as file:
                file.write("made")
            with store.work_folder(1000) as out:
                time.sleep(0.5)
                assert store.keep("k", out, made(out)) is not None
    take(False)
    assert store.find("k") is not None
"""


def test_processes_that_start_together_convert_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", TOGETHER, str(tmp_path / "c"), str(tmp_path / "log")]
    processes = [subprocess.Popen(command, cwd=ROOT) for _ in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    assert (tmp_path / "log").read_text() == "made"


KILLS = """
import json, os, random, signal, sys, time
from pathlib import Path
from app.serving.reading.cache import Cache
from tests.models.test_cache import always, made
folder, rng = Path(sys.argv[1]), random.Random(1)
found = 0
for turn in range(200):
    pid = os.fork()
    if pid == 0:
        store = Cache(folder, 2_500_000)
        while True:
            key = str(random.randrange(5))
            with store.lock(key, always) as take:
                take(True)
                with store.work_folder(1000) as out:
                    store.keep(key, out, made(out, 400_000, key.encode()))
    time.sleep(rng.random() * 0.03)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    store = Cache(folder, 2_500_000)
    for key in "01234":
        with store.lock(key, always):
            model = store.find(key)
        if model is not None:
            found += 1
            assert model.path.read_bytes() == key.encode() * 400_000
size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
print(json.dumps([found, size, [p.name for p in folder.iterdir() if p.name.startswith("making")]]))
"""


def test_kills_while_it_is_written(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLS, str(tmp_path / "c")],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    found, size, unfinished = json.loads(done.stdout)
    assert found > 100
    assert size < 2_600_000
    assert unfinished == []


# --- real models ----------------------------------------------------------------------------------


@contextmanager
def reader(store: Cache | None) -> Iterator[ReaderProcess]:
    one = ReaderProcess(kept=store)
    try:
        yield one
    finally:
        one.close()


def test_the_second_start_needs_no_reader(tmp_path: Path) -> None:
    source = Path(shutil.copy(fixture("keras3_mlp"), tmp_path))
    store = Cache(tmp_path / "c", GB)
    with reader(store) as one, one.convert(source, trusted=False) as model:
        first = model
        assert one.running
        assert not one.from_cache
        assert_as_expected("keras3_mlp", model)
    with reader(store) as one, one.convert(source, trusted=False) as model:
        assert not one.running
        assert one.from_cache
        assert model == first
        assert_as_expected("keras3_mlp", model)
    with reader(store) as one, one.convert(source, trusted=True) as model:
        assert model.path != first.path, "a trusted model shares nothing with one that is not"


def test_a_file_that_changes_while_it_is_read_is_not_kept(tmp_path: Path) -> None:
    source = Path(shutil.copy(fixture("keras3_mlp"), tmp_path))
    store = Cache(tmp_path / "c", GB)
    with reader(store) as one:
        ask = one._ask

        def change(*args: Any) -> Converted:
            model = ask(*args)
            os.utime(source)
            return model

        one._ask = change  # type: ignore[method-assign,assignment]
        with one.convert(source, trusted=False) as model:
            assert_as_expected("keras3_mlp", model)
    assert files(tmp_path / "c") == [p for p in files(tmp_path / "c") if p.suffix == ".lock"]


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


def test_mapped_weights_outlive_their_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.serving.engine.session import ModelSession
    from app.serving.reading import freezing
    from app.serving.reading.convert import convert

    monkeypatch.setattr(freezing, "LARGE_BYTES", 1)
    monkeypatch.setattr(freezing, "MAPPED_BYTES", 1)
    monkeypatch.setattr(freezing, "FOLDED_BYTES", 0)
    out = tmp_path / "out"
    out.mkdir()
    model = convert(fixture("keras3_mlp"), out, trusted=False)
    assert any(weight.mapped for weight in model.weights)
    session = ModelSession(model, Runtime())
    spec = model.signature.inputs[0]
    rows = np.ones((2, *[d or 1 for d in spec.row_shape]), np.float32)
    before = session.run([rows])
    shutil.rmtree(out)
    np.testing.assert_array_equal(session.run([rows])[0], before[0])
    session.close()
