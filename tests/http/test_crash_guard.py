"""A model that kills the server is set aside at the third start; the others are served."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.serving.registry.crash_guard import CrashGuard
from app.serving.registry.folder import scan_model
from app.serving.registry.state_folder import StateFolder, replica_folder
from tests.models import save_constant_model, save_killing_model
from tests.support import ROOT, ServerProcess, eventually, serving

KILLS, LIVES = [[-1.0]], [[1.0]]


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """`good`, which comes last in the order of names and size."""
    save_constant_model(tmp_path / "models" / "good" / "model.keras", 7, hidden=300)
    (tmp_path / "models" / "good" / "model.yaml").write_text("task: tensor\n")
    return tmp_path / "models"


def _about(server: ServerProcess) -> tuple[str, str]:
    about = server.get("/api/models/bad").json()
    return about["state"], about.get("reason", "")


def _answers(server: ServerProcess, model: str) -> bool:
    return server.post(f"/api/{model}", json=LIVES).status_code == 200


@contextmanager
def closing_server(server: ServerProcess) -> Iterator[ServerProcess]:
    try:
        yield server
    finally:
        server.stop()


def _dies(models: Path, tmp_path: Path, settings: dict[str, Any], *, asked: bool) -> None:
    """A start that ends with the server killed by its model."""
    (tmp_path / "uploads").mkdir(exist_ok=True)
    with closing_server(ServerProcess(models, tmp_path / "uploads", **settings)) as server:
        if asked:
            server.await_ready()
            with pytest.raises(httpx.HTTPError):
                server.post("/api/bad", json=KILLS)
        assert server.process.wait(60) == 128 + signal.SIGABRT, server.log()


@pytest.mark.parametrize("asked", [False, True], ids=["while loading", "in its first run"])
def test_the_others_are_served_after_two_ends(models: Path, tmp_path: Path, asked: bool) -> None:
    save_killing_model(models / "bad", most_rows=1000 if asked else 1)
    settings = {"events_file": tmp_path / "events" / "events.jsonl", "replica": "app-1"}
    for _ in range(2):
        _dies(models, tmp_path, settings, asked=asked)
    while_ = "it ran for the first time" if asked else "loading it"
    with serving(models, tmp_path, **settings) as server:
        state, reason = _about(server)
        assert state == "failed"
        assert reason.startswith(f"set aside: the server ended twice while {while_};")
        assert server.post("/api/bad", json=LIVES).status_code == 503
        assert _answers(server, "good")
        if not asked:
            # Another file releases it.
            save_killing_model(tmp_path / "new")
            shutil.rmtree(models / "bad")
            (tmp_path / "new").rename(models / "bad")
            eventually(lambda: _about(server) == ("ready", ""))
            assert _answers(server, "bad")
            return

        # SIGHUP gives it another chance, and one run that ends well clears it.
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: _about(server)[0] == "ready")
        assert _answers(server, "bad")
        with pytest.raises(httpx.HTTPError):
            server.post("/api/bad", json=KILLS)
        server.process.wait(60)
    with serving(models, tmp_path, **settings) as server:
        assert _about(server) == ("ready", "")


def _set_aside(model: Path, events: Path) -> None:
    """What two servers leave that its first run has killed."""
    (scanned,) = scan_model(model)
    for _ in range(2):
        state = StateFolder(replica_folder(events, "app-1"))
        run = CrashGuard(state).first_run(scanned)
        run.__enter__()
        state.close()  # before the run ends


def test_check_releases_it(models: Path, tmp_path: Path) -> None:
    save_killing_model(models / "bad")
    events = tmp_path / "events" / "events.jsonl"
    settings = {"events_file": events, "replica": "app-1"}
    _set_aside(models / "bad", events)
    with serving(models, tmp_path, **settings) as server:
        assert _about(server)[0] == "failed"
        checked = subprocess.run(
            [sys.executable, "-m", "app", "check"],
            cwd=ROOT,
            env=os.environ
            | {"KERAPORT_MODELS_DIR": str(models), "KERAPORT_EVENTS_FILE": str(events)},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert checked.returncode == 0, checked.stderr
        eventually(lambda: _about(server) == ("ready", ""))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_stopping_a_server_while_it_loads_blames_no_model(
    models: Path, tmp_path: Path, number: signal.Signals
) -> None:
    """Once at least, where it is killed."""
    settings = {"events_file": tmp_path / "events.jsonl", "replica": "app-1"}
    (tmp_path / "uploads").mkdir()
    for _ in range(2 if number == signal.SIGTERM else 1):
        with closing_server(ServerProcess(models, tmp_path / "uploads", **settings)) as server:
            eventually(
                lambda: list(tmp_path.glob("events-models/*/good@1.json"))
            )  # it is being loaded
            os.kill(server.pid, number)
            server.process.wait(60)
    with serving(models, tmp_path, **settings) as server:
        assert _answers(server, "good")
    assert list(tmp_path.glob("events-models/*/good@1.json")) == []
