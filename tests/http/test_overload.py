"""A full queue, a deadline, a client that disconnects, and far more clients than can be
answered."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.keys import Keys
from tests.metrics import scrape
from tests.models import save_slow_model
from tests.support import ROOT, ServerProcess, picture, serving

LONG = [[200.0]]  # rounds; a second or two
LONGER = [[600.0]]
QUICK = [[1.0]]


@pytest.fixture(scope="module")
def server(slow_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    save_slow_model(slow_models / "hasty", timeout_s=1)
    folder = tmp_path_factory.mktemp("overload")
    # However slow the machine is: it is the card of "hasty" that ends waits here.
    with serving(slow_models, folder, request_timeout_s=120) as server:
        yield server


def _known(key: str | None) -> dict[str, str]:
    return {} if key is None else {"X-API-Key": key}


def _ask(
    server: ServerProcess, rounds: list[list[float]], key: str | None = None
) -> httpx.Response:
    return server.post("/api/slow", json=rounds, headers=_known(key))


def _admitted(server: ServerProcess, model: str = "slow", key: str | None = None) -> int:
    waiting = server.get(f"/api/models/{model}", headers=_known(key)).json()["waiting"]
    assert isinstance(waiting, int)
    return waiting


def _await_admitted(
    server: ServerProcess, count: int, model: str = "slow", key: str | None = None
) -> None:
    until = time.monotonic() + 20
    while (waiting := _admitted(server, model, key)) != count:
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
    late = server.post("/api/hasty", json=LONGER)
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
        first = pool.submit(server.post, "/api/hasty", json=LONGER)
        _await_admitted(server, 1, "hasty")
        second = pool.submit(server.post, "/api/hasty", json=[[100_000.0]])
        assert (first.result().status_code, second.result().status_code) == (504, 504)
    # 100,000 rounds would keep the model busy for many minutes.
    _await_idle(server)


def test_a_client_that_disconnects_leaves_the_queue(server: ServerProcess) -> None:
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(_ask, server, LONG)
        _await_admitted(server, 1)
        gone = [_leaving(server, LONG) for _ in range(3)]
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


# What asks the model `slow` in each protocol, and as a form of a page.
ADDRESSES = (
    "/api/slow",
    "/api/slow?version=1",
    "/v1/models/slow:predict",
    "/v1/models/slow/versions/1:predict",
    "/v2/models/slow/infer",
    "/v2/models/slow/versions/1/infer",
    "/models/slow",
)


@contextmanager
def _full(server: ServerProcess, key: str | None = None) -> Iterator[None]:
    """The queue of `slow` is full within the block, after which those that wait leave."""
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(_ask, server, LONGER, key)
        _await_admitted(server, 1, key=key)
        waiting = [_leaving(server, LONGER, key) for _ in range(3)]
        _await_admitted(server, 4, key=key)
        yield
        assert _admitted(server, key=key) == 4, "the block took too long"
        for connection in waiting:
            connection.close()
        assert running.result().status_code == 200
        _await_admitted(server, 0, key=key)


class _Raw:
    """A connection on which a client says what it likes."""

    def __init__(self, server: ServerProcess) -> None:
        self._connection = socket.create_connection(("127.0.0.1", server.port), timeout=20)
        self._file = self._connection.makefile("rb")

    def send(self, head: str, body: bytes = b"") -> None:
        self._connection.sendall(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        status = int(self._file.readline().split()[1])
        headers = {}
        while line := self._file.readline().strip().decode():
            name, _, value = line.partition(": ")
            headers[name.lower()] = value
        return status, headers, self._file.read(int(headers["content-length"]))

    def close(self) -> None:
        self._file.close()
        self._connection.close()


def _leaving(server: ServerProcess, rounds: list[list[float]], key: str | None = None) -> _Raw:
    """A request to `slow` whose client will not wait for the answer."""
    body = json.dumps(rounds).encode()
    headers = {"Content-Length": len(body), "Content-Type": "application/json", **_known(key)}
    client = _Raw(server)
    lines = "\n".join(f"{name}: {value}" for name, value in headers.items())
    client.send(f"POST /api/slow HTTP/1.1\nHost: x\n{lines}", body)
    return client


def test_no_body_is_read_for_a_model_that_is_full(server: ServerProcess) -> None:
    announced = ("Content-Length: 1000000", "Content-Length: 99\nExpect: 100-continue")
    with _full(server):
        for address in ADDRESSES:
            for length in (*announced, "Transfer-Encoding: chunked"):
                client = _Raw(server)
                client.send(
                    f"POST {address} HTTP/1.1\nHost: x\nContent-Type: application/json\n{length}"
                )
                # None of it was sent, and no "100 Continue" asks for it.
                status, headers, body = client.answer()
                client.close()
                assert status == 503, address
                assert int(headers["retry-after"]) >= 1
                told = json.loads(body)["error"]
                if address.startswith("/v"):
                    assert "4 requests waiting, its limit" in told
                else:
                    assert told["code"] == "overloaded"


def test_the_connection_stays_after_a_small_body_and_closes_after_a_large_one(
    server: ServerProcess,
) -> None:
    small, large = _Raw(server), _Raw(server)
    with _full(server):
        small.send("POST /api/slow HTTP/1.1\nHost: x\nContent-Length: 900000", bytes(900_000))
        status, headers, _ = small.answer()
        assert status == 503
        assert "connection" not in headers
        small.send("GET /livez HTTP/1.1\nHost: x")
        assert small.answer()[0] == 200
        large.send("POST /api/slow HTTP/1.1\nHost: x\nContent-Length: 1000001")
        status, headers, _ = large.answer()
        assert (status, headers["connection"]) == (503, "close")
    small.close()
    large.close()


def test_refusals_by_the_headers_are_counted_and_logged(server: ServerProcess) -> None:
    with _full(server):
        before, start = scrape(server.url), len(server.log())
        refused = server.post("/api/slow", json=QUICK)
        standard = server.post("/v2/models/slow/infer", json={})
        assert (refused.status_code, standard.status_code) == (503, 503)
        after = scrape(server.url)
    for protocol in ("native", "v2"):
        labels = {"model": "slow", "version": "1", "protocol": protocol, "code": "503"}
        name = "keraport_requests_total"
        assert after.sum(name, **labels) == before.sum(name, **labels) + 1
    for name, labels in (
        ("keraport_rejections_total", {"reason": "overloaded"}),
        ("keraport_model_errors_total", {"code": "overloaded"}),
    ):
        assert (
            after.sum(name, model="slow", **labels) == before.sum(name, model="slow", **labels) + 2
        )
    (line,) = server.requests(start, path="/api/slow", status=503)
    assert line["code"] == "overloaded"
    assert line["model"] == "slow"
    assert line["id"] == refused.json()["id"] == refused.headers["X-Request-ID"]


def test_keys_are_asked_for_before_anybody_learns_that_a_model_is_full(
    slow_models: Path, tmp_path: Path
) -> None:
    keys = Keys(tmp_path / "keys.yaml")
    with (
        serving(slow_models, tmp_path, api_keys_file=keys.file, request_timeout_s=120) as server,
        _full(server, keys["operator"]),
    ):
        refused = _ask(server, QUICK, keys["operator"])
        assert refused.status_code == 503
        assert refused.headers["Cache-Control"] == "no-store"
        assert _ask(server, QUICK).status_code == 401
        assert _ask(server, QUICK, "kp_unknown").status_code == 401
        assert _ask(server, QUICK, keys["laboratory"]).status_code == 403
        assert server.requests(status=503)[-1]["key"] == "operator"


CAPACITY, OVERLOAD, QUEUE = 8, 80, 16


def test_ten_times_as_many_clients_cost_few_of_the_answers(tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    shutil.copytree(ROOT / "models" / "cats-dogs", models / "pets")
    card = models / "pets" / "model.yaml"
    card.write_text(f"{card.read_text()}runtime: {{max_queue: {QUEUE}, max_batch_size: 4}}\n")
    body = tmp_path / "body"
    body.write_bytes(picture(1, (1200, 900)))
    with serving(models, tmp_path) as server:

        def load(clients: int) -> dict[str, Any]:
            arguments = [f"{server.url}/api/pets", "image/jpeg", str(body), str(clients), "2"]
            command = [sys.executable, "-m", "benchmarks.clients", *arguments]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
            assert done.returncode == 0, done.stderr
            found: dict[str, Any] = json.loads(done.stdout)
            assert found["broken"] == {}
            assert found["statuses"].keys() <= {"200", "503"}
            statuses: dict[str, Any] = found["statuses"]
            return statuses

        load(OVERLOAD)
        memory = server.rss
        ratios: list[float] = []
        # Once, or the best of three where this machine was busy.
        while len(ratios) < 3 and not (ratios and max(ratios) > 0.6):
            alone, crowd = load(CAPACITY), load(OVERLOAD)
            ratios.append(crowd["200"]["per_s"] / alone["200"]["per_s"])
            # Those that ask again at once are slowed down.
            assert crowd["503"]["per_s"] * 0.25 < OVERLOAD
        assert max(ratios) > 0.6, ratios
        assert server.rss < memory + 150e6
        _await_admitted(server, 0, "pets")
        until = time.monotonic() + 20
        while scrape(server.url).sum("keraport_requests_in_flight") > 1:
            assert time.monotonic() < until
        assert not list(server.uploads.iterdir())
