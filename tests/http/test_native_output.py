"""All output in the log is JSON, including that of native code in the server, in its reader and on
the command line."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.http.test_cli import run
from tests.models.fixtures import MODELS, fixture
from tests.native import DEATHS, SAYS, Orders
from tests.support import ROOT, ServerProcess, eventually, serving

WORDS = "E0000 00:00:1764379603.1 1 util.cc:131] so it ends\\n\\xffso\\n"
HALO = (MODELS / "keras3_custom.custom.py").read_text()


@pytest.fixture
def orders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Orders:
    (tmp_path / "orders").mkdir()
    return Orders(tmp_path / "orders", monkeypatch)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


def _speaking(models: Path, code: str, name: str = "speaks") -> None:
    """A model whose reading runs code of its author's."""
    (models / name).mkdir()
    (models / name / "custom.py").write_text(f"{SAYS}\n{code}\n{HALO}")
    shutil.copy(fixture("keras3_custom"), models / name / "model.keras")
    (models / name / "model.yaml").write_text("task: tensor\ntrusted: true\n")


def _native(server: ServerProcess) -> list[dict[str, Any]]:
    return [line for line in server.lines() if line["logger"] == "native"]


@pytest.mark.parametrize("death", [death for death in DEATHS if death != "exit"])
def test_last_words_of_a_server(death: str, orders: Orders, models: Path, tmp_path: Path) -> None:
    dies, code = DEATHS[death]
    with serving(models, tmp_path) as server:
        orders.give(f"say(b'{WORDS}')\n{dies}")
        assert server.process.wait(60) == code
        first, second, *_ = _native(server)
        assert (first["level"], first["event"]) == ("error", "so it ends")
        assert (second["level"], second["event"]) == ("warning", "\\xffso")


def test_a_flood_does_not_keep_requests(orders: Orders, models: Path, tmp_path: Path) -> None:
    """10 MB, in lines of 100 bytes: as many requests are answered meanwhile as there is time for,
    and each has its line as well."""
    with serving(models, tmp_path) as server:
        done = tmp_path / "done"
        orders.give(
            "for i in range(100_000): say('%09d %s\\n' % (i, 'x' * 90))\n"
            f"open({str(done)!r}, 'w').close()"
        )
        ids = set()
        with httpx.Client(base_url=server.url, timeout=60) as client:
            while not done.exists():
                answer = client.get("/api/models")
                assert answer.status_code == 200
                ids.add(answer.headers["x-request-id"])
        lines = eventually(lambda: '"event": "000099999 ' in server.log() and server.lines())
        numbers = [int(line["event"][:9]) for line in lines if line["logger"] == "native"]
        assert numbers == list(range(100_000))
        assert ids <= {line.get("id") for line in lines}


def test_what_the_reader_says(models: Path, tmp_path: Path) -> None:
    """Lines of several levels and shapes, on both descriptors; not what Python code prints."""
    _speaking(
        models,
        f"say(b'{WORDS}')\nsay('in two ')\ntime.sleep(0.2)\nsay('pieces\\n')\n"
        "say('printed\\n', 1)\nprint('by Python')\nsay('y' * 100_000 + '\\n')",
    )
    with serving(models, tmp_path) as server:
        eventually(lambda: sum(line["event"].count("y") for line in _native(server)) >= 100_000)
        events = [line["event"] for line in _native(server)]
        assert events[:4] == ["so it ends", "\\xffso", "in two pieces", "printed"]
        assert "".join(events[4:]) == "y" * 100_000
        assert server.get("/api/models/speaks").json()["state"] == "ready"
        assert not any("by Python" in line["event"] for line in server.lines())


@pytest.mark.parametrize("death", ["abort", "SIGKILL"])
def test_last_words_of_the_reader(death: str, models: Path, tmp_path: Path) -> None:
    dies, _ = DEATHS[death]
    fatal = "F0000 00:00:1764379603.1 1 x.cc:3] Check failed: a == b\\n"
    _speaking(models, f"say(''.join(f'{{i}}\\n' for i in range(2000)) + '{fatal}')\n{dies}")
    with serving(models, tmp_path) as server:
        found = eventually(lambda: "Check failed" in server.log() and _native(server))
        assert [line["event"] for line in found] == [*map(str, range(2000)), "Check failed: a == b"]
        assert found[-1]["level"] == "critical"
        (model,) = server.get("/api/models").json()["models"]
        assert model["state"] == "failed"
        assert "Last words: F0000" in model["reason"]


def test_check_keeps_its_table(orders: Orders, models: Path) -> None:
    """What the command's own process says, and its reader."""
    _speaking(models, "say('of the reader\\n')\nsay('printed\\n', 1)")
    orders.give(f"say(b'{WORDS}')")
    done = run("check", models)
    header, row, took = done.stdout.splitlines()
    assert header.split()[:4] == ["model", "version", "task", "state"]
    assert row.split()[:4] == ["speaks", "1", "tensor", "ready"]
    assert "s to load" in took
    assert done.stderr.splitlines() == [
        "error: so it ends",
        "warning: \\xffso",
        "warning: of the reader",
        "warning: printed",
    ]


@pytest.mark.parametrize("death", [death for death in DEATHS if death != "exit"])
def test_last_words_of_check(death: str, orders: Orders) -> None:
    dies, code = DEATHS[death]
    orders.give(f"time.sleep(1)\nsay(b'{WORDS}')\n{dies}")
    command = [sys.executable, "-m", "app", "check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.splitlines()[:2] == ["error: so it ends", "warning: \\xffso"]


# --- of this CPU ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("cats-dogs", {"TF_ENABLE_ONEDNN_OPTS": "0"}),
        ("cats-dogs", {"ONEDNN_MAX_CPU_ISA": "AVX2"}),
        ("mpg", {"TF_CPP_MIN_LOG_LEVEL": "0", "TF_CPP_MAX_VLOG_LEVEL": "1"}),
    ],
    ids=["without oneDNN", "AVX2", "all that it says"],
)
def test_all_that_tensorflow_says_is_json(
    name: str,
    settings: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    models: Path,
    tmp_path: Path,
) -> None:
    """Without oneDNN, with few of the instructions that it takes, and with all that it says. As it
    is, all servers of the tests run."""
    for key, value in settings.items():
        monkeypatch.setenv(key, value)
    (models / name).symlink_to(ROOT / "models" / name)
    with serving(models, tmp_path) as server:
        assert {line["level"] for line in server.lines()} <= {"info", "warning"}
        server.terminate()
        assert server.process.wait(60) == 0
        assert server.lines()[-1]["event"] == "drained"
        assert all(json.loads(line) for line in server.log().splitlines())
