"""A full queue, a deadline, a client that hangs up."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.models import save_slow_model
from tests.support import ServerProcess, serving

LONG = [[200.0]]  # rounds; a second or two
QUICK = [[1.0]]


@pytest.fixture(scope="module")
def server(slow_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    save_slow_model(slow_models / "hasty", timeout_s=0.3)
    folder = tmp_path_factory.mktemp("overload")
    # However slow the machine is: it is the card of "hasty" that ends waits here.
    with serving(slow_models, folder, request_timeout_s=120) as server:
        yield server


def _ask(server: ServerProcess, rounds: list[list[float]]) -> httpx.Response:
    return server.post("/api/slow", json=rounds)


def _admitted(server: ServerProcess, model: str = "slow") -> int:
    waiting = server.get(f"/api/models/{model}").json()["waiting"]
    assert isinstance(waiting, int)
    return waiting


def _await_admitted(server: ServerProcess, count: int, model: str = "slow") -> None:
    until = time.monotonic() + 20
    while (waiting := _admitted(server, model)) != count:
        assert time.monotonic() < until, f"{waiting} requests wait, not {count}"
        time.sleep(0.01)


def test_a_full_queue_refuses_at_once_and_says_when_to_come_back(server: ServerProcess) -> None:
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(_ask, server, LONG) for _ in range(4)]
        _await_admitted(server, 4)
        refused = _ask(server, QUICK)
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "overloaded"
        assert int(refused.headers["Retry-After"]) >= 1
        assert _admitted(server) == 4, "the refused request must not count"
        # The fourth, exactly at the limit, was let in.
        assert [f.result().status_code for f in waiting] == [200] * 4
    assert _ask(server, QUICK).status_code == 200


def test_the_deadline_of_the_card_ends_the_wait(server: ServerProcess) -> None:
    late = server.post("/api/hasty", json=LONG)
    assert late.status_code == 504
    assert late.json()["error"]["code"] == "deadline_exceeded"
    _await_admitted(server, 0, "hasty")
    _await_idle(server)


def _await_idle(server: ServerProcess) -> None:
    until = time.monotonic() + 60
    while server.post("/api/hasty", json=QUICK).status_code != 200:
        assert time.monotonic() < until, "the model is still busy"


def test_a_request_whose_deadline_passes_in_the_queue_is_never_run(server: ServerProcess) -> None:
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(server.post, "/api/hasty", json=LONG)
        _await_admitted(server, 1, "hasty")
        second = pool.submit(server.post, "/api/hasty", json=[[100_000.0]])
        assert (first.result().status_code, second.result().status_code) == (504, 504)
    # 100,000 rounds would keep the model busy for many minutes.
    _await_idle(server)


def test_a_client_that_hangs_up_leaves_the_queue(server: ServerProcess) -> None:
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(_ask, server, LONG)
        _await_admitted(server, 1)
        body = json.dumps(LONG).encode()
        gone = []
        for _ in range(3):
            connection = socket.create_connection(("127.0.0.1", server.port))
            connection.sendall(
                b"POST /api/slow HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                + f"Content-Length: {len(body)}\r\n\r\n".encode()
                + body
            )
            gone.append(connection)
        _await_admitted(server, 4)
        for connection in gone:
            connection.close()
        _await_admitted(server, 1)
        assert running.result().status_code == 200


def test_neighbours_of_a_bad_item_are_answered(server: ServerProcess) -> None:
    with ThreadPoolExecutor(3) as pool:
        blocker = pool.submit(_ask, server, [[50.0]])
        _await_admitted(server, 1)
        bad = pool.submit(server.post, "/api/slow", content=b'[["x"]]')
        good = pool.submit(_ask, server, QUICK)
        assert blocker.result().status_code == 200
        assert bad.result().status_code == 422
        assert good.result().json()["predictions"] == QUICK
