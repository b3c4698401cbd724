"""The state of the whole: its sentence, the memory, and peers that answer or do not."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import gevent
import pytest

from app.settings import Settings
from app.status import peers as module
from app.status.memory import memory
from app.status.peers import MAX_BYTES, TOTAL_TIMEOUT_S, PeerAnswers, Peers, look_up
from app.status.schema import LostReplica, Memory, ModelStatus, ReplicaStatus
from app.status.summary import summarise
from app.web.status import count, megabytes, number, points, requests
from app.web.status import memory as memory_text


def _replica(name: str = "app-1", *models: ModelStatus, **changes: Any) -> ReplicaStatus:
    about: dict[str, Any] = {"state": "ready", "started_at": 1.7e9, "uptime_s": 5, **changes}
    return ReplicaStatus(name=name, memory=Memory(rss=1), models=list(models), **about)


def _model(name: str = "mpg", **changes: Any) -> ModelStatus:
    return ModelStatus(**{"name": name, "title": name, "state": "ready", "version": 1, **changes})


LOST = LostReplica(name="app-2", url="http://b", problem="connection refused")


# --- the sentence ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("replicas", "level", "text"),
    [
        ([_replica()], "ok", "1 replica, 0 models: ready"),
        ([_replica(n, _model()) for n in "ab"], "ok", "2 replicas, 1 model: all ready"),
        (
            [_replica("a", _model(), _model("x")), LOST],
            "problem",
            "2 replicas, 2 models: app-2 cannot be reached",
        ),
        (
            [_replica("a", state="loading"), _replica("b", state="draining")],
            "notice",
            "2 replicas, 0 models: a is loading its models; b is shutting down",
        ),
        (
            [_replica(n, _model(state="failed", reason="x"), state="loading") for n in "ab"],
            "problem",
            '2 replicas, 1 model: the model "mpg" failed to load; a is loading its models; '
            "b is loading its models",
        ),
        (
            [_replica("a", _model(reason="version 2: no model"))],
            "problem",
            '1 replica, 1 model: a change of the model "mpg" is not served',
        ),
        (
            [_replica("a", _model(errors={"overloaded": 12, "invalid_input": 5}))],
            "problem",
            '1 replica, 1 model: the model "mpg" has turned requests away in the last minute',
        ),
        (
            [_replica("a", _model(errors={"invalid_input": 5, "client_disconnected": 1}))],
            "ok",
            "1 replica, 1 model: all ready",
        ),
    ],
)
def test_the_sentence(replicas: list[ReplicaStatus | LostReplica], level: str, text: str) -> None:
    summary = summarise(replicas)
    assert (summary.level, summary.text) == (level, text)


# --- words of the page ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0, "0"),
        (0.01, "<0.1"),
        (0.05, "0.1"),
        (0.25, "0.3"),
        (3, "3.0"),
        (9.94, "9.9"),
        (9.95, "10"),
        (10.5, "11"),
        (1234.4, "1,234"),
    ],
)
def test_measures(value: float | None, text: str) -> None:
    assert number(value) == text


def test_other_words() -> None:
    assert (count(None), count(0), count(12345)) == ("–", "0", "12,345")
    assert (megabytes(None), megabytes(7_860_928)) == ("–", "7.9")
    assert requests(_replica()) == "no request yet"
    assert requests(_replica("a", _model(requests_total=1))) == "1 request so far"
    models = _model(requests_total=1000), _model("x", requests_total=500), _model("y")
    assert requests(_replica("a", *models)) == "1,500 requests so far"
    assert memory_text(_replica()) == "<0.1 MB of memory"
    limited = _replica().model_copy(
        update={"memory": Memory(rss=1, used=5 * 10**8, limit=4 * 10**9)}
    )
    assert memory_text(limited) == "500 of 4,000 MB of memory"


def test_lines_of_charts_stay_within_their_height() -> None:
    assert points([], 0) == ""
    assert points([0, 0], 0) == "0,15.0 1,15.0"
    assert points([0, 5, 10], 10) == "0,15.0 1,8.0 2,1.0"


# --- memory ---------------------------------------------------------------------------------------


def _files(folder: Path, **files: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(f"{content}\n")


def test_memory_of_cgroup_v2(tmp_path: Path) -> None:
    stat = "anon 5\ninactive_file 300"
    _files(tmp_path, memory__max=4000, memory__current=1000, memory__stat=stat)
    found = memory(tmp_path)
    assert (found.used, found.limit) == (700, 4000)
    assert found.rss > 10_000_000


def test_memory_of_cgroup_v1(tmp_path: Path) -> None:
    v1 = {"memory__limit_in_bytes": 4000, "memory__usage_in_bytes": 1000}
    _files(tmp_path / "memory", **v1, memory__stat="inactive_file 1\ntotal_inactive_file 300")
    found = memory(tmp_path)
    assert (found.used, found.limit) == (700, 4000)


def test_no_limit_is_no_limit(tmp_path: Path) -> None:
    assert memory(tmp_path).limit is None
    _files(tmp_path, memory__max="max", memory__current=1000, memory__stat="inactive_file 1")
    assert memory(tmp_path).limit is None
    v1 = {"memory__limit_in_bytes": 2**63 - 4096, "memory__usage_in_bytes": 1000}
    _files(tmp_path / "memory", **v1, memory__stat="total_inactive_file 1")
    assert memory(tmp_path).limit is None


def test_this_process_has_a_memory() -> None:
    assert memory().rss > 10_000_000


# --- peers ----------------------------------------------------------------------------------------


def _answer(**changes: Any) -> bytes:
    replica = {**_replica("app-2", _model()).model_dump(), **changes}
    return json.dumps({"id": "x", "replicas": [replica], "events": []}).encode()


@contextmanager
def _server(answer: Callable[[], bytes], status: int = 200, **headers: str) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.path == "/api/status?replica=self"
            body = answer()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _ask(answer: bytes, status: int = 200, **headers: str) -> PeerAnswers:
    with _server(lambda: answer, status, **headers) as url, pytest.MonkeyPatch.context() as patch:
        # However busy the machine is: those that hang have tests of their own.
        patch.setattr(module, "STEP_TIMEOUT_S", 20)
        patch.setattr(module, "TOTAL_TIMEOUT_S", 20)
        return Peers([url]).ask()


def test_no_peers_are_soon_asked() -> None:
    assert Peers([]).ask() == PeerAnswers([], [])


def test_a_peer_that_answers() -> None:
    result = _ask(_answer(later="a key of another version"))
    assert [a.replicas[0].name for a in result.answers] == ["app-2"]
    assert result.unreachable == []


def test_patience_counts_from_the_question() -> None:
    def after_a_while() -> bytes:
        time.sleep(0.1)
        return _answer()

    with _server(after_a_while) as url:
        gevent.sleep(0.01)
        time.sleep(TOTAL_TIMEOUT_S)  # while the hub's clock stands still
        assert Peers([url]).ask().unreachable == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"replicas": [], "events": []}',
        b'{"replicas": [{}], "events": []}',
        _answer(name="x" * 1000),
        _answer(started_at=1e300),
        _answer(started_at=float("nan")),
        _answer(models=[{}]),
        _answer(models="none"),
        _answer(state="fine"),
        _answer(memory={"rss": 10**300}),
        _answer(memory={"rss": -1}),
        _answer(models=[{**_model().model_dump(), "history": [0] * 61}]),
        _answer(models=[{**_model().model_dump(), "history": ["<b>"]}]),
        _answer().replace(b"app-2", b"\\ud800"),
        _answer().replace(b"app-2", b"\xff"),
        b"[" * 100_000,
    ],
)
def test_garbage_is_told_from_an_answer(body: bytes) -> None:
    result = _ask(body)
    assert result.answers == []
    assert "cannot be read" in result.unreachable[0].problem


def test_other_things_that_peers_do() -> None:
    assert "status 503" in _ask(b"", 503).unreachable[0].problem
    assert "too long" in _ask(b" " * (MAX_BYTES + 1)).unreachable[0].problem
    with _server(_answer) as other:
        # Not followed: a peer is where the settings say, and nowhere else.
        assert "status 302" in _ask(b"", 302, Location=other).unreachable[0].problem
    gone = Peers([other])
    assert gone.ask().unreachable[0].problem == "connection refused"


def test_a_peer_keeps_the_name_that_it_once_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FRESH_S", 0)
    with _server(_answer) as url:
        peers = Peers([url])
        assert peers.ask().unreachable == []
    (lost,) = peers.ask().unreachable
    assert (lost.name, lost.url) == ("app-2", url.rstrip("/"))
    (unknown,) = Peers([url]).ask().unreachable
    assert unknown.name == url.rstrip("/")


def test_one_that_hangs_costs_the_others_nothing_and_the_hub_goes_on() -> None:
    release = threading.Event()
    questions = []

    def hang() -> bytes:
        questions.append(1)
        release.wait(60)
        return b""

    ticks = []

    def tick() -> None:
        while True:
            ticks.append(1)
            gevent.sleep(0.01)

    with ExitStack() as stack:
        stack.callback(release.set)
        hanging, good = stack.enter_context(_server(hang)), stack.enter_context(_server(_answer))
        peers = Peers([hanging, good])
        ticking = gevent.spawn(tick)
        result = peers.ask()
        assert len(ticks) > 10
        ticking.kill()
        assert [lost.problem for lost in result.unreachable] == ["it does not answer"]
        assert [a.replicas[0].name for a in result.answers] == ["app-2"]


def test_however_many_look_a_peer_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FRESH_S", 60)
    questions = []

    def answer() -> bytes:
        questions.append(1)
        return _answer()

    with _server(answer) as url:
        peers = Peers([url])
        looking = [gevent.spawn(peers.ask) for _ in range(20)]
        gevent.joinall(looking)
        assert all(len(each.get().answers) == 1 for each in looking)
        peers.ask()
    assert len(questions) == 1


def test_peers_that_come_and_go_are_those_of_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A replica that DNS no longer lists has not become unreachable."""
    monkeypatch.setattr(module, "FRESH_S", 0)
    listed: list[str] = []
    monkeypatch.setattr(module, "look_up", lambda url: [each.rstrip("/") for each in listed])
    with _server(_answer) as first, _server(lambda: _answer(name="app-3")) as second:
        peers = Peers(["http://tasks.app:5000"])
        for urls, names in (
            ([first], ["app-2"]),
            ([first, second], ["app-2", "app-3"]),
            ([second], ["app-3"]),
        ):
            listed[:] = urls
            result = peers.ask()
            assert [answer.replicas[0].name for answer in result.answers] == names
            assert result.unreachable == []


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("http://127.0.0.1:5000", ["http://127.0.0.1:5000"]),
        ("http://127.0.0.1/below", ["http://127.0.0.1:80/below"]),
        ("http://[::1]:5000", ["http://[::1]:5000"]),
        ("https://localhost:5000", ["https://localhost:5000"]),
        ("http://nowhere.invalid:5000", ["http://nowhere.invalid:5000"]),
        (f"http://{'a' * 70}.example:5000", [f"http://{'a' * 70}.example:5000"]),
    ],
)
def test_addresses_of_a_name(url: str, found: list[str]) -> None:
    assert look_up(url) == found
    assert "http://127.0.0.1:5000" in look_up("http://localhost:5000")


# --- settings -------------------------------------------------------------------------------------


def test_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().replica_name
    assert Settings(replica="app-1").replica_name == "app-1"
    monkeypatch.setenv("KERAPORT_PEERS", "http://172.16.239.11:5000, https://b.example")
    urls = [str(url) for url in Settings().peers]
    assert urls == ["http://172.16.239.11:5000/", "https://b.example/"]
    monkeypatch.setenv("KERAPORT_PEERS", "172.16.239.11:5000")
    with pytest.raises(ValueError, match="peers"):
        Settings()
