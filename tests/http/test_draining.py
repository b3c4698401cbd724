"""How a server process ends."""

from __future__ import annotations

import http.client
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.support import ServerProcess, serving

LONG = [[150.0]]  # rounds; a second or two


def _await(server: ServerProcess, text: str) -> None:
    until = time.monotonic() + 30
    while text not in server.log():
        assert time.monotonic() < until, f"{text!r} is not in the log:\n{server.log()}"
        time.sleep(0.01)


def test_sigterm_finishes_what_is_in_flight(slow_models: Path, tmp_path: Path) -> None:
    with (
        serving(slow_models, tmp_path, drain_delay_s=1) as server,
        ThreadPoolExecutor(3) as pool,
        httpx.Client(base_url=server.url) as kept,
    ):
        assert "Connection" not in kept.get("/readyz").headers
        inflight = [pool.submit(server.post, "/api/slow", json=LONG) for _ in range(3)]
        server.await_waiting(3)
        server.terminate()
        _await(server, "SIGTERM: draining")
        # The port is still open, so that a load balancer can see it.
        ready = kept.get("/readyz")
        assert ready.status_code == 503
        assert ready.json()["draining"] is True
        assert ready.headers["Connection"] == "close"
        # Whoever has not noticed yet is answered all the same.
        late = server.post("/api/slow", json=[[1.0]])
        assert (late.status_code, late.headers["Connection"]) == (200, "close")
        assert [f.result().status_code for f in inflight] == [200, 200, 200]
        assert server.process.wait(30) == 0
        assert server.lines()[-1]["event"] == "drained"


def test_once_the_port_is_closed_kept_connections_are_closed(
    slow_models: Path, tmp_path: Path
) -> None:
    with serving(slow_models, tmp_path, drain_delay_s=0) as server, ThreadPoolExecutor(1) as pool:
        kept = http.client.HTTPConnection("127.0.0.1", server.port)
        kept.request("GET", "/livez")
        kept.getresponse().read()
        inflight = pool.submit(server.post, "/api/slow", json=LONG)
        server.await_waiting(1)
        server.terminate()
        _await(server, "port closed")
        with pytest.raises(httpx.ConnectError):
            server.get("/livez")
        kept.request("POST", "/api/slow", b"[[1.0]]", {"Content-Type": "application/json"})
        answer = kept.getresponse()
        assert answer.status == 503
        assert answer.headers["Connection"] == "close"
        assert int(answer.headers["Retry-After"]) >= 1
        assert b'"draining"' in answer.read()
        kept.close()
        assert inflight.result().status_code == 200
        assert server.process.wait(30) == 0


def test_a_drain_ends_in_time_even_when_a_request_does_not(
    slow_models: Path, tmp_path: Path
) -> None:
    with (
        serving(slow_models, tmp_path, drain_delay_s=0, drain_timeout_s=0.5) as server,
        ThreadPoolExecutor(1) as pool,
    ):
        endless = pool.submit(server.post, "/api/slow", json=[[100_000.0]])
        server.await_waiting(1)
        server.terminate()
        assert server.process.wait(30) == 0
        assert "1 requests did not finish" in server.log()
        with pytest.raises(httpx.RemoteProtocolError):
            endless.result()


def test_a_second_signal_ends_at_once(slow_models: Path, tmp_path: Path) -> None:
    with serving(slow_models, tmp_path) as server, ThreadPoolExecutor(1) as pool:
        endless = pool.submit(server.post, "/api/slow", json=[[100_000.0]])
        server.await_waiting(1)
        server.terminate()
        _await(server, "SIGTERM: draining")
        server.terminate()
        assert server.process.wait(5) == 128 + signal.SIGTERM
        with pytest.raises(httpx.HTTPError):
            endless.result()


@pytest.mark.parametrize("delay", [0.0, 0.1, 0.5, 1.0, 2.0, 4.0])
def test_sigterm_while_models_load_ends_cleanly(
    slow_models: Path, tmp_path: Path, delay: float
) -> None:
    uploads = tmp_path / "uploads"
    server = ServerProcess(slow_models, uploads)
    try:
        time.sleep(delay)
        loading = "ready in" not in server.log()
        server.terminate()
        assert server.process.wait(30) == 0
        assert loading or delay > 1, "meant to hit the loading"
        assert "Traceback" not in server.log()
    finally:
        server.stop()


def test_sigint_drains_too(slow_models: Path, tmp_path: Path) -> None:
    with serving(slow_models, tmp_path, drain_delay_s=0) as server:
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(30) == 0
