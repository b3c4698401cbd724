"""Models come, change and go while the server runs."""

from __future__ import annotations

import http.client
import shutil
import signal
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.http.load import Load, Question
from tests.models import save_constant_model, save_text_model
from tests.support import ServerProcess, serving

# Far beyond what anything here takes.
PATIENCE_S = 60
ROWS = [[float(i)] for i in range(64)]  # two batches


def put(folder: Path, value: float, **card: Any) -> None:
    """A model that answers `value`, with a card. Each file is there at once, as a whole."""
    staging = folder.parent / f".{folder.name}"
    save_constant_model(staging / "model.keras", value)
    folder.mkdir(parents=True, exist_ok=True)
    if card:
        write_card(folder, **card)
    (staging / "model.keras").replace(folder / "model.keras")
    staging.rmdir()


def write_card(folder: Path, **card: Any) -> None:
    new = folder / ".model.yaml"
    new.write_text(yaml.safe_dump({"task": "tensor", **card}))
    new.replace(folder / "model.yaml")


def await_that(happened: Callable[[], object], said: object = "") -> None:
    until = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < until, said
        time.sleep(0.02)


class Served:
    """A model called `name` in a running server, and its folder."""

    def __init__(self, server: ServerProcess, models: Path, name: str) -> None:
        self.server = server
        self.name = name
        self.folder = models / name

    def about(self, query: str = "") -> dict[str, Any]:
        """What the API says of the model, or the error."""
        body: dict[str, Any] = self.server.get(f"/api/models/{self.name}{query}").json()
        return body

    @property
    def is_known(self) -> bool:
        return self.server.get(f"/api/models/{self.name}").status_code == 200

    @property
    def states(self) -> dict[int, str]:
        return {each["version"]: each["state"] for each in self.about()["versions"]}

    def ask(self, query: str = "") -> tuple[int, float]:
        """Which version answers, and what."""
        response = self.server.post(f"/api/{self.name}{query}", json=ROWS)
        assert response.status_code == 200, response.text
        body = response.json()
        (value,) = {number for row in body["predictions"] for number in row}
        return body["version"], value

    def await_ready(self) -> None:
        await_that(lambda: self.about().get("state") == "ready", self.name)

    def await_answer(self, version: int, value: float) -> None:
        await_that(lambda: self.ask() == (version, value), f"{self.name}: {version} {value}")

    @property
    def events(self) -> list[str]:
        """The oldest first, without the name and how long they took."""
        told = self.server.get("/api/status").json()["events"]
        texts = [event["text"].partition(" after ")[0] for event in reversed(told)]
        start = f"Model {self.name} "
        return [text.removeprefix(start) for text in texts if text.startswith(start)]

    def reload(self) -> None:
        self.server.process.send_signal(signal.SIGHUP)


@contextmanager
def always_ready(server: ServerProcess) -> Iterator[None]:
    """Fails if the server is not ready all the while."""
    unready: list[int] = []
    over = threading.Event()

    def watch() -> None:
        with httpx.Client(base_url=server.url) as client:
            while not over.wait(0.1):
                status = client.get("/readyz").status_code
                if status != 200:
                    unready.append(status)

    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(watch)
        try:
            yield
        finally:
            over.set()
        watching.result()
    assert unready == []
    assert "Traceback" not in server.log()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServerProcess, Path]]:
    """A server, and its folder of models, which every test has a model of its own in."""
    folder = tmp_path_factory.mktemp("reload")
    (folder / "models").mkdir()
    with serving(folder / "models", folder) as server:
        yield server, folder / "models"


@pytest.fixture
def m(running: tuple[ServerProcess, Path], request: pytest.FixtureRequest) -> Iterator[Served]:
    """A model that is not there yet, and is taken away afterwards."""
    server, models = running
    served = Served(server, models, f"m{zlib.crc32(request.node.name.encode()):x}")
    with always_ready(server):
        yield served
    shutil.rmtree(served.folder, ignore_errors=True)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """For a server of the test's own."""
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


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
    await_that(lambda: not m.is_known)
    refused = m.server.post(f"/api/{m.name}", json=ROWS)
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "model_not_found")
    assert m.server.get(f"/models/{m.name}").status_code == 404
    assert m.events == ["ready", "replaced", "unloaded"]


def test_a_model_is_listed_while_it_loads(m: Served, slow_models: Path) -> None:
    # A link, so that all of it is there at once.
    m.folder.symlink_to(slow_models / "slow")
    try:
        await_that(lambda: m.is_known)
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
    pieces = 8
    # Over a file that is served, and as a new one.
    files = (m.folder / "model.keras", new.folder / "model.keras")
    with files[0].open("wb") as over, files[1].open("wb") as fresh:
        for i in range(pieces):
            for file in (over, fresh):
                file.write(data[len(data) * i // pieces : len(data) * (i + 1) // pieces])
                file.flush()
            assert m.ask() == (1, 1)
            assert not new.is_known
            time.sleep(0.8)
    m.await_answer(1, 2)
    new.await_ready()
    assert m.events == ["ready", "replaced"]
    assert new.events == ["ready"]
    shutil.rmtree(new.folder)


def test_a_broken_change_leaves_the_old_one_and_mending_it_heals(m: Served) -> None:
    put(m.folder, 1, title="One")
    m.await_ready()
    (m.folder / "model.keras").write_text("no model")
    await_that(lambda: "reason" in m.about())
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
    assert m.events[-1].startswith("goes on as it was, its change failed: ")
    assert f"model {m.name} goes on as it was" in m.server.log()

    put(m.folder, 2)
    m.await_answer(1, 2)
    assert "reason" not in m.about()
    assert m.name not in m.server.get("/api/status").json()["summary"]["text"]


def test_a_broken_card_is_such_a_change(m: Served) -> None:
    put(m.folder / "3", 3)
    write_card(m.folder)
    m.await_ready()
    write_card(m.folder, alias={"stable": 3})
    await_that(lambda: "unknown key 'alias'" in m.about().get("reason", ""))
    assert m.ask() == (3, 3)
    write_card(m.folder, aliases={"stable": 3})
    await_that(lambda: m.about()["aliases"] == {"stable": 3})
    await_that(lambda: "reason" not in m.about())
    assert m.ask("?version=stable") == (3, 3)
    # The model is the same as before: nothing is loaded anew.
    assert f"model {m.name} (version 3): the change that failed is undone" in m.server.log()
    ready, broken = m.events
    assert ready == "(version 3) ready"
    assert broken.startswith("(version 3) goes on as it was, its change failed: model.yaml: ")


def test_what_else_becomes_wrong_with_a_failed_model_is_told(m: Served) -> None:
    (m.folder / "1").mkdir(parents=True)
    write_card(m.folder / "1")  # of its own, so that the other one does not matter to it
    (m.folder / "1/model.keras").write_text("no model")
    await_that(lambda: m.about().get("state") == "failed")
    write_card(m.folder, alias={"stable": 1})
    await_that(lambda: "unknown key 'alias'" in m.about()["reason"])
    refused = m.server.post(f"/api/{m.name}", json=ROWS).json()["error"]["message"]
    assert "not a Keras model" in refused
    assert "unknown key 'alias'" in refused
    said = f"model {m.name}: model.yaml: unknown key 'alias'"
    await_that(lambda: said in m.server.log())
    assert "unknown key 'alias'" in m.events[-1]
    assert m.server.log().count(said) == 1


def test_files_that_no_version_is_made_of_reload_nothing(m: Served) -> None:
    put(m.folder / "1", 1)
    write_card(m.folder)
    m.await_ready()
    (m.folder / "README.md").write_text("Read me.")
    shutil.copy(m.folder / "1/model.keras", m.folder / "other.keras")
    time.sleep(4)  # longer than it takes to notice it and be sure
    write_card(m.folder, aliases={"stable": 1})
    await_that(lambda: m.about()["aliases"] == {"stable": 1})
    assert m.events == ["(version 1) ready"]


# --- on SIGHUP ------------------------------------------------------------------------------------


def test_sighup_looks_at_once_also_where_reload_is_off(models: Path, tmp_path: Path) -> None:
    put(models / "m", 1, title="One")
    with serving(models, tmp_path, reload="off") as server, always_ready(server):
        m, n = Served(server, models, "m"), Served(server, models, "n")
        put(m.folder, 2)
        put(n.folder, 7, title="Seven")
        time.sleep(4)  # longer than it would take to notice it and be sure
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
            time.sleep(4)
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
    await_that(lambda: failures() == 1)
    time.sleep(3)
    assert failures() == 1
    m.reload()
    await_that(lambda: failures() == 2)
    assert m.ask() == (3, 3)


def test_sighup_before_the_server_listens_does_not_end_it(models: Path, tmp_path: Path) -> None:
    """From the first moment at which anybody can tell that it runs."""
    (models / "wrong.h5").write_text("no model")
    with serving(models, tmp_path) as server:
        for _ in range(5):
            server.process.send_signal(signal.SIGHUP)
        await_that(lambda: server.log().count("failed to load") >= 2, server.log)
        assert server.get("/livez").status_code == 200


@pytest.mark.parametrize("delay", [0.0, 0.2, 1.0])
def test_sigterm_during_a_reload_ends_cleanly(models: Path, tmp_path: Path, delay: float) -> None:
    (models / "wrong.h5").write_text("no model")
    with serving(models, tmp_path, drain_delay_s=0) as server:
        for i in range(5):
            save_text_model(models / f"writer{i}")
        server.process.send_signal(signal.SIGHUP)
        time.sleep(delay)
        server.terminate()
        assert server.process.wait(30) == 0
        assert "drained" in server.log()
        assert server.log().count("ready in") < 5, "meant to hit the loading"
        assert "Traceback" not in server.log()


# --- versions -------------------------------------------------------------------------------------


def test_a_new_version_takes_over_and_a_removed_one_gives_back(m: Served) -> None:
    put(m.folder / "1", 1)
    write_card(m.folder)
    m.await_ready()
    put(m.folder / "2", 2)
    m.await_answer(2, 2)
    await_that(lambda: m.states == {2: "ready"})
    shutil.rmtree(m.folder / "2")
    m.await_answer(1, 1)
    await_that(lambda: m.states == {1: "ready"})
    assert m.events == [
        "(version 1) ready",
        "(version 2) ready",
        "(version 1) unloaded",
        "(version 1) ready",
        "(version 2) unloaded",
    ]


def test_a_broken_new_version_leaves_the_old_one(m: Served, tmp_path: Path) -> None:
    put(m.folder / "3", 3)
    write_card(m.folder)
    m.await_ready()
    (m.folder / "4").mkdir()
    (m.folder / "4/model.keras").write_text("no model")
    await_that(lambda: m.states == {3: "ready", 4: "failed"})

    # Also over a restart.
    models = tmp_path / "models"
    models.mkdir()
    (models / m.name).symlink_to(m.folder)
    with serving(models, tmp_path) as server:
        for each in (m, Served(server, m.folder.parent, m.name)):
            assert each.ask() == (3, 3)
            found = each.about()
            assert each.states == {3: "ready", 4: "failed"}
            assert found["reason"] == f"version 4: {found['versions'][1]['reason']}"
            refused = each.server.post(f"/api/{m.name}?version=4", json=ROWS)
            assert refused.status_code == 503
            assert "(version 4)' failed to load" in refused.json()["error"]["message"]

    put(m.folder / "4", 4)
    m.await_answer(4, 4)
    await_that(lambda: m.states == {4: "ready"})


def test_versions_by_number_and_alias(m: Served) -> None:
    for version in (1, 2, 3, 4):
        put(m.folder / str(version), version)
    write_card(m.folder, versions=[2, 9], aliases={"stable": 1, "next": 4, "lost": 8})
    served = {1: "ready", 2: "ready", 4: "ready", 8: "failed", 9: "failed"}
    await_that(lambda: m.is_known and m.states == served)
    assert m.ask() == (2, 2)
    for wanted, version in (("1", 1), ("004", 4), ("stable", 1), ("next", 4), ("2", 2)):
        assert m.ask(f"?version={wanted}") == (version, version)
        found = m.about(f"?version={wanted}")
        assert (found["version"], found["state"]) == (version, "ready")
    found = m.about()
    assert found["aliases"] == {"stable": 1, "next": 4, "lost": 8}
    assert f"version 9: there is no folder {m.name}/9, which the card names" in found["reason"]
    assert "aliases" not in found["card"]
    listed = {each["name"]: each for each in m.server.get("/api/models").json()["models"]}
    assert listed[m.name]["versions"] == found["versions"]
    page = m.server.get(f"/models/{m.name}").text
    assert "1 (ready, called stable)" in page
    assert "2 (ready, answers by default)" in page
    assert "8 (failed, called lost)" in page


def test_a_wrong_number_in_the_card_takes_nothing_down(m: Served, tmp_path: Path) -> None:
    for version in (1, 2, 3):
        put(m.folder / str(version), version)
    write_card(m.folder, versions=[2, 1])
    await_that(lambda: m.is_known and m.states == {1: "ready", 2: "ready"})
    events = m.events
    write_card(m.folder, versions=[22])
    await_that(lambda: m.states == {1: "ready", 2: "ready", 22: "failed"})
    reason = f"version 22: there is no folder {m.name}/22, which the card names"
    assert m.about()["reason"] == reason
    assert (m.ask(), m.ask("?version=1")) == ((2, 2), (1, 1))

    # After a restart nobody knows what was served: it is the latest then, for the same reason.
    models = tmp_path / "models"
    models.mkdir()
    (models / m.name).symlink_to(m.folder)
    with serving(models, tmp_path) as server:
        restarted = Served(server, m.folder.parent, m.name)
        assert restarted.ask() == (3, 3)
        assert restarted.states == {3: "ready", 22: "failed"}
        assert restarted.about()["reason"] == reason
    assert m.ask() == (2, 2)

    write_card(m.folder, versions=[3])
    m.await_answer(3, 3)
    await_that(lambda: m.states == {3: "ready"})
    assert "reason" not in m.about()
    failed, ready, *unloaded = m.events[len(events) :]
    assert failed == f"(version 22) failed to load: {reason.removeprefix('version 22: ')}"
    assert ready == "(version 3) ready"
    assert sorted(unloaded) == ["(version 1) unloaded", "(version 2) unloaded"]


def test_a_listed_version_whose_folder_goes_answers_until_another_can(m: Served) -> None:
    put(m.folder / "1", 1)
    put(m.folder / "2", 2)
    write_card(m.folder, versions=[2], aliases={"second": 2})
    m.await_ready()
    shutil.rmtree(m.folder / "2")
    await_that(lambda: m.states == {1: "ready", 2: "failed"})
    assert m.ask() == (1, 1)
    refused = m.server.post(f"/api/{m.name}?version=second", json=ROWS)
    assert refused.status_code == 503
    assert f"there is no folder {m.name}/2" in refused.json()["error"]["message"]
    write_card(m.folder)
    await_that(lambda: m.states == {1: "ready"})
    assert "reason" not in m.about()


def _both(m: Served, query: str) -> list[httpx.Response]:
    path = f"{m.name}?version={query}"
    return [m.server.post(f"/api/{path}", json=ROWS), m.server.get(f"/api/models/{path}")]


def test_versions_that_are_not_there(m: Served) -> None:
    put(m.folder / "1", 1)
    write_card(m.folder, aliases={"stable": 1})
    m.await_ready()
    for unknown in ("3", "new", "-1", "9" * 15, "a" * 100):
        for response in _both(m, unknown):
            error = response.json()["error"]
            assert (response.status_code, error["code"]) == (404, "model_not_found")
            assert "the versions are: 1; the aliases are: stable (1)" in error["message"]
    for wrong in ("", "a b", "1%0A", "9" * 16, "a" * 101):
        for response in _both(m, wrong):
            error = response.json()["error"]
            assert (response.status_code, error["code"]) == (422, "invalid_input")
            assert error["details"][0]["field"] == "version"


def test_an_alias_moves_without_a_reload(m: Served) -> None:
    put(m.folder / "1", 1)
    put(m.folder / "2", 2)
    write_card(m.folder, versions="all", aliases={"stable": 1})
    await_that(lambda: m.is_known and m.states == {1: "ready", 2: "ready"})
    loaded = [m.about(f"?version={n}")["loaded_at"] for n in (1, 2)]
    assert m.ask("?version=stable") == (1, 1)
    write_card(m.folder, versions="all", aliases={"stable": 2, "old": 1})
    await_that(lambda: m.ask("?version=stable") == (2, 2))
    assert m.ask("?version=old") == (1, 1)
    assert [m.about(f"?version={n}")["loaded_at"] for n in (1, 2)] == loaded
    assert m.events == ["(version 2) ready", "(version 1) ready"]


def test_the_card_of_a_version_says_nothing_of_versions(m: Served) -> None:
    put(m.folder / "1", 1, aliases={"stable": 1}, canary={"version": 1, "percent": 1})
    await_that(lambda: m.about().get("state") == "failed")
    assert m.about()["reason"] == (
        "model.yaml: aliases, canary: this is said for all versions at once, in "
        f"{m.name}/model.yaml"
    )


def test_the_canary_has_its_share(m: Served) -> None:
    put(m.folder / "1", 1)
    (m.folder / "2").mkdir()
    (m.folder / "2/model.keras").write_text("no model")
    write_card(m.folder, canary={"version": 2, "percent": 100})
    await_that(lambda: m.is_known and m.states == {1: "ready", 2: "failed"})
    # One that failed takes nothing.
    assert m.ask() == (1, 1)
    put(m.folder / "2", 2)
    await_that(lambda: m.states == {1: "ready", 2: "ready"})
    assert {m.ask() for _ in range(20)} == {(2, 2)}
    assert {m.ask("?version=1") for _ in range(20)} == {(1, 1)}

    for percent in (25, 0):
        write_card(m.folder, canary={"version": 2, "percent": percent})
        await_that(lambda p=percent: m.about()["canary"] == {"version": 2, "percent": p})  # type: ignore[misc]
        assert m.about()["version"] == 1
        count, share = 400, percent / 100
        with httpx.Client(base_url=m.server.url, timeout=PATIENCE_S) as client:
            bodies = [client.post(f"/api/{m.name}", json=[[0.0]]).json() for _ in range(count)]
        assert all(set(body["predictions"][0]) == {body["version"]} for body in bodies)
        # Five standard deviations of a binomial: once in two million runs by chance.
        bound = 5 * (count * share * (1 - share)) ** 0.5
        assert abs(Counter(body["version"] for body in bodies)[2] - count * share) <= bound


# --- nobody is left in the middle -----------------------------------------------------------------


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
    await_that(lambda: not m.is_known)
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
        await_that(lambda: not m.is_known)
        told = list(lines)
    assert told.count("event: word") == 100
    assert "event: done" in told
    assert "event: error" not in told


def test_100_reloads_under_load_lose_no_request_and_no_memory(models: Path, tmp_path: Path) -> None:
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

    questions = [Question("/api/m", str(ROWS).encode(), "application/json", unmixed)]
    with serving(models, tmp_path) as server, always_ready(server):
        m = Served(server, models, "m")
        Load(server.port, questions).run(16, stop_after=5)
        start = server.rss
        load = Load(server.port, questions)
        with ThreadPoolExecutor(1) as pool:
            loading = pool.submit(load.run, 16)
            for i in range(1, 101):
                new = m.folder / ".new"
                shutil.copy(files[i % 2], new)
                new.replace(m.folder / "model.keras")
                m.reload()
                await_that(lambda i=i: server.log().count("model m replaced in") == i)  # type: ignore[misc]
                assert load.wrong == []
            end = server.rss
            load.stop()
            loading.result()
        assert load.wrong == []
        assert load.answered.total() > 1000
        assert min(seen[1.0], seen[2.0]) > 100
        assert m.states == {1: "ready"}
        print(f"RSS {start:,} bytes at the start, {end:,} after 100 reloads")
        assert end <= start * 1.15
        (status,) = server.get("/api/status").json()["replicas"][0]["models"]
        assert status["requests_total"] >= load.answered.total()
        assert status["errors_total"] == {}
