"""Two servers that are each other's peers and are asked to stop."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from app.handover import GONE_S
from app.server.supervisor import HUNG_EXIT
from tests.models import save_hanging_model, save_slow_model
from tests.replicas import Replicas
from tests.support import NO_TLS, ServerProcess

NAMES = ("app-1", "app-2")


@pytest.fixture
def none(tmp_path: Path) -> Path:
    """No models: without them a server starts much sooner."""
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


@pytest.fixture
def pair(none: Path, tmp_path: Path) -> Iterator[Replicas]:
    replicas = Replicas(none, tmp_path)
    try:
        replicas.start_both()
        yield replicas
    finally:
        replicas.stop()


class Requests:
    """A client that asks either server in turn, and the other one where the first cannot answer."""

    def __init__(self, pair: Replicas) -> None:
        self._urls = [server.url for server in pair.servers.values()]
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.answered = 0
        self.lost: list[str] = []

    def __enter__(self) -> Requests:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stopped.set()
        self._thread.join(60)

    def _run(self) -> None:
        while not self._stopped.wait(0.02):
            self._urls.reverse()
            found = [self._ask(url) for url in self._urls]
            if 200 in found:
                self.answered += 1
            else:
                self.lost.append(f"{found}")

    def _ask(self, url: str) -> int | str:
        try:
            body = [[1.0]]
            answer = httpx.post(f"{url}/api/slow", json=body, timeout=30, verify=NO_TLS)
            return answer.status_code
        except httpx.HTTPError as error:
            return repr(error)


def _await_end(server: ServerProcess, seconds: float = 60) -> None:
    assert server.process.wait(seconds) == 0


@pytest.fixture
def with_a_model(none: Path) -> None:
    save_slow_model(none / "slow")


@pytest.mark.usefixtures("with_a_model")
def test_both_restart_and_one_always_serves(pair: Replicas) -> None:
    with Requests(pair) as requests:
        servers = dict(pair.servers)
        for server in servers.values():
            server.terminate()
        while all(server.process.poll() is None for server in servers.values()):
            time.sleep(0.02)
        (first,) = (n for n, server in servers.items() if server.process.poll() is not None)
        (second,) = (n for n in NAMES if n != first)
        assert servers[second].get("/readyz").json()["stand"] == "staying"
        pair.start(first).await_ready()
        _await_end(servers[second])
        assert "another replica serves" in servers[second].log()
        pair.start(second).await_ready()
    assert not requests.lost, requests.lost[:5]
    assert requests.answered > 20


def test_both_end_where_nothing_comes_back(pair: Replicas) -> None:
    start = time.monotonic()
    for server in pair.servers.values():
        server.terminate()
    for server in pair.servers.values():
        _await_end(server)
    waited = [s for s in pair.servers.values() if "no other replica has answered" in s.log()]
    assert len(waited) == 1
    assert time.monotonic() - start >= GONE_S


def test_one_alone_ends_at_once(pair: Replicas) -> None:
    pair.servers["app-2"].terminate()
    _await_end(pair.servers["app-2"])
    assert "no other replica" not in pair.servers["app-2"].log()
    assert "serving until" not in pair.servers["app-2"].log()


def test_a_peer_that_never_becomes_ready_is_waited_for_until_the_limit(
    tmp_path: Path, none: Path
) -> None:
    replicas = Replicas(none, tmp_path, handover_s=1)
    try:
        server = replicas.start("app-1").await_ready()
        server.terminate()
        _await_end(server)
        assert "no other replica became ready within 1 s" in server.log()
    finally:
        replicas.stop()


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_one_that_stays(
    tmp_path: Path, none: Path, second: signal.Signals
) -> None:
    replicas = Replicas(none, tmp_path)
    try:
        server = replicas.start("app-1").await_ready()
        server.terminate()
        until = time.monotonic() + 30
        while "serving until another replica is ready" not in server.log():
            assert time.monotonic() < until
            time.sleep(0.02)
        assert server.get("/readyz").status_code == 200
        server.process.send_signal(second)
        assert server.process.wait(30) == 128 + second
    finally:
        replicas.stop()


@pytest.mark.parametrize("told", [False, True])
def test_a_model_that_hangs_waits_for_no_one(tmp_path: Path, told: bool) -> None:
    save_hanging_model(tmp_path / "models" / "hangs")
    replicas = Replicas(tmp_path / "models", tmp_path, watchdog_s=2, handover_s=600)
    try:
        server = replicas.start("app-1").await_ready()
        with ThreadPoolExecutor(1) as pool:
            hanging = pool.submit(server.post, "/api/hangs", json=[[-1.0]])
            if told:
                server.terminate()
            assert server.process.wait(60) == HUNG_EXIT
            assert hanging.exception() is not None or hanging.result().status_code == 504
    finally:
        replicas.stop()


@pytest.mark.parametrize("settings", [{"handover_s": 0}, {"peers": ""}])
def test_nothing_is_waited_for_without_peers_or_a_limit(
    tmp_path: Path, none: Path, settings: dict[str, object]
) -> None:
    uploads = tmp_path / "uploads"
    both = {"peers": "http://127.0.0.1:9", **settings}
    server = ServerProcess(none, uploads, drain_delay_s=0, **both)
    try:
        server.await_ready().terminate()
        _await_end(server)
        assert "SIGTERM: draining" in server.log()
    finally:
        server.stop()


def test_ctrl_c_waits_for_no_one(tmp_path: Path, none: Path) -> None:
    replicas = Replicas(none, tmp_path)
    try:
        server = replicas.start("app-1").await_ready()
        server.process.send_signal(signal.SIGINT)
        _await_end(server)
        assert "SIGINT: draining" in server.log()
    finally:
        replicas.stop()
