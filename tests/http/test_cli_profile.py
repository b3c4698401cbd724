"""`python -m app profile`, as typed; tests/models/test_workload.py has the kinds of models, and
tests/unit what is advised."""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import psutil
import pytest

from tests.models import save_killing_model
from tests.support import ROOT, eventually, is_alive

# Each run imports TensorFlow four times.
pytestmark = pytest.mark.timeout(900)
QUICK = ("--seconds", "0.05")


def begin(*arguments: str, models: Path = ROOT / "models", **environ: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "app", "profile", *arguments],
        cwd=ROOT,
        env={**os.environ, "KERAPORT_MODELS_DIR": str(models), "COLUMNS": "80", **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell ignores it for what it starts in the background, such as these tests.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )


def test_a_shipped_model_as_json() -> None:
    process = begin("mpg", "--json", "--max-batch-size", "2", *QUICK)
    out, err = process.communicate(timeout=840)
    assert (process.returncode, err) == (0, "")
    found = json.loads(out)
    assert (found["model"], found["unit"], found["rounds"]) == ("mpg", "rows", 5)
    assert found["inputs"] == {"source": "examples", "rows": 3}
    assert found["card"] == {"precision": "float32", "max_batch_size": 32}
    for precision in ("float32", "bfloat16"):
        measured = found["precisions"][precision]
        assert measured["problem"] is None
        assert [point["size"] for point in measured["points"]] == [1, 2]
        for point in measured["points"]:
            low, high = point["per_second_range"]
            assert 0 < low <= point["per_second"] <= high
            low, high = point["milliseconds_range"]
            assert 0 < low <= point["milliseconds"] <= high
        memory = measured["memory"]
        assert memory["before_bytes"] > 100_000_000  # TensorFlow itself
        assert memory["loaded_bytes"] >= memory["before_bytes"]
        assert memory["largest_run_bytes"] > 0
        assert measured["load_seconds"] > 0
    assert found["decoding"]["milliseconds"] > 0
    assert found["difference"]["examples"] == 3
    assert found["difference"]["largest_of"] == "mpg"
    assert 0 <= found["difference"]["largest"] < 1
    assert "max_batch_size" not in found["runtime"]
    assert "the card's 32 rows were not measured" in found["reasons"]


def test_a_model_that_ends_the_process_ends_its_own_only(tmp_path: Path) -> None:
    (tmp_path / "killing").mkdir()
    save_killing_model(tmp_path / "killing", most_rows=1)
    process = begin("killing", *QUICK, models=tmp_path)
    out, err = process.communicate(timeout=840)
    assert (process.returncode, out) == (1, "")
    assert "TensorFlow ended the process (SIGABRT)" in err
    assert "Traceback" not in err


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the setting is for x86")
def test_a_cpu_on_which_bfloat16_ends_the_process_still_shows_float32() -> None:
    """With only AVX2, oneDNN has no product of matrices in bfloat16, and ends the process."""
    options = ("--json", "--max-batch-size", "1", *QUICK)
    process = begin("cats-dogs", *options, ONEDNN_MAX_CPU_ISA="AVX2")
    out, err = process.communicate(timeout=840)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    found = json.loads(out)
    assert [point["size"] for point in found["precisions"]["float32"]["points"]] == [1]
    dead = found["precisions"]["bfloat16"]
    assert "SIGABRT" in dead["problem"]
    assert (dead["points"], found["difference"], found["runtime"]) == ([], None, {})
    assert found["decoding"]["milliseconds"] > 0
    assert found["reasons"][0].startswith("bfloat16 was not measured: ")


def test_an_interrupt_leaves_nothing() -> None:
    process = begin("mpg")
    supervisor = psutil.Process(process.pid)
    # The command, and below it the process that loads the model.
    eventually(lambda: len(supervisor.children(recursive=True)) >= 3, timeout=300)
    every = supervisor.children(recursive=True)
    (command,) = supervisor.children()
    # As from a terminal, which does not leave it to the supervisor to pass it on.
    for each in every:
        each.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=300)
    assert (process.returncode, out) == (1, "")
    assert "Aborted!" in err
    assert "Traceback" not in err
    assert command.pid in [each.pid for each in every]
    eventually(lambda: not any(map(is_alive, every)))
