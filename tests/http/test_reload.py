"""Models are added, changed and removed while the server runs."""

from __future__ import annotations

import http.client
import shutil
import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest

from tests.http.load import Load, Question
from tests.http.prompt import SURE_S
from tests.http.reloading import (
    PATIENCE_S,
    ROWS,
    Served,
    always_ready,
    put,
    serving,
    write_card,
)
from tests.models import save_constant_model, save_text_model
from tests.rpc import fed, triton_client
from tests.support import eventually

# --- what is noticed by itself --------------------------------------------------------------------


def test_a_model_appears_changes_and_goes_by_itself(m: Served) -> None:
    assert not m.is_known
    put(m.folder, 1, title="One")
    m.await_ready()
    assert m.ask() == (1, 1)
    assert m.server.get(f"/models/{m.name}").status_code == 200

    put(m.folder, 2)
    m.await_answer(1, 2)

    shutil.rmtree(m.folder)
    eventually(lambda: not m.is_known)
    refused = m.server.post(f"/api/{m.name}", json=ROWS)
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "model_not_found")
    assert m.server.get(f"/models/{m.name}").status_code == 404
    assert m.events == ["ready", "replaced", "unloaded"]


def test_a_model_is_listed_while_it_loads(m: Served, slow_models: Path, tmp_path: Path) -> None:
    new = shutil.copytree(slow_models / "slow", tmp_path / "new")
    # Unlike any that was converted before, by this worker or another.
    (new / "saved_model/assets/note").write_text(str(tmp_path))
    # A link, so that all of it is there at once.
    m.folder.symlink_to(new)
    try:
        eventually(lambda: m.is_known)
        assert m.about()["state"] == "loading"
        refused = m.server.post(f"/api/{m.name}", json=[[1.0]])
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "model_unavailable")
        m.await_ready()
        assert m.server.post(f"/api/{m.name}", json=[[1.0]]).status_code == 200
    finally:
        m.folder.unlink()


def test_a_file_that_is_still_being_copied_waits(m: Served, tmp_path: Path) -> None:
    whole = tmp_path / "whole.keras"
    save_constant_model(whole, 2, hidden=64)
    data = whole.read_bytes()
    put(m.folder, 1, title="One")
    m.await_ready()
    new = Served(m.server, m.folder.parent, f"{m.name}-new")
    new.folder.mkdir()
    pieces = 12
    # Over a file that is served, and as a new one.
    files = (m.folder / "model.keras", new.folder / "model.keras")
    with files[0].open("wb") as over, files[1].open("wb") as fresh:
        for i in range(pieces):
            for file in (over, fresh):
                file.write(data[len(data) * i // pieces : len(data) * (i + 1) // pieces])
                file.flush()
            assert m.ask() == (1, 1)
            assert not new.is_known
            time.sleep(0.15)
    m.await_answer(1, 2)
    new.await_ready()
    assert m.events == ["ready", "replaced"]
    assert new.events == ["ready"]
    shutil.rmtree(new.folder)


def test_a_broken_change_leaves_the_old_one_until_it_is_fixed(m: Served) -> None:
    put(m.folder, 1, title="One")
    m.await_ready()
    (m.folder / "model.keras").write_text("no model")
    eventually(lambda: "reason" in m.about())
    assert m.ask() == (1, 1)
    found = m.about()
    assert found["state"] == "ready"
    reason = "a change of its files is not served: "
    assert found["reason"].startswith(reason)
    assert "not a Keras model" in found["reason"]
    for page in ("/", f"/models/{m.name}", "/status"):
        assert reason in m.server.get(page).text
    summary = m.server.get("/api/status").json()["summary"]
    assert summary["level"] == "problem"
    assert f'a change of the model "{m.name}" is not served' in summary["text"]
    assert m.events[-1].startswith("still serves its previous files, its change failed: ")
    assert f"model {m.name} still serves its previous files" in m.server.log()

    put(m.folder, 2)
    m.await_answer(1, 2)
    assert "reason" not in m.about()
    assert m.name not in m.server.get("/api/status").json()["summary"]["text"]


def test_a_broken_card_is_such_a_change(m: Served) -> None:
    put(m.folder / "3", 3)
    write_card(m.folder)
    m.await_ready()
    write_card(m.folder, alias={"stable": 3})
    eventually(lambda: "unknown key 'alias'" in m.about().get("reason", ""))
    assert m.ask() == (3, 3)
    write_card(m.folder, aliases={"stable": 3})
    eventually(lambda: m.about()["aliases"] == {"stable": 3})
    eventually(lambda: "reason" not in m.about())
    assert m.ask("?version=stable") == (3, 3)
    # The model is the same as before: nothing is loaded again.
    assert f"model {m.name} (version 3): the change that failed is undone" in m.server.log()
    ready, broken = m.events
    assert ready == "(version 3) ready"
    assert broken.startswith(
        "(version 3) still serves its previous files, its change failed: model.yaml: "
    )


def test_further_problems_of_a_failed_model_are_reported(m: Served) -> None:
    (m.folder / "1").mkdir(parents=True)
    write_card(m.folder / "1")  # of its own, so that the other one does not matter to it
    (m.folder / "1/model.keras").write_text("no model")
    eventually(lambda: m.about().get("state") == "failed")
    write_card(m.folder, alias={"stable": 1})
    eventually(lambda: "unknown key 'alias'" in m.about()["reason"])
    refused = m.server.post(f"/api/{m.name}", json=ROWS).json()["error"]["message"]
    assert "not a Keras model" in refused
    assert "unknown key 'alias'" in refused
    said = f"model {m.name}: model.yaml: unknown key 'alias'"
    eventually(lambda: said in m.server.log())
    assert "unknown key 'alias'" in m.events[-1]
    assert m.server.log().count(said) == 1


def test_files_that_no_version_is_made_of_reload_nothing(m: Served) -> None:
    put(m.folder / "1", 1)
    write_card(m.folder)
    m.await_ready()
    (m.folder / "README.md").write_text("Read me.")
    shutil.copy(m.folder / "1/model.keras", m.folder / "other.keras")
    time.sleep(SURE_S)
    write_card(m.folder, aliases={"stable": 1})
    eventually(lambda: m.about()["aliases"] == {"stable": 1})
    assert m.events == ["(version 1) ready"]


# --- on SIGHUP ------------------------------------------------------------------------------------


def test_sighup_looks_at_once_also_where_reload_is_off(models: Path, tmp_path: Path) -> None:
    put(models / "m", 1, title="One")
    with serving(models, tmp_path, reload="off") as server, always_ready(server):
        m, n = Served(server, models, "m"), Served(server, models, "n")
        put(m.folder, 2)
        put(n.folder, 7, title="Seven")
        time.sleep(SURE_S)
        assert m.ask() == (1, 1)
        assert not n.is_known
        m.reload()
        m.await_answer(1, 2)
        n.await_ready()


def test_sighup_does_not_wait_for_stillness(m: Served) -> None:
    put(m.folder, 1, title="One")
    m.await_ready()
    over = threading.Event()

    def restless() -> None:
        while not over.wait(0.1):
            (m.folder / "log.txt").write_text(str(time.monotonic()))

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(restless)
        try:
            put(m.folder, 2)
            time.sleep(SURE_S)
            assert m.ask() == (1, 1)
            m.reload()
            m.await_answer(1, 2)
        finally:
            over.set()
        writing.result()


def test_sighup_tries_once_more_what_failed(m: Served) -> None:
    """Also where no file has changed: the reason may lie elsewhere, such as in a lack of memory."""
    put(m.folder / "3", 3)
    write_card(m.folder)
    m.await_ready()

    def failures() -> int:
        return m.server.log().count(f"model {m.name} (version 4) failed to load")

    (m.folder / "4").mkdir()
    (m.folder / "4/model.keras").write_text("no model")
    eventually(lambda: failures() == 1)
    time.sleep(SURE_S)
    assert failures() == 1
    m.reload()
    eventually(lambda: failures() == 2)
    assert m.ask() == (3, 3)


def test_sighup_before_the_server_listens_does_not_end_it(models: Path, tmp_path: Path) -> None:
    """From the first moment at which the process can be seen."""
    (models / "wrong.h5").write_text("no model")
    with serving(models, tmp_path) as server:
        for _ in range(5):
            server.process.send_signal(signal.SIGHUP)
        eventually(lambda: server.log().count("failed to load") >= 2)
        assert server.get("/livez").status_code == 200


@pytest.fixture(scope="module")
def writers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five models of texts, which take a while to load."""
    folder = tmp_path_factory.mktemp("writers")
    save_text_model(folder / "writer0")
    for i in range(1, 5):
        shutil.copytree(folder / "writer0", folder / f"writer{i}")
    return folder


@pytest.mark.parametrize("delay", [0.0, 1.0])
def test_sigterm_during_a_reload_ends_cleanly(
    models: Path, tmp_path: Path, writers: Path, delay: float
) -> None:
    (models / "wrong.h5").write_text("no model")
    # Without a cache, or the models would be there at once.
    with serving(models, tmp_path, drain_delay_s=0, cache_dir="") as server:
        shutil.copytree(writers, models, dirs_exist_ok=True)
        server.process.send_signal(signal.SIGHUP)
        time.sleep(delay)
        server.terminate()
        assert server.process.wait(30) == 0
        assert "drained" in server.log()
        assert server.log().count("ready in") < 5, "meant to hit the loading"
        assert "Traceback" not in server.log()


# --- no request is cut off ------------------------------------------------------------------------


def test_a_request_that_began_before_the_swap_is_answered_by_the_old_one(m: Served) -> None:
    put(m.folder, 1, title="One")
    m.await_ready()
    body = b"[[1.0],[2.0]]"
    slow = http.client.HTTPConnection("127.0.0.1", m.server.port, timeout=PATIENCE_S)
    slow.putrequest("POST", f"/api/{m.name}")
    slow.putheader("Content-Type", "application/json")
    slow.putheader("Content-Length", str(len(body)))
    slow.endheaders(body[:5])
    put(m.folder, 2)
    m.reload()
    m.await_answer(1, 2)
    shutil.rmtree(m.folder)
    m.reload()
    eventually(lambda: not m.is_known)
    time.sleep(1)
    slow.send(body[5:])
    response = slow.getresponse()
    answer = response.read()
    slow.close()
    assert response.status == 200, answer
    assert b"[[1.0,1.0,1.0,1.0],[1.0,1.0,1.0,1.0]]" in answer


def test_a_text_is_written_to_its_end_by_the_model_that_began_it(m: Served) -> None:
    save_text_model(m.folder, units=512)
    m.await_ready()
    order = {"seed": "w1 w2", "words": 100}
    headers = {"Accept": "text/event-stream"}
    url = f"{m.server.url}/api/{m.name}"
    with httpx.stream("POST", url, json=order, headers=headers, timeout=PATIENCE_S) as stream:
        lines = stream.iter_lines()
        assert next(lines) == "event: start"
        shutil.rmtree(m.folder)
        m.reload()
        eventually(lambda: not m.is_known)
        told = list(lines)
    assert told.count("event: word") == 100
    assert "event: done" in told
    assert "event: error" not in told


@pytest.mark.parametrize("count", [10, pytest.param(100, marks=pytest.mark.slow)])
def test_reloads_under_load_lose_no_request_and_no_memory(
    models: Path, tmp_path: Path, count: int
) -> None:
    files = [tmp_path / f"{value}.keras" for value in (1, 2)]
    for value, file in enumerate(files, 1):
        # A megabyte of weights: what is not freed would show.
        save_constant_model(file, value, hidden=512)
    (models / "m").mkdir()
    shutil.copy(files[0], models / "m/model.keras")
    write_card(models / "m")
    seen: Counter[float] = Counter()

    def unmixed(predictions: list[list[float]]) -> bool:
        values = {value for row in predictions for value in row}
        seen.update(values)
        return len(predictions) == len(ROWS) and values in ({1.0}, {2.0})

    over = threading.Event()

    def call() -> int:
        """Call over gRPC until it is over. Returns how often."""
        sent, answered = fed("x", np.array(ROWS, np.float32), "FP32"), 0
        with triton_client(server.grpc) as client:
            while not over.is_set():
                values = client.infer("m", [sent]).as_numpy("y").ravel().tolist()
                assert len(values) == 4 * len(ROWS)
                assert set(values) in ({1.0}, {2.0})
                answered += 1
        return answered

    questions = [Question("/api/m", str(ROWS).encode(), "application/json", unmixed)]
    with serving(models, tmp_path, grpc_port=0) as server, always_ready(server):
        m = Served(server, models, "m")
        with ThreadPoolExecutor(4) as pool:
            calling = [pool.submit(call) for _ in range(4)]
            Load(server.port, questions).run(16, count=800)
            over.set()
            assert min(each.result() for each in calling) > 0
            over.clear()
        start = server.rss
        load = Load(server.port, questions)
        with ThreadPoolExecutor(5) as pool:
            loading = pool.submit(load.run, 16)
            calling = [pool.submit(call) for _ in range(4)]
            for i in range(1, count + 1):
                new = m.folder / ".new"
                shutil.copy(files[i % 2], new)
                new.replace(m.folder / "model.keras")
                m.reload()
                eventually(lambda i=i: server.log().count("model m replaced in") == i)  # type: ignore[misc]
                assert load.wrong == []
            end = server.rss
            load.stop()
            over.set()
            loading.result()
            assert sum(each.result() for each in calling) > count
        assert load.wrong == []
        assert load.answered.total() > 10 * count
        assert min(seen[1.0], seen[2.0]) > count
        assert m.states == {1: "ready"}
        print(f"RSS {start:,} bytes at the start, {end:,} after {count} reloads")
        assert end <= start * 1.15
        (status,) = server.get("/api/status").json()["replicas"][0]["models"]
        assert status["requests_total"] >= load.answered.total()
        assert status["errors_total"] == {}
