"""Log lines: whole, readable by programs, and without what clients sent."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from app import logs
from app.api.http import errors
from app.api.telemetry.access_log import AccessLog, shown_path
from app.api.telemetry.record import Record
from app.errors import InferenceError
from app.line_writer import LineWriter
from app.serving.call import Call
from app.settings import Settings
from app.web.errors import error_page
from tests.support import ROOT

SECRET = "hush-hush"


@pytest.mark.parametrize("text", ["\n", "\r\x0b\x0c", "\x1c\x1d\x1e", "\x85\x9b", "\u2028\u2029"])
def test_no_text_breaks_a_line(text: str) -> None:
    line = logs.to_json({"event": f"a{text}ä"})
    assert line.decode().splitlines() == [line.decode()]
    assert json.loads(line) == {"event": f"a{text}ä"}


def test_what_json_does_not_know_is_written_all_the_same() -> None:
    line = json.loads(logs.to_json({"file": "\udcff", "path": Path("x"), "ä": {1, 2}.__class__}))
    assert line["path"] == "x"
    assert "set" in line["ä"]


def test_lines_of_many_threads_stay_whole(tmp_path: Path) -> None:
    """Also those that are longer than what a pipe takes at once."""
    reader, writer = os.pipe()
    lines = LineWriter(writer)
    found: list[bytes] = []

    def read() -> None:
        with os.fdopen(reader, "rb") as file:
            found.extend(file)

    def write(letter: bytes) -> None:
        for size in (10, 5_000, 100_000):
            lines.write(letter * size)

    readers = threading.Thread(target=read)
    readers.start()
    writers = [threading.Thread(target=write, args=(bytes([97 + i]),)) for i in range(8)]
    for thread in writers:
        thread.start()
    for thread in writers:
        thread.join()
    os.close(writer)
    readers.join()
    assert len(found) == 24
    assert all(set(line[:-1]) == {line[0]} for line in found)


def test_a_log_that_cannot_be_written_stops_nothing() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    LineWriter(writer).write(b"no one listens")
    os.close(writer)


class _Written:
    """An access log's lines, as they come out of the real logger."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, every: int, level: str = "info") -> None:
        self._reader, writer = os.pipe()
        monkeypatch.setattr(logs, "_lines", LineWriter(writer))
        monkeypatch.setattr(logs, "_style", logs.Style(level, as_text=False, replica="app-1"))
        self.log = AccessLog(logs.access_logger(), every)
        self._writer = writer

    def ask(self, path: str, status: int, record: Record | None = None) -> None:
        environ = {"PATH_INFO": path, "REMOTE_ADDR": "192.0.2.1", "REQUEST_METHOD": "GET"}
        record = record or Record(id="x")
        self.log.answered(environ, record, path, status, seconds=0.1, bytes_in=0, bytes_out=9)

    def lines(self) -> list[dict[str, Any]]:
        os.close(self._writer)
        with os.fdopen(self._reader, "rb") as file:
            return [json.loads(line) for line in file]


@pytest.mark.parametrize(("every", "logged"), [(0, 0), (1, 201), (100, 3), (201, 1), (200, 2)])
def test_one_of_so_many_health_checks_is_logged(
    monkeypatch: pytest.MonkeyPatch, every: int, logged: int
) -> None:
    written = _Written(monkeypatch, every)
    for i in range(201):
        written.ask("/livez", 200)
        if i % 100 == 0:
            written.ask("/readyz", 503)
            written.ask("/livez/", 200)
    lines = written.lines()
    assert [line["status"] for line in lines if line["path"] == "/livez"] == [200] * logged
    # What fails is always told, and what is no health check.
    assert [line["path"] for line in lines].count("/readyz") == 3
    assert [line["path"] for line in lines].count("/livez/") == 3


def test_each_address_is_counted_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    written = _Written(monkeypatch, 100)
    paths = ["/livez", "/readyz", "/metrics", "/api/status", "/v2/health/live", "/v2/health/ready"]
    for path in [*paths, *paths]:
        written.ask(path, 200)
    assert [line["path"] for line in written.lines()] == paths


def test_failures_are_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    written = _Written(monkeypatch, 1, "warning")
    for path, status in (("/", 200), ("/", 404), ("/", 503), ("/readyz", 503), ("/", 499)):
        written.ask(path, status)
    (line,) = written.lines()
    assert (line["level"], line["path"], line["status"]) == ("warning", "/", 503)


def test_clients_that_did_not_wait_for_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    written = _Written(monkeypatch, 1)
    written.ask("/", 499)
    written.ask("/", 200, Record(id="x", code="deadline_exceeded", key="build"))
    gone, late = written.lines()
    assert (gone["status"], gone["code"]) == (499, "client_disconnected")
    # A stream of events: its status was sent long before.
    assert (late["status"], late["code"], late["key"]) == (200, "deadline_exceeded", "build")


def test_several_models_share_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    body, dogs, cats = (Call(0.0) for _ in range(3))
    body.stages.decode_ns = 1_000_000
    for call, name in ((dogs, "dogs"), (cats, "cats")):
        stages = call.stages
        stages.model, stages.version, stages.rows, stages.batch = name, 2, 1, 4
        stages.queue_ns, stages.infer_ns = 500, 2_500_000
    written = _Written(monkeypatch, 1)
    written.ask("/predict", 200, Record(id="x", calls=[body, dogs, cats]))
    written.ask("/api/dogs", 200, Record(id="x", calls=[dogs]))
    both, one = written.lines()
    assert both["models"] == ["cats", "dogs"]
    assert both.keys().isdisjoint({"model", "version", "words"})
    assert (both["rows"], both["batch"]) == (2, 4)
    assert (both["decode_ms"], both["queue_ms"], both["infer_ms"]) == (1.0, 0.001, 5.0)
    assert (one["model"], one["version"], one["rows"]) == ("dogs", 2, 1)
    assert "decode_ms" not in one


def test_paths() -> None:
    assert shown_path(f"/a?token={SECRET}") == "/a"
    assert shown_path("/" + 600 * "x") == "/" + 499 * "x"
    assert shown_path(f"http://me:{SECRET}@host/a") is None


def test_errors_of_requests_are_logged_without_their_contents(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = Flask(__name__)
    errors.ErrorAnswers(Settings(), error_page).install(app)

    @app.get("/unexpected")
    def unexpected() -> str:
        try:
            return os.environ[SECRET]
        except KeyError as error:
            raise ValueError(f"no {SECRET}") from error

    @app.get("/inference")
    def inference() -> str:
        try:
            raise OSError(SECRET)
        except OSError as error:
            raise InferenceError(f"TensorFlow: {error}") from None

    assert app.test_client().get("/unexpected").status_code == 500
    answer = app.test_client().get("/inference")
    assert SECRET in answer.text, "who asked may know"
    first, second = caplog.records
    assert first.getMessage() == "a request failed: ValueError"
    told = first.__dict__["exception"]
    assert told.index("KeyError") < told.index("ValueError")
    assert "in unexpected" in told
    assert second.getMessage() == "a request failed: InferenceError (OSError)"
    assert second.__dict__["id"] == json.loads(answer.text)["id"]
    formatter = logging.Formatter()
    assert not any(SECRET in f"{formatter.format(r)}{vars(r)}" for r in caplog.records)


EVERYTHING = """
import gevent, logging, threading, warnings
from app import logs

logs.configure(logs.Style("info", as_text=False, replica="app-1"))
gevent.get_hub().print_exception = logs.log_hub_error
warnings.warn("of a library", UserWarning)
logging.getLogger("some.library").debug("hush-hush")
logging.getLogger("some.library").info("two\\nlines")

def fail():
    raise ValueError("hush-hush")

class Fails:
    def __del__(self):
        fail()

thread = threading.Thread(target=fail, name="model-x")
thread.start()
thread.join()
gevent.spawn(fail).join()
Fails()
raise RuntimeError("of the start")
"""


def test_whatever_is_said_in_the_process_is_a_line() -> None:
    command = [sys.executable, "-c", EVERYTHING]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [(line["level"], line["logger"]) for line in lines] == [
        ("warning", "py.warnings"),
        ("info", "some.library"),
        ("critical", "app.logs"),
        ("error", "app.logs"),
        ("error", "app.logs"),
        ("critical", "app.logs"),
    ]
    assert "UserWarning: of a library" in lines[0]["event"]
    assert lines[1]["event"] == "two\nlines"
    assert lines[2]["event"] == "the thread model-x has ended: ValueError"
    assert all("in fail" in line["exception"] for line in lines[2:5])
    # Nothing of a request is about when the process fails to start.
    assert "of the start" in lines[5]["exception"]
    assert SECRET not in done.stderr
    assert {line["replica"] for line in lines} == {"app-1"}
