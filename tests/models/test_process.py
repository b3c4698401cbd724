"""The process that reads model files: it takes the crashes, and leaves nothing behind."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from app import logs
from app.errors import LoadError
from app.serving.reading.process import ReaderProcess, _serve
from tests.models import save_constant_model
from tests.models.fixtures import MODELS, assert_as_expected, fixture
from tests.support import ROOT


@pytest.fixture(scope="module")
def temp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder for temporary files of this process and of the loaders that it starts."""
    folder = tmp_path_factory.mktemp("temp")
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    os.environ["TMPDIR"] = str(folder)
    yield folder
    tempfile.tempdir = before
    del os.environ["TMPDIR"]


@pytest.fixture(scope="module")
def reader(temp: Path) -> Iterator[ReaderProcess]:
    """One loader for all tests that need no fresh one: its start takes seconds."""
    reader = ReaderProcess()
    yield reader
    reader.close()


def _pid(reader: ReaderProcess) -> int | None:
    return None if reader._process is None else reader._process.pid


def _refusal(reader: ReaderProcess, source: Path, *, trusted: bool = False) -> str:
    with pytest.raises(LoadError) as caught, reader.convert(source, trusted=trusted):
        pass
    return caught.value.message


@pytest.mark.parametrize("name", ["keras1_cnn", "keras3_text", "tf1_table_savedmodel"])
def test_models_come_through_the_process(
    name: str, reader: ReaderProcess, temp: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with reader.convert(fixture(name), trusted=False) as model:
        assert_as_expected(name, model)
        inside = model.path.is_relative_to(temp)
        assert inside or name == "tf1_table_savedmodel"  # which is served from where it lies
    assert list(temp.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_reasons_come_through_the_process(reader: ReaderProcess, temp: Path) -> None:
    assert "custom class 'HaloLayer'" in _refusal(reader, fixture("keras3_custom"))
    assert "cannot be read: No such file" in _refusal(reader, MODELS / "nope.keras")
    assert list(temp.iterdir()) == []


def test_an_idle_process_ends_and_another_starts(temp: Path) -> None:
    """After the time, and not before."""
    reader = ReaderProcess()
    try:
        reader.end_if_idle(0)  # none is there
        with reader.convert(fixture("keras3_mlp"), trusted=False):
            pass
        first = _pid(reader)
        assert first is not None
        reader.end_if_idle(3600)
        assert _pid(reader) == first
        reader.end_if_idle(0)
        assert not reader.running
        assert not psutil.pid_exists(first)
        with reader.convert(fixture("keras3_mlp"), trusted=False) as model:
            assert_as_expected("keras3_mlp", model)
        assert _pid(reader) not in (None, first)
    finally:
        reader.close()


def test_the_process_is_kept(reader: ReaderProcess) -> None:
    _refusal(reader, fixture("keras3_custom"))
    pid = _pid(reader)
    _refusal(reader, fixture("weights_only"))
    assert _pid(reader) == pid is not None


# --- damaged files --------------------------------------------------------------------------------

DAMAGED = ["keras3_jax", "tf215_zip", "keras3_mlp", "keras2_mlp", "keras1_mlp"]


@pytest.mark.parametrize("name", DAMAGED)
def test_a_truncated_file_is_called_damaged(
    name: str, reader: ReaderProcess, tmp_path: Path
) -> None:
    data = fixture(name).read_bytes()
    source = tmp_path / fixture(name).name
    for length in [*range(0, len(data), len(data) // 9), len(data) - 1]:
        source.write_bytes(data[:length])
        reason = _refusal(reader, source)
        assert "corrupt" in reason or (length < 9 and ("empty" in reason or "neither" in reason))


@pytest.mark.parametrize("name", ["tf1_savedmodel", "tf2_savedmodel_keras2"])
def test_a_truncated_savedmodel_is_called_damaged(
    name: str, reader: ReaderProcess, tmp_path: Path
) -> None:
    source = tmp_path / name
    for part in ("saved_model.pb", "variables/variables.index", "variables/variables.data"):
        shutil.copytree(fixture(name), source)
        (file,) = source.glob(f"{part}*")
        data = file.read_bytes()
        for length in range(0, len(data), len(data) // 4 + 1):
            file.write_bytes(data[:length])
            reason = _refusal(reader, source)
            assert "Graph execution error" not in reason
            assert ("corrupt" in reason) == (part == "saved_model.pb"), reason
        file.unlink()
        _refusal(reader, source)
        shutil.rmtree(source)


def test_flipped_bits_never_get_through_as_anything_but_a_load_error(
    reader: ReaderProcess, tmp_path: Path, temp: Path
) -> None:
    """Damage that no checksum covers may load and compute something else; no one can tell. Damage
    in the structure must be refused, whatever TensorFlow or HDF5 do when they meet it."""
    generator = random.Random(0)
    refused = 0
    for name in [*DAMAGED, "tf1_savedmodel", "tf1_table_savedmodel"] * 8:
        source = tmp_path / fixture(name).name
        if fixture(name).is_dir():
            shutil.copytree(fixture(name), source)
            file = source / "saved_model.pb"
        else:
            file = Path(shutil.copy(fixture(name), source))
        data = bytearray(file.read_bytes())
        # Mostly where the structure is.
        place = generator.randrange(min(len(data), 4000))
        data[place] ^= 1 << generator.randrange(8)
        file.write_bytes(data)
        with suppress(LoadError), reader.convert(source, trusted=False) as model:
            assert model.signature.outputs
            refused -= 1
        refused += 1
        if source.is_dir():
            shutil.rmtree(source)
    assert refused > 15
    assert list(temp.iterdir()) == []


def test_the_process_that_reads_models_ends_with_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    context = multiprocessing.get_context("spawn")
    pipe, theirs = context.Pipe()
    output, into = context.Pipe(duplex=False)
    style = logs.Style("info", as_text=False, replica="app-1")
    destination = logs.Destination.make()
    args = (theirs, into, tmp_path / "none", style, destination)
    process = context.Process(target=_serve, args=args)
    process.start()
    pipe.send("no request")
    process.join(120)
    for descriptor in (destination.descriptor, destination.lock):
        os.close(descriptor)
    into.close()
    output.close()
    assert process.exitcode == 1
    (line,) = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert (line["level"], line["replica"]) == ("error", "app-1")
    assert line["exception"].startswith("Traceback (most recent call last):\n")
    assert "ValueError: too many values" in line["exception"]


# --- code of the author's -------------------------------------------------------------------------


def _custom(tmp_path: Path, source: str) -> Path:
    (tmp_path / "custom.py").write_text(source)
    return Path(shutil.copy(fixture("keras3_custom"), tmp_path))


HALO = (MODELS / "keras3_custom.custom.py").read_text()


def test_trusted_code_runs_in_a_process_that_serves_no_other_model(
    temp: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    reader = ReaderProcess()
    source = _custom(tmp_path, f"print('noise')\n{HALO}")
    with reader.convert(source, trusted=True) as model:
        assert_as_expected("keras3_custom", model)
    assert _pid(reader) is None
    reader.close()
    assert list(temp.iterdir()) == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (
            "import os; os.write(2, b'F00 Check failed: a == b\\n'); os.abort()",
            "crashed.*SIGABRT.*Lambda.*bytecode.*Python.*Last words: F00 Check failed: a == b",
        ),
        (  # the converted model runs once in the child, in case it crashes
            "import os, app.serving.engine.sessions.session as r\n"
            "r.ModelSession = lambda *a: os.abort()",
            "crashed.*SIGABRT",
        ),
        (
            "import os; os.kill(os.getpid(), 9)",
            "crashed.*SIGKILL.*more memory than there is: (raise|serve)",
        ),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("import time; time.sleep(60)", "took more than"),
    ],
)
def test_a_child_that_dies_or_hangs_is_a_load_error(
    source: str, reason: str, temp: Path, tmp_path: Path
) -> None:
    reader = ReaderProcess()
    if "sleep" in source:
        _refusal(reader, MODELS / "nope.keras")  # the start takes longer than the rest
        reader._timeout_s = 1
    model = _custom(tmp_path, f"import tempfile; tempfile.mkdtemp()\n{source}\n{HALO}")
    with pytest.raises(LoadError, match=reason), reader.convert(model, trusted=True):
        pass
    assert _pid(reader) is None
    reader.close()
    assert list(temp.iterdir()) == []


# --- ends -----------------------------------------------------------------------------------------

SLOW = f"import time\nopen(__file__ + '.runs', 'w').close()\ntime.sleep(100)\n{HALO}"


def _await(path: Path) -> None:
    until = time.monotonic() + 60
    while not path.exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert path.exists()


def test_close_ends_a_conversion_under_way(temp: Path, tmp_path: Path) -> None:
    reader = ReaderProcess()
    source = _custom(tmp_path, SLOW)
    reasons: list[str] = []
    thread = threading.Thread(target=lambda: reasons.append(_refusal(reader, source, trusted=True)))
    thread.start()
    _await(tmp_path / "custom.py.runs")
    pid = _pid(reader)
    assert pid is not None
    began = time.monotonic()
    reader.close()
    reader.close()
    thread.join(10)
    assert time.monotonic() - began < 5
    assert reasons == ["the server is shutting down"]
    assert not psutil.pid_exists(pid)
    assert list(temp.iterdir()) == []
    assert _refusal(reader, source) == "the server is shutting down"


def test_close_ends_an_idle_process(temp: Path) -> None:
    reader = ReaderProcess()
    _refusal(reader, MODELS / "nope.keras")
    pid = _pid(reader)
    assert pid is not None
    assert psutil.pid_exists(pid)
    reader.close()
    assert not psutil.pid_exists(pid)


PARENT = """
import sys
from pathlib import Path
from app.serving.reading.process import ReaderProcess
if __name__ == "__main__":
    with ReaderProcess().convert(Path(sys.argv[1]), trusted=True):
        pass
"""


@pytest.mark.parametrize("when", ["converting", "starting"])
def test_the_child_goes_with_a_parent_that_is_killed(when: str, tmp_path: Path) -> None:
    source = _custom(tmp_path, SLOW)
    temp = tmp_path / "temp"
    temp.mkdir()
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    environ = os.environ | {"TMPDIR": str(temp), "PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen([sys.executable, script, source], env=environ)
    try:
        if when == "converting":
            _await(tmp_path / "custom.py.runs")
        else:
            _await_modules(parent.pid)
        children = psutil.Process(parent.pid).children(recursive=True)
        assert children
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    _, alive = psutil.wait_procs(children, timeout=10)
    assert [p for p in alive if p.status() != psutil.STATUS_ZOMBIE] == []
    assert list(temp.iterdir()) == []


def _await_modules(parent: int) -> None:
    """Until a child of that process has begun to import TensorFlow."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        for child in psutil.Process(parent).children():
            with suppress(psutil.Error):
                if any("tensorflow" in m.path for m in child.memory_maps()):
                    return
        time.sleep(0.02)
    raise AssertionError("no child imports TensorFlow")


# --- memory ---------------------------------------------------------------------------------------


def test_the_process_that_reads_ends_first_when_memory_runs_out(reader: ReaderProcess) -> None:
    _refusal(reader, MODELS / "nope.keras")
    assert Path(f"/proc/{_pid(reader)}/oom_score_adj").read_text().strip() == "1000"
    assert Path("/proc/self/oom_score_adj").read_text().strip() != "1000"


def test_what_a_conversion_takes_is_measured(temp: Path, tmp_path: Path) -> None:
    """Of each on its own, though the process is the same."""
    reader = ReaderProcess()
    try:
        assert reader.resident_bytes == 0
        save_constant_model(tmp_path / "large.keras", 1, hidden=5000)  # 100 MB of weights
        save_constant_model(tmp_path / "small.keras", 1)
        peaks = []
        for name in ("small", "large", "small"):
            with reader.convert(tmp_path / f"{name}.keras", trusted=False):
                peaks.append(reader.peak_bytes)
        assert peaks[0] > 100_000_000
        assert peaks[1] > peaks[0] + 100_000_000
        assert peaks[2] < peaks[1]
        assert 100_000_000 < reader.resident_bytes <= peaks[2]
    finally:
        reader.close()
    assert reader.resident_bytes == 0
