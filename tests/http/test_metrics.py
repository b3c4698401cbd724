"""`GET /metrics` agrees with the requests that were sent."""

from __future__ import annotations

import json
import shutil
import socket
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.http.load import Load, Question
from tests.http.reloading import PATIENCE_S, put
from tests.metrics import OPENMETRICS, Scrape, scrape
from tests.models import save_slow_model, save_text_model
from tests.support import CAR, ROOT, V1_CAR, V2_CAR, ServerProcess, eventually, picture, serving

EVENTS = {"Accept": "text/event-stream"}
REQUESTS = "keraport_requests_total"
STAGES = "keraport_stage_duration_seconds_count"
BAD_CAR = {**CAR, "weight": "heavy"}


@dataclass
class Growth:
    """What has been added to the metrics of a server since `start`."""

    server: ServerProcess
    start: Scrape

    def __call__(self, name: str, **labels: str) -> float:
        """How much the series called `name` with these labels have grown, all in all."""
        return scrape(self.server.url).sum(name, **labels) - self.start.sum(name, **labels)

    def becomes(self, count: float, name: str, **labels: str) -> None:
        """Wait until they have grown so much."""
        eventually(lambda: self(name, **labels) == count, PATIENCE_S)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("metrics") / "models"
    for name in ("mpg", "cats-dogs"):
        shutil.copytree(ROOT / "models" / name, folder / name)
    save_text_model(folder / "writer")
    save_slow_model(folder / "slow")
    put(folder / "constant", 1, title="Constant")
    return folder


@pytest.fixture(scope="module")
def server(models: Path) -> Iterator[ServerProcess]:
    with serving(models, models.parent, request_timeout_s=120) as server:
        yield server


@pytest.fixture
def growth(server: ServerProcess) -> Growth:
    return Growth(server, scrape(server.url))


def _is_mpg(predictions: list[Any]) -> bool:
    return len(predictions) == 1


def test_counters_agree_with_a_load(server: ServerProcess, growth: Growth) -> None:
    native = Question("/api/mpg", json.dumps(CAR).encode(), "application/json", _is_mpg)
    v1 = json.dumps(V1_CAR).encode()
    standard = Question("/v1/models/mpg:predict", v1, "application/json", _is_mpg)
    load = Load(server.port, [native, standard])
    load.run(16, count=800)
    assert load.wrong == []
    count = load.answered.total()
    assert count == 800
    of_mpg = {"model": "mpg", "version": "1"}
    growth.becomes(count, REQUESTS, code="200", **of_mpg)
    for question, protocol in ((native, "native"), (standard, "v1")):
        sent = load.answered[question.path]
        assert growth(REQUESTS, protocol=protocol, code="200", **of_mpg) == sent
        assert (
            growth("keraport_request_duration_seconds_count", protocol=protocol, **of_mpg) == sent
        )
    for stage in ("decode", "queue", "infer"):
        assert growth(STAGES, stage=stage, **of_mpg) == count
    assert growth("keraport_rows_total", **of_mpg) == count
    assert growth("keraport_batch_rows_sum", **of_mpg) == count
    assert 1 <= growth("keraport_batch_rows_count", **of_mpg) <= count


def test_every_answer_is_counted_by_its_code(server: ServerProcess, growth: Growth) -> None:
    expected: dict[tuple[str, str, str], int] = {}

    def ask(count: int, model: str, protocol: str, method: str, path: str, **kwargs: Any) -> None:
        for _ in range(count):
            code = str(httpx.request(method, server.url + path, timeout=60, **kwargs).status_code)
            key = (model, protocol, code)
            expected[key] = expected.get(key, 0) + 1

    ask(7, "mpg", "native", "POST", "/api/mpg", json=CAR)
    ask(5, "mpg", "native", "POST", "/api/mpg", json=BAD_CAR)
    ask(2, "mpg", "native", "POST", "/api/mpg", content=b"{")
    ask(1, "mpg", "native", "POST", "/api/mpg", content=b" " * 17_000_000)
    ask(2, "mpg", "native", "GET", "/api/mpg")
    ask(3, "mpg", "v2", "POST", "/v2/models/mpg/infer", json=V2_CAR)
    ask(2, "mpg", "v2", "POST", "/v2/models/mpg/infer", json={})
    ask(2, "mpg", "page", "GET", "/models/mpg")
    ask(2, "", "page", "GET", "/")
    ask(2, "cats-dogs", "native", "POST", "/api/cats-dogs", content=picture())
    # Of several models, or one alone that takes pictures: who was asked is in the stages.
    ask(2, "cats-dogs", "native", "POST", "/predict", content=picture())
    ask(3, "", "native", "POST", "/api/nothing", json=CAR)
    ask(2, "", "v1", "GET", "/v1/models/nothing")
    ask(2, "", "v1", "POST", "/v1/nonsense")
    ask(2, "", "other", "GET", "/livez")
    ask(2, "", "other", "GET", "/nothing/at/all")
    ask(1, "", "other", "GET", "/static/keraport.css")
    codes = {code for _, _, code in expected}
    assert codes >= {"200", "400", "404", "405", "413", "422"}
    found = {key: growth(REQUESTS, model=key[0], protocol=key[1], code=key[2]) for key in expected}
    # Each look at the metrics is a request as well.
    del found["", "other", "200"], expected["", "other", "200"]
    assert found == expected
    errors = {"model": "mpg", "code": "invalid_input"}
    assert growth("keraport_model_errors_total", **errors) == 7


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"NONSENSE\r\n\r\n", "400"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", "400"),
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", "414"),
    ],
)
def test_what_is_no_request_counts(growth: Growth, sent: bytes, code: str) -> None:
    with socket.create_connection(("127.0.0.1", growth.server.port), timeout=60) as connection:
        connection.sendall(sent)
        while connection.recv(65536):
            pass
    growth.becomes(1, REQUESTS, protocol="other", code=code, model="")


@pytest.mark.parametrize("linger", [b"", struct.pack("ii", 1, 0)], ids=["closed", "reset"])
def test_a_client_that_goes_away_is_a_499(
    server: ServerProcess, growth: Growth, linger: bytes
) -> None:
    body = b"[[100.0]]"
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(
            b"POST /api/slow HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        eventually(lambda: scrape(server.url).sum("keraport_queue_depth", model="slow") == 1)
        assert scrape(server.url).sum("keraport_requests_in_flight") == 2
        if linger:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    growth.becomes(1, REQUESTS, protocol="native", code="499", model="slow")
    assert scrape(server.url).sum("keraport_requests_in_flight") == 1


def test_what_a_full_queue_refuses(server: ServerProcess, growth: Growth) -> None:
    limit = scrape(server.url).sum("keraport_queue_limit", model="slow")
    assert limit == 4
    assert scrape(server.url).series("keraport_rejections_total", model="slow") == {
        frozenset({"model": "slow", "version": "1", "reason": "overloaded"}.items()): 0
    }
    with ThreadPoolExecutor(12) as pool:
        asked = [pool.submit(server.post, "/api/slow", json=[[40.0]]) for _ in range(12)]
        codes = [each.result().status_code for each in asked]
    refused = codes.count(503)
    assert refused + codes.count(200) == 12
    assert refused > 0
    growth.becomes(refused, REQUESTS, model="slow", code="503")
    assert growth("keraport_rejections_total", model="slow", reason="overloaded") == refused
    assert growth("keraport_model_errors_total", model="slow", code="overloaded") == refused
    assert growth(STAGES, model="slow", stage="infer") == 12 - refused


def test_words_of_a_stream(server: ServerProcess, growth: Growth) -> None:
    body = {"seed": "w1 w2", "words": 30}
    text = server.post("/api/writer", json=body, headers=EVENTS).text
    assert text.count("event: word") == 30
    growth.becomes(1, REQUESTS, model="writer", code="200", protocol="native")
    assert growth("keraport_words_total", model="writer") == 30
    assert growth("keraport_rows_total", model="writer") == 1
    assert growth(STAGES, model="writer", stage="infer") == 1
    # The seed is read word by word, too.
    assert growth("keraport_batch_rows_count", model="writer") >= 30
    assert scrape(server.url).sum("keraport_streams", model="writer") == 0
    assert not scrape(server.url).series("keraport_streams", model="mpg")


def test_no_client_makes_a_series(server: ServerProcess) -> None:
    """Whatever is asked, under whatever name."""

    def labels() -> set[tuple[str, frozenset[tuple[str, str]]]]:
        families = scrape(server.url).families
        return {(s.name, frozenset(s.labels.items())) for f in families for s in f.samples}

    hostile = ['"} 1\nevil{a="', "<script>", "mpg\x00", "ü" * 50, "..", "a" * 300, "mpg/2"]
    hostile += [f"model-{i}" for i in range(20)]

    def ask() -> None:
        with httpx.Client(base_url=server.url, timeout=60) as client:
            for name in hostile:
                quoted = quote(name, safe="")
                for path in ("/api/", "/v1/models/", "/v2/models/", "/models/", "/"):
                    client.get(path + quoted)
                client.post("/api/mpg", params={"version": name}, json=CAR)
                client.request(f"X{name.encode().hex()}"[:30].upper(), "/api/mpg")
                client.get("/", headers={"X-Request-ID": quoted, "Host": "evil"})

    ask()
    known = labels()
    # The first round may have met statuses for the first time; names are new in each.
    hostile[:] = [name + "x" for name in hostile]
    ask()
    assert labels() == known
    names = {value for _, pairs in known for key, value in pairs if key == "model"}
    assert names == {"", "mpg", "cats-dogs", "writer", "slow", "constant"}
    protocols = {value for _, pairs in known for key, value in pairs if key == "protocol"}
    assert protocols <= {"native", "v1", "v2", "page", "other"}


@pytest.mark.parametrize("accept", ["*/*", "", OPENMETRICS, f"text/html,{OPENMETRICS};q=0.5"])
def test_both_formats_are_well_formed(server: ServerProcess, accept: str) -> None:
    found = scrape(server.url, accept)
    assert found.sum("keraport_model_ready") == 5
    assert found.sum("keraport_model_failed") == 0
    (build,) = found.series("keraport_build_info")
    assert {name for name, _ in build} == {"version", "python", "tensorflow", "keras"}
    assert all(value[0].isdigit() for _, value in build)
    devices = {dict(labels)["device"] for labels in found.series("keraport_model_device_info")}
    assert len(devices) == 1
    assert found.sum("process_resident_memory_bytes") > 10**8
    assert found.sum("python_gc_collections_total") > 0
    assert found.sum("keraport_model_memory_bytes", model="mpg") > 0


def test_replacing_failing_and_removing_a_model(
    server: ServerProcess, models: Path, growth: Growth
) -> None:
    def value(name: str) -> float:
        return scrape(server.url).sum(name, model="constant")

    def ask() -> int:
        return server.post("/api/constant", json=[[1.0]]).status_code

    loads = "keraport_model_loads_total"
    assert growth.start.sum(loads, model="constant", kind="load", result="ok") == 1
    assert value("keraport_model_load_seconds") > 0
    assert [ask() for _ in range(3)] == [200] * 3
    put(models / "constant", 2)
    growth.becomes(1, loads, model="constant", kind="reload", result="ok")
    # The new one continues the counts of the old one.
    assert [ask() for _ in range(2)] == [200] * 2
    growth.becomes(5, REQUESTS, model="constant", code="200")
    assert growth("keraport_rows_total", model="constant") == 5
    broken = models / "constant" / ".broken"
    broken.write_text("no model")
    broken.replace(models / "constant" / "model.keras")
    growth.becomes(1, loads, model="constant", kind="reload", result="failed")
    assert (value("keraport_model_ready"), value("keraport_model_failed")) == (1, 1)
    assert ask() == 200
    shutil.rmtree(models / "constant")
    eventually(
        lambda: not scrape(server.url).series("keraport_model_ready", model="constant"), PATIENCE_S
    )
    # Its last requests stay for a while, for Prometheus to see them.
    assert ask() == 404
    assert growth(REQUESTS, model="constant", code="200") == 6
    put(models / "constant", 3)
    eventually(lambda: value("keraport_model_ready") == 1, PATIENCE_S)
