"""`python -m app …`, as typed; tests/models/test_cli.py asks the commands for the rest."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.models import save_picture_model
from tests.support import ROOT


def run(
    *arguments: object, models: Path = ROOT / "models", code: int = 0, **settings: str
) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "KERAPORT_MODELS_DIR": str(models), "COLUMNS": "200", **settings}
    done = subprocess.run(
        [sys.executable, "-m", "app", *map(str, arguments)],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_help_lists_the_commands() -> None:
    help_text = run("--help").stdout
    for command in ("serve", "check", "predict", "profile", "card", "add"):
        assert command in help_text
        assert "Usage:" in run(command, "--help").stdout


def test_a_wrong_setting_is_named() -> None:
    assert "KERAPORT_PORT" in run("serve", code=1, KERAPORT_PORT="many").stderr


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert port in run("serve", code=1, KERAPORT_PORT=port).stderr


def test_an_uploads_folder_that_cannot_be_written_is_refused_at_start(tmp_path: Path) -> None:
    """Root may write anywhere but where no file can be."""
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc")):
        done = run("serve", code=1, KERAPORT_PORT="0", KERAPORT_UPLOADS_DIR=str(folder))
        assert "KERAPORT_UPLOADS_DIR" in done.stderr
        assert str(folder) in done.stderr
        assert done.stdout == ""


def test_without_a_models_folder_no_address_is_announced(tmp_path: Path) -> None:
    done = run("serve", models=tmp_path / "none", code=1, KERAPORT_PORT="0")
    assert "KERAPORT_MODELS_DIR" in done.stderr
    assert done.stdout == ""


def test_check_as_json_tells_time_memory_and_guesses(tmp_path: Path) -> None:
    save_picture_model(tmp_path / "bare.keras", rescales=False)
    (tmp_path / "broken.h5").write_text("no model")
    done = run("check", tmp_path, "--json", code=1)
    ready, failed = json.loads(done.stdout)["models"]
    assert (ready["name"], ready["state"], failed["state"]) == ("bare", "ready", "failed")
    assert ready["seconds"] > 0
    # The process that reads Keras files alone has more.
    assert ready["peak_bytes"] > 100_000_000
    assert 0 < ready["serving_bytes"] < ready["peak_bytes"]
    guess = "the input scale 0..1 is a guess (the file does not show it): set input.scale"
    assert guess in ready["guesses"]
    assert failed["guesses"] == []
    assert failed["reason"]


def test_add_without_a_network_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    done = run("add", "mobilenet", models=tmp_path, code=1, KERAS_HOME=str(tmp_path / "keras"))
    assert "cannot be downloaded" in done.stderr
    assert not (tmp_path / "mobilenet").exists()
