"""The state of two servers that are each other's peers."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.models import save_constant_model, save_slow_model, save_text_model
from tests.replicas import Replicas, free_ports
from tests.support import CAR, ROOT, ServerProcess, eventually, serving

LONG = [[150.0]]  # rounds; a second or two


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicas]:
    folder = tmp_path_factory.mktemp("pair")
    models = folder / "models"
    models.mkdir()
    (models / "mpg").symlink_to(ROOT / "models" / "mpg")
    (models / "broken.h5").write_text("no model")
    save_slow_model(models / "slow")
    save_text_model(models / "writer", kind="bidirectional", units=512)
    replicas = Replicas(models, folder)
    try:
        replicas.start_both()
        yield replicas
    finally:
        replicas.stop()


@pytest.fixture
def first(pair: Replicas) -> ServerProcess:
    return pair.servers["app-1"]


@pytest.fixture
def nothing(tmp_path: Path) -> Path:
    """A folder without a model, over which a server starts at once."""
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


def _status(server: ServerProcess, query: str = "") -> dict[str, Any]:
    answer: dict[str, Any] = server.get(f"/api/status{query}").json()
    return answer


def _model(server: ServerProcess, name: str) -> dict[str, Any]:
    (replica,) = _status(server, "?replica=self")["replicas"]
    found: dict[str, Any] = next(m for m in replica["models"] if m["name"] == name)
    return found


def test_either_replica_tells_of_both(pair: Replicas) -> None:
    for server in pair.servers.values():
        status = _status(server)
        assert [(r["name"], r["reachable"], r["state"]) for r in status["replicas"]] == [
            ("app-1", True, "ready"),
            ("app-2", True, "ready"),
        ]
        assert status["summary"]["level"] == "problem"
        wanted = '2 replicas, 4 models: the model "broken" failed to load'
        assert status["summary"]["text"] == wanted
        for replica in status["replicas"]:
            states = {m["name"]: m["state"] for m in replica["models"]}
            broken = {"broken": "failed"}
            assert states == {"mpg": "ready", "slow": "ready", "writer": "ready"} | broken
            assert replica["memory"]["rss"] > 10_000_000
            assert replica["uptime_s"] > 0
    texts = [(e["replica"], e["text"].split(" after")[0]) for e in _status(server)["events"]]
    for name in pair.servers:
        own = [text for replica, text in reversed(texts) if replica == name]
        assert own[0] == "Server started"
        # In the order in which they were done.
        broken, *others = sorted(own[1:])
        assert broken.startswith("Model broken failed to load: not a Keras model")
        assert others == ["Model mpg ready", "Model slow ready", "Model writer ready"]


def test_one_replica_alone(first: ServerProcess) -> None:
    status = _status(first, "?replica=self")
    assert [r["name"] for r in status["replicas"]] == ["app-1"]
    assert first.get("/api/status").headers["Cache-Control"] == "no-store"


def test_other_questions_are_refused(first: ServerProcess) -> None:
    refused = first.get("/api/status?replica=app-2")
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "bad_request")
    assert first.post("/api/status", json={}).status_code == 405
    assert first.get("/api/models/status").status_code == 404


def test_asking_leaves_hardly_a_line_in_the_log(first: ServerProcess) -> None:
    for _ in range(10):
        _status(first)
    first.get("/api/models")
    eventually(lambda: first.requests(path="/api/models"))
    assert len(first.requests(path="/api/status", status=200)) <= 1


def test_requests_rows_and_mistakes_are_counted(pair: Replicas, first: ServerProcess) -> None:
    before = _model(pair.servers["app-2"], "mpg")
    for _ in range(4):
        assert first.post("/api/mpg", json=CAR).status_code == 200
    assert first.post("/api/mpg", json=[CAR] * 6).status_code == 200
    assert first.post("/api/mpg", json={**CAR, "year": "new"}).status_code == 422
    mpg = _model(first, "mpg")
    assert (mpg["requests_total"], mpg["rows_total"]) == (6, 10)
    assert mpg["errors"] == mpg["errors_total"] == {"invalid_input": 1}
    assert 0 < mpg["p50_ms"] <= mpg["p95_ms"] <= mpg["p99_ms"]
    assert mpg["mean_batch"] == pytest.approx(2)
    assert mpg["rows_per_s"] > mpg["requests_per_s"] > 0
    assert mpg["waiting"] == 0
    parameters = first.get("/api/models/mpg").json()["parameters"]
    assert 4 * parameters <= mpg["memory_bytes"] < 4 * parameters + 10_000
    eventually(lambda: sum(_model(first, "mpg")["history"]) == 6)
    after = _model(pair.servers["app-2"], "mpg")
    assert after["requests_total"] == before["requests_total"] == 0, "the replicas are told apart"


def test_a_full_queue_and_clients_that_hang_up(first: ServerProcess) -> None:
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(first.post, "/api/slow", json=LONG) for _ in range(3)]
        eventually(lambda: _model(first, "slow")["waiting"] == 3)
        body = json.dumps(LONG).encode()
        connection = socket.create_connection(("127.0.0.1", first.port))
        connection.sendall(
            b"POST /api/slow HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            + f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        eventually(lambda: _model(first, "slow")["waiting"] == 4)
        assert first.post("/api/slow", json=LONG).status_code == 503
        connection.close()
        eventually(lambda: _model(first, "slow")["waiting"] < 4)
        assert [f.result().status_code for f in waiting] == [200] * 3
    slow = _model(first, "slow")
    assert slow["errors_total"] == {"overloaded": 1, "client_disconnected": 1}
    assert (slow["requests_total"], slow["rows_total"]) == (5, 3)
    assert "turned requests away" in _status(first)["summary"]["text"]


def test_the_page_of_a_model_counts_as_well(first: ServerProcess) -> None:
    before = _model(first, "slow")["rows_total"]
    assert first.post("/models/slow", data={"body": "[[1.0]]"}).status_code == 200
    assert _model(first, "slow")["rows_total"] == before + 1


def test_words_are_counted_and_readers_that_leave(first: ServerProcess) -> None:
    order = {"seed": "w1 w2", "words": 25}
    assert first.post("/api/writer", json=order).status_code == 200
    streamed = {"Accept": "text/event-stream"}
    url = f"{first.url}/api/writer"
    with httpx.stream("POST", url, json=order, headers=streamed, timeout=60) as response:
        assert "event: done" in response.read().decode()
    writer = _model(first, "writer")
    assert (writer["requests_total"], writer["rows_total"]) == (2, 2)
    assert (writer["words_total"], writer["errors_total"]) == (50, {})
    assert writer["mean_batch"] == 1
    long = {"seed": "w1", "words": 100}
    with httpx.stream("POST", url, json=long, headers=streamed, timeout=60) as response:
        assert response.status_code == 200
        next(response.iter_lines())
    eventually(lambda: _model(first, "writer")["errors_total"] == {"client_disconnected": 1})
    assert _model(first, "writer")["requests_total"] == 3
    assert _model(first, "writer")["rows_total"] == 2


def test_a_replica_that_is_killed_is_missed_and_its_end_is_told_when_it_is_back(
    pair: Replicas, first: ServerProcess
) -> None:
    _status(first)
    pair.servers["app-2"].process.send_signal(signal.SIGKILL)
    pair.servers["app-2"].process.wait(30)

    def lost() -> Any:
        return [r for r in _status(first)["replicas"] if not r["reachable"]]

    (gone,) = eventually(lost)
    assert (gone["name"], gone["problem"]) == ("app-2", "connection refused")
    assert "app-2 cannot be reached" in _status(first)["summary"]["text"]
    back = pair.start("app-2")
    eventually(lambda: not lost())
    own = [e for e in _status(first)["events"] if e["replica"] == "app-2"]
    assert "killed" in next(e["text"] for e in own if e["kind"] == "died")
    assert [e["kind"] for e in own if e["kind"] in ("started", "died")] == [
        "started",
        "died",
        "started",
    ]
    back.await_ready()
    back.terminate()
    assert back.process.wait(30) == 0
    newest = _status(first)["events"][0]
    assert (newest["replica"], newest["kind"]) == ("app-2", "stopped")
    assert newest["text"] == "Server stopped: every request was answered"


def test_a_second_signal_is_told(nothing: Path, tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    with serving(nothing, tmp_path, events_file=file, drain_delay_s=60) as server:
        server.terminate()
        eventually(lambda: _status(server)["replicas"][0]["state"] == "draining")
        server.terminate()
        assert server.process.wait(30) == 128 + signal.SIGTERM
    kinds = [json.loads(line) for line in file.read_text().splitlines()]
    assert [(e["kind"], e.get("reason")) for e in kinds] == [
        ("started", None),
        ("stopped", "at once, on a second signal"),
    ]


def test_peers_that_hang_or_talk_nonsense_hold_nobody_back(nothing: Path, tmp_path: Path) -> None:
    """One takes connections and never answers, one has nothing at the address, one is well."""
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        port = hanging.getsockname()[1]
        with serving(nothing, tmp_path) as other:
            peers = f"http://127.0.0.1:{port},{other.url}/x,{other.url}"
            with serving(nothing, tmp_path, peers=peers, replica="b") as server:
                with ThreadPoolExecutor(1) as pool:
                    asked = pool.submit(_status, server)
                    assert server.get("/livez").status_code == 200
                    status = asked.result()
                found = [(r["name"], r.get("problem")) for r in status["replicas"]]
                assert ("b", None) in found
                assert (f"http://127.0.0.1:{port}", "it does not answer") in found
                nonsense = dict(found)[f"{other.url}/x"]
                assert nonsense is not None
                assert "status 404" in nonsense
                assert len(found) == 4
                page = server.get("/status")
                assert page.status_code == 200
                assert "it does not answer" in page.text


def test_a_server_among_its_own_peers_is_shown_once(nothing: Path, tmp_path: Path) -> None:
    """As where all replicas are given the same list."""
    (port,) = free_ports(1)
    own = f"http://127.0.0.1:{port}"
    with serving(nothing, tmp_path, port=port, peers=own, replica="a") as server:
        status = _status(server)
    assert [r["name"] for r in status["replicas"]] == ["a"]
    assert status["summary"]["text"] == "1 replica, 0 models: ready"


def test_events_of_replicas_without_a_shared_file_are_put_together(
    nothing: Path, tmp_path: Path
) -> None:
    with (
        serving(nothing, tmp_path, replica="a") as one,
        serving(nothing, tmp_path, replica="b", peers=one.url) as other,
    ):
        events = _status(other)["events"]
    assert [(e["replica"], e["kind"]) for e in events] == [("b", "started"), ("a", "started")]


def test_a_file_of_events_that_cannot_be_written_stops_nothing(
    nothing: Path, tmp_path: Path
) -> None:
    with serving(nothing, tmp_path, events_file=nothing) as server:
        assert [e["kind"] for e in _status(server)["events"]] == ["started"]
        assert server.log().count("events are kept in memory only") == 1
        server.terminate()
        assert server.process.wait(30) == 0


def test_each_version_has_its_own_figures(tmp_path: Path) -> None:
    models = tmp_path / "models"
    for number in (1, 2):
        save_constant_model(models / "x" / str(number) / "model.keras", number)
    (models / "x" / "3").mkdir()
    card = "task: tensor\ntitle: Ex\nversions: all\ncanary: {version: 1, percent: 0}\n"
    (models / "x" / "model.yaml").write_text(card)
    with serving(models, tmp_path) as server:
        for version in (1, 1, 1, 2):
            assert server.post(f"/api/x?version={version}", json=[[0]]).status_code == 200
        (replica,) = _status(server)["replicas"]
        page = server.get("/status").text
    found = [(m["title"], m["version"], m["requests_total"]) for m in replica["models"]]
    assert found == [("Ex (version 2)", 2, 1), ("Ex (version 1)", 1, 3)]
    # Said once, where the model is.
    assert [bool(m["reason"]) for m in replica["models"]] == [True, False]
    assert 'data-name="x"' in page
    assert 'data-name="x/1"' in page
    assert "1 replica, 1 model: " in page
