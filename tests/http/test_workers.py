"""Several server processes on one port: `KERAPORT_WORKERS`."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.handover import Stand
from app.server.worker import ACCEPTING, CLOSED, READY, SharedHandover, SharedState, made
from app.settings import Settings
from tests.http.reloading import put
from tests.keys import Keys
from tests.replicas import Replicas
from tests.support import ROOT, ServerProcess, eventually, running

LONG = [[150.0]]  # rounds; a second or two


class WorkersProcess(ServerProcess):
    """A server of two workers."""

    def __init__(self, models: Path, folder: Path, **settings: object) -> None:
        super().__init__(models, folder / "uploads", **{"workers": 2, "replica": "app", **settings})

    def await_both(self) -> WorkersProcess:
        eventually(lambda: self.states() == {"app/1": "ready", "app/2": "ready"}, 120)
        return self

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.get("/api/status").json()
        return found

    def states(self) -> dict[str, str | None]:
        return {each["name"]: each.get("state") for each in self.status()["replicas"]}

    def starts(self) -> set[float | None]:
        return {each.get("started_at") for each in self.status()["replicas"]}

    def servers(self) -> list[psutil.Process]:
        """The servers themselves, in the order of their starts; supervisors are their parents."""
        found = []
        for supervisor in psutil.Process(self.pid).children():
            with suppress(psutil.NoSuchProcess):
                found += supervisor.children()[:1]
        return found

    def pids(self) -> list[int]:
        return [each.pid for each in self.servers()]

    def samples(self, name: str, **labels: str) -> dict[str, float]:
        """The values of a metric by the workers, summed up over other labels."""
        found: dict[str, float] = {}
        for family in text_string_to_metric_families(self.get("/metrics").text):
            for sample in family.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    worker = sample.labels["worker"]
                    found[worker] = found.get(worker, 0.0) + sample.value
        return found


@pytest.fixture(scope="module")
def server(slow_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkersProcess]:
    folder = tmp_path_factory.mktemp("workers")
    with running(WorkersProcess(slow_models, folder)) as found:
        yield found.await_both()


def ask(server: ServerProcess, count: int, connections: int = 4) -> None:
    """`count` rows over each of several connections, all of which are answered."""

    def client(_: int) -> None:
        with httpx.Client(base_url=server.url, timeout=60) as kept:
            for _ in range(count):
                answer = kept.post("/api/slow", json=[[1.0]])
                assert answer.status_code == 200, answer.text
                assert answer.json()["predictions"] == [[1.0]]

    with ThreadPoolExecutor(connections) as pool:
        list(pool.map(client, range(connections)))


def test_each_answers_and_status_and_metrics_are_those_of_all(server: WorkersProcess) -> None:
    def rows() -> dict[str, float]:
        return server.samples("keraport_rows_total", model="slow")

    before = rows()
    for _ in range(20):  # which worker takes a connection is open
        ask(server, 5)
        found = rows()
        if all(found[each] > before[each] for each in ("1", "2")):
            break
    assert all(found[each] > before[each] for each in ("1", "2")), found

    def text() -> str:
        return str(server.status()["summary"]["text"])

    # What another worker has told is kept for a second.
    eventually(lambda: text() == "2 replicas, 1 model: all ready", said="all are ready")

    def shown() -> dict[str, float]:
        replicas = server.status()["replicas"]
        return {each["name"]: each["models"][0]["rows_total"] for each in replicas}

    # A row counts once its answer is sent.
    eventually(lambda: shown() == {f"app/{worker}": count for worker, count in rows().items()})
    assert server.samples("keraport_worker_up") == {"1": 1.0, "2": 1.0}
    assert {line["replica"] for line in server.requests(path="/api/slow")} == {"app/1", "app/2"}


def test_a_replica_tells_all_its_workers_and_a_worker_itself(server: WorkersProcess) -> None:
    own = server.get("/api/status?replica=self").json()
    assert sorted(each["name"] for each in own["replicas"]) == ["app/1", "app/2"]
    (alone,) = server.get("/api/status?worker=self").json()["replicas"]
    assert alone["name"] in ("app/1", "app/2")
    assert "worker=" not in server.get("/metrics?worker=self").text
    assert server.get("/api/status?worker=2").status_code == 400


def test_openmetrics_of_all(server: WorkersProcess) -> None:
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    answer = server.get("/metrics", headers=accept)
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")
    assert 'keraport_worker_up{worker="2"} 1.0' in answer.text


def test_one_that_is_killed_is_replaced_and_the_other_answers(server: WorkersProcess) -> None:
    over = threading.Event()
    answers: Counter[int | str] = Counter()

    def client() -> None:
        while not over.wait(0.01):
            try:  # a connection each: those of the killed one end with it
                answers[server.post("/api/slow", json=[[1.0]]).status_code] += 1
                answers[server.get("/readyz").status_code] += 1
            except httpx.HTTPError as error:
                answers[type(error).__name__] += 1

    thread = threading.Thread(target=client)
    thread.start()
    try:
        for _ in range(2):
            started = server.starts()
            killed = server.servers()[0].pid
            os.kill(killed, signal.SIGKILL)
            eventually(lambda: killed not in (pids := server.pids()) and len(pids) == 2)  # noqa: B023
            server.await_both()
            # What one worker knows of the other is up to a second old.
            eventually(lambda: len(started & server.starts()) == 1)  # noqa: B023
        eventually(lambda: answers[200] > 20, 60)
    finally:
        over.set()
        thread.join()
    # No request was refused, and only what a killed one had taken was lost.
    lost = sum(count for answer, count in answers.items() if answer != 200)
    assert not {answer for answer in answers if answer != 200 and isinstance(answer, int)}, answers
    assert lost <= 2, answers


def test_a_reload_reaches_all(tmp_path: Path) -> None:
    put(tmp_path / "models" / "m", 1.0, title="M")
    with running(WorkersProcess(tmp_path / "models", tmp_path, reload="off")) as server:
        server.await_both()
        put(tmp_path / "models" / "m", 2.0, title="M")
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: server.log().count("m replaced") + server.log().count("reloaded") >= 2)

        def values() -> set[float]:
            found = set()
            for _ in range(12):
                answer = server.post("/api/m", json=[[0.0]])
                assert answer.status_code == 200, answer.text
                found |= {number for row in answer.json()["predictions"] for number in row}
            return found

        assert values() == {2.0}


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_finishes_what_is_in_flight_in_all(
    slow_models: Path, tmp_path: Path, stop: signal.Signals
) -> None:
    with running(WorkersProcess(slow_models, tmp_path, drain_delay_s=0)) as server:
        server.await_both()
        servers = server.servers()
        with ThreadPoolExecutor(4) as pool:
            inflight = [pool.submit(server.post, "/api/slow", json=LONG) for _ in range(4)]
            eventually(lambda: sum(server.samples("keraport_requests_in_flight").values()) >= 5)
            server.process.send_signal(stop)
            assert [each.result().status_code for each in inflight] == [200] * 4
        assert server.process.wait(30) == 0
        assert not any(each.is_running() for each in servers)
        assert server.log().count('"drained"') + server.log().count("drained\n") >= 2


def test_a_second_signal_ends_all_at_once(slow_models: Path, tmp_path: Path) -> None:
    with running(WorkersProcess(slow_models, tmp_path, drain_delay_s=60)) as server:
        server.await_both().terminate()
        eventually(lambda: server.log().count("SIGTERM: draining") == 2)
        server.terminate()
        assert server.process.wait(30) == 128 + signal.SIGTERM


def test_all_end_with_the_process_that_started_them(slow_models: Path, tmp_path: Path) -> None:
    with running(WorkersProcess(slow_models, tmp_path)) as server:
        servers = server.servers()
        assert len(servers) == 2
        server.process.kill()
        psutil.wait_procs(servers, 30)
        assert not any(each.is_running() for each in servers)


def test_a_group_that_is_stopped_as_a_whole_drains(slow_models: Path, tmp_path: Path) -> None:
    """As systemd stops a unit: each process gets the signal."""
    with running(WorkersProcess(slow_models, tmp_path, drain_delay_s=1)) as server:
        server.await_both()
        everyone = [server.process.pid]
        everyone += [p.pid for p in psutil.Process(server.process.pid).children(recursive=True)]
        for pid in everyone:
            os.kill(pid, signal.SIGTERM)
        assert server.process.wait(60) == 0
        assert "at once" not in server.log()


def test_one_that_ends_before_any_has_served_ends_all(slow_models: Path, tmp_path: Path) -> None:
    server = WorkersProcess(slow_models, tmp_path)
    try:
        eventually(server.servers)[0].kill()
        assert server.process.wait(60) == 137
        assert "has ended before it served" in server.log()
    finally:
        server.stop()


def test_servers_of_several_workers_hand_over_as_one(slow_models: Path, tmp_path: Path) -> None:
    replicas = Replicas(slow_models, tmp_path, workers=2)
    over = threading.Event()
    lost: list[str] = []

    def client() -> None:
        while not over.wait(0.02):
            found: list[int | str] = []
            # Twice: the first may become ready, and the second leave for it, between the two.
            for server in [*replicas.servers.values()] * 2:
                try:
                    body: Any = [[1.0]]
                    answer = server.post("/api/slow", json=body)
                    found.append(200 if answer.status_code == 200 else answer.text)
                except httpx.HTTPError as error:
                    found.append(repr(error))
            if 200 not in found:
                lost.append(f"{found}")

    try:
        replicas.start_both()
        thread = threading.Thread(target=client)
        thread.start()
        servers = dict(replicas.servers)
        for server in servers.values():
            server.terminate()
        eventually(lambda: any(s.process.poll() is not None for s in servers.values()))
        (first,) = (name for name, s in servers.items() if s.process.poll() is not None)
        (second,) = (name for name in servers if name != first)
        time.sleep(1)
        assert servers[second].process.poll() is None
        replicas.start(first).await_ready()
        assert servers[second].process.wait(60) == 0
        over.set()
        thread.join()
        assert not lost, lost[:5]
    finally:
        over.set()
        replicas.stop()


def test_keys_hold_for_what_workers_ask_each_other(slow_models: Path, tmp_path: Path) -> None:
    keys = Keys(tmp_path / "keys.yaml")
    key = keys.add("ops")
    with running(WorkersProcess(slow_models, tmp_path, api_keys_file=keys.file)) as server:
        headers = {"Authorization": f"Bearer {key}"}
        told = eventually(
            lambda: (
                found
                if len((found := server.get("/api/status", headers=headers).json())["replicas"])
                == 2
                else None
            )
        )
        assert all(each["reachable"] for each in told["replicas"])
        metrics = server.get("/metrics", headers=headers).text
        assert 'keraport_worker_up{worker="1"} 1.0' in metrics
        assert 'keraport_worker_up{worker="2"} 1.0' in metrics
        for path in ("/api/status?worker=self", "/metrics?worker=self", "/metrics"):
            assert server.get(path).status_code == 401


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"workers": 0}, "KERAPORT_WORKERS"),
        ({"workers": 65}, "KERAPORT_WORKERS"),
        ({"workers": "many"}, "KERAPORT_WORKERS"),
        ({"models_dir": "/nowhere"}, "there is no folder"),
        ({"api_keys_file": "/nowhere"}, "/nowhere"),
        ({"host": "192.0.2.1"}, "cannot serve on"),
    ],
)
def test_what_keeps_a_server_from_starting_is_said_once(
    slow_models: Path, tmp_path: Path, settings: dict[str, object], said: str
) -> None:
    settings = {"models_dir": slow_models, "uploads_dir": tmp_path, "workers": 2, **settings}
    environ = {f"KERAPORT_{name.upper()}": str(value) for name, value in settings.items()}
    done = subprocess.run(
        [sys.executable, "-m", "app", "serve"],
        cwd=ROOT,
        env={**os.environ, "KERAPORT_PORT": "0", **environ},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.count(said) == 1, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("count", [1, 64, "auto"])
def test_numbers_of_workers(count: Any) -> None:
    assert Settings(workers=count).workers == count


def test_one_worker_leads_whoever_is_left() -> None:
    shared = SharedState(3)
    own = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    workers = [made(number, own[0], own, shared) for number in (1, 2, 3)]
    assert [each.leads for each in workers] == [True, True, True]  # none accepts
    for number in (2, 3):
        shared.mark(number, READY if number == 2 else ACCEPTING)
    assert [each.leads for each in workers] == [False, True, False]
    assert [each.alone for each in workers] == [False, False, False]
    shared.mark(2, CLOSED)
    assert [each.leads for each in workers] == [False, False, True]
    assert workers[2].alone
    assert workers[0].siblings.keys() == {2, 3}
    for each in own:
        each.close()


def test_a_decision_is_that_of_all_and_outlives_a_worker() -> None:
    shared = SharedState(2)
    own = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    worker = made(1, own[0], own, shared)
    first, second = (SharedHandover(worker, 1.0, 0.0) for _ in range(2))
    assert first.process == second.process
    first.stop()
    assert second.stand is Stand.UNDECIDED
    assert SharedHandover(worker, 1.0, 0.0).stand is Stand.UNDECIDED
    for each in own:
        each.close()
