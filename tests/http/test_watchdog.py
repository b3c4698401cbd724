"""A model that hangs: its requests fail at once, others finish, and the process ends and is
restarted. And a hub that stands still, which only another process can end."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.models import save_hanging_model, save_slow_model
from tests.native import Orders
from tests.support import ServerProcess, eventually, serving

HUNG_EXIT = 70
# Longer than any run of the other models takes, which sleep instead of computing.
WATCHDOG_S = 4
HANG, GOOD = [[-1.0]], [[1.0]]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hanging")
    save_hanging_model(folder / "hangs")
    save_slow_model(folder / "slow", max_queue=20)
    return folder


@pytest.fixture
def server(models: Path, tmp_path: Path) -> Iterator[ServerProcess]:
    settings = {"drain_delay_s": 4, "drain_timeout_s": 60, "request_timeout_s": 100}
    with serving(models, tmp_path, watchdog_s=WATCHDOG_S, **settings) as server:
        yield server


def _error(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def test_a_model_that_hangs_ends_the_process(server: ServerProcess) -> None:
    # Runs that last, but end, and many of them in turn.
    for _ in range(3):
        assert server.post("/api/slow", json=[[20.0]]).status_code == 200
    assert server.post("/api/hangs", json=GOOD).json()["predictions"] == GOOD
    assert server.get("/livez").json() == {"alive": True}

    with ThreadPoolExecutor(8) as pool, httpx.Client(base_url=server.url, timeout=60) as kept:
        hanging = pool.submit(server.post, "/api/hangs", json=HANG)
        server.await_waiting(1, "hangs")
        queued = pool.submit(server.post, "/api/hangs", json=GOOD)
        server.await_waiting(2, "hangs")
        eventually(lambda: f"hangs: a run has not ended within {WATCHDOG_S} s" in server.log())
        # The port stays open for drain_delay_s.
        live, ready = kept.get("/livez"), kept.get("/readyz")
        assert (live.status_code, ready.status_code) == (503, 503)
        assert live.json()["alive"] is False
        assert "the model 'hangs' hangs" in live.json()["reason"]
        assert ready.json()["reason"] == live.json()["reason"]
        assert ready.json()["models"] == {"hangs": "failed", "slow": "ready"}
        for path, body in (
            ("/v2/health/live", {"live": False}),
            ("/v2/health/ready", {"ready": False}),
        ):
            answer = kept.get(path)
            assert (answer.status_code, answer.json()) == (503, body)
        assert kept.get("/v2/models/hangs/ready").status_code == 503
        status = kept.get("/api/status?replica=self").json()
        (model,) = (m for m in status["replicas"][0]["models"] if m["name"] == "hangs")
        assert (model["state"], model["hangs"]) == ("failed", True)
        assert status["events"][0]["kind"] == "hung"
        summary = kept.get("/api/status").json()["summary"]
        assert 'the model "hangs" hangs' in summary["text"]

        # Not 503 for the one in the run, or nginx would hang the other replica with it.
        assert _error(hanging.result()) == (504, "deadline_exceeded")
        assert _error(queued.result()) == (503, "model_unavailable")
        at_once = kept.post("/api/hangs", json=GOOD)
        assert _error(at_once) == (503, "model_unavailable")
        assert "hangs" in at_once.json()["error"]["message"]
        assert int(at_once.headers["Retry-After"]) >= 1

        # The other model finishes what it has, and takes more until the port closes.
        others = [pool.submit(server.post, "/api/slow", json=[[20.0]]) for _ in range(4)]
        assert [f.result().status_code for f in others] == [200] * 4
    assert server.process.wait(100) == HUNG_EXIT
    assert "drained" in server.log()
    assert "Traceback" not in server.log()


def test_a_signal_meanwhile_cuts_nothing_off(models: Path, tmp_path: Path) -> None:
    """The orchestrator may want it gone as well, since it is not alive. And the next start tells
    what has happened."""
    events = tmp_path / "events.jsonl"
    settings: dict[str, object] = {
        "drain_delay_s": 0,
        "drain_timeout_s": 100,
        "request_timeout_s": 100,
    }
    settings |= {"watchdog_s": WATCHDOG_S, "events_file": str(events)}
    with (
        serving(models, tmp_path, **settings) as server,
        ThreadPoolExecutor(2) as pool,
    ):
        # Many runs, some of them after the other model is given up.
        others = pool.submit(server.post, "/api/slow", json=[[20.0]] * 60)
        server.await_waiting(1)
        hanging = pool.submit(server.post, "/api/hangs", json=HANG)
        eventually(lambda: "port closed" in server.log())
        server.terminate()
        assert _error(hanging.result()) == (504, "deadline_exceeded")
        assert others.result().status_code == 200
        assert server.process.wait(100) == HUNG_EXIT
    found = [json.loads(line) for line in events.read_text().splitlines()]
    kinds = [event["kind"] for event in found]
    assert kinds[-2:] == ["hung", "stopped"]
    assert found[-2]["model"] == "hangs"
    assert "the model 'hangs' hangs" in found[-1]["reason"]


# --- the hub --------------------------------------------------------------------------------------

# Finds the hub as long as it waits for events in its main loop, and has it run `stands_still`.
ON_THE_HUB = """
import threading
from gevent.hub import Hub
def hub():
    while True:
        frame = sys._current_frames()[threading.main_thread().ident]
        while frame is not None:
            if isinstance(frame.f_locals.get("self"), Hub):
                return frame.f_locals["self"]
            frame = frame.f_back
hub().loop.run_callback_threadsafe(stands_still)
"""
STILL = {
    "in Python": "while True: pass",
    "in C, with Python's lock": "while True: ctypes.PyDLL(None).sleep(100)",
    "in C, without it": "time.sleep(600)",
}


def _alive(server: ServerProcess) -> bool:
    try:
        return httpx.get(f"{server.url}/livez", timeout=3).is_success
    except httpx.TimeoutException:
        return False


def _stand_still(orders: Orders, code: str) -> None:
    orders.give(f"def stands_still():\n    {code}\n{ON_THE_HUB}")


@pytest.fixture
def orders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Orders:
    (tmp_path / "orders").mkdir()
    return Orders(tmp_path / "orders", monkeypatch)


@pytest.fixture
def none(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


@pytest.mark.parametrize("way", STILL)
def test_a_hub_that_stands_still_ends_the_process(
    way: str, orders: Orders, none: Path, tmp_path: Path
) -> None:
    with serving(none, tmp_path, watchdog_s=4) as server:
        _stand_still(orders, STILL[way])
        assert server.process.wait(100) == HUNG_EXIT
        last = server.lines()[-1]
        assert (last["level"], last["logger"]) == ("critical", "app.server.supervisor")
        assert "the hub has stood still for 4 s (KERAPORT_WATCHDOG_S)" in last["event"]
        assert " in stands_still\n" in last["stack"]
        assert 'gevent/hub.py", line' in last["stack"]


@pytest.mark.parametrize("way", STILL)
def test_sigterm_ends_a_hub_that_stands_still(
    way: str, orders: Orders, none: Path, tmp_path: Path
) -> None:
    with serving(none, tmp_path, drain_delay_s=1, drain_timeout_s=1) as server:
        _stand_still(orders, STILL[way])
        eventually(lambda: not _alive(server))
        server.terminate()
        assert server.process.wait(60) == HUNG_EXIT
        assert "although the server was asked to stop" in server.lines()[-1]["event"]
        assert " in stands_still\n" in server.lines()[-1]["stack"]


def test_a_pause_is_no_end(orders: Orders, none: Path, tmp_path: Path) -> None:
    """Of the hub for less than the setting, and of the process for longer."""
    with serving(none, tmp_path, watchdog_s=4) as server:
        _stand_still(orders, "time.sleep(1)")
        time.sleep(3)
        for pid in (server.pid, server.process.pid):
            os.kill(pid, signal.SIGSTOP)
        time.sleep(6)
        for pid in (server.pid, server.process.pid):
            os.kill(pid, signal.SIGCONT)
        time.sleep(2)
        assert server.get("/livez").json() == {"alive": True}
        os.kill(server.pid, signal.SIGSTOP)  # which the supervisor sees
        time.sleep(6)
        os.kill(server.pid, signal.SIGCONT)
        time.sleep(2)
        assert server.get("/livez").json() == {"alive": True}
        server.terminate()
        assert server.process.wait(60) == 0
        assert not [line for line in server.lines() if line["level"] == "critical"]


def test_a_group_of_processes_that_is_stopped(slow_models: Path, tmp_path: Path) -> None:
    """As by systemd or the shell: the server gets the signal twice, and finishes all the same."""
    with serving(slow_models, tmp_path, drain_delay_s=0) as server, ThreadPoolExecutor(1) as pool:
        inflight = pool.submit(server.post, "/api/slow", json=[[100.0]])
        server.await_waiting(1)
        for pid in (server.pid, server.process.pid):
            os.kill(pid, signal.SIGTERM)
        assert inflight.result().status_code == 200
        assert server.process.wait(60) == 0
        assert server.lines()[-1]["event"] == "drained"
