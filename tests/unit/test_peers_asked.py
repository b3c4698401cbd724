"""What the peers of the benchmark are asked, and what their answers mean."""

from __future__ import annotations

import base64
import itertools
import struct
import subprocess
from pathlib import Path
from typing import Any

import click
import httpx
import numpy as np
import orjson
import pytest

from benchmarks.load import Answers, Request, fire
from benchmarks.peers import cases, dialects
from benchmarks.peers.cases import PICTURE, ROW, TENSOR, Case, agree
from benchmarks.peers.dialects import Dialect
from tests.support import ROOT

BATCH = np.arange(2 * 4 * 4 * 3, dtype=np.float32).reshape(2, 4, 4, 3)
FILE = b"\xff\xd8 a picture"
VALUES = {"cylinders": 8, "weight": 3504.5}


def case(kind: str, payload: Any) -> Case:
    return Case("a case", kind, "model", payload, payload)


def test_every_name_makes_a_case_with_an_input_to_check() -> None:
    made = [cases.make(name, ROOT / "models") for name in cases.NAMES]
    assert [each.name for each in made] == list(cases.NAMES)
    assert {each.kind for each in made} == {ROW, PICTURE, TENSOR}
    assert made[0].payload["cylinders"] == 8
    for each in made:
        if each.kind == PICTURE:
            assert each.payload.startswith(b"\xff\xd8")
            assert each.check != each.payload
    assert made[-1].payload.nbytes == pytest.approx(19e6, rel=0.02)
    assert 256 not in made[-1].connections


@pytest.mark.parametrize(
    ("ours", "theirs", "same"),
    [
        (1.0, 1.009, True),
        (1.0, 1.011, False),
        (("cat", 0.8), ("cat", 0.809), True),
        (("cat", 0.8), ("cat", 0.811), False),
        (("cat", 0.5), ("dog", 0.5), False),
        (BATCH, BATCH + 0.009, True),
        (BATCH, BATCH + 0.011, False),
        (BATCH, BATCH + np.nan, False),
    ],
)
def test_answers_agree_up_to_a_tolerance(ours: Any, theirs: Any, same: bool) -> None:
    assert agree(case(ROW, {}), ours, theirs) is same


def test_bfloat16_agrees_roughly_and_no_further() -> None:
    ours = ("cat", 0.6)
    assert agree(case(PICTURE, b""), ours, ("cat", 0.79), coarse=True)
    assert not agree(case(PICTURE, b""), ours, ("cat", 0.81), coarse=True)
    assert not agree(case(PICTURE, b""), ours, ("dog", 0.6), coarse=True)


def test_batches_in_bfloat16_have_the_same_favourites_in_most_rows() -> None:
    batch = case(TENSOR, np.zeros((3, 2)))
    ours = np.array([0.9, 0.1, 0.8, 0.2, 0.3, 0.7], np.float32)
    near = np.array([0.5, 0.4, 0.6, 0.4, 0.6, 0.4], np.float32)
    assert agree(batch, ours, near, coarse=True)
    assert not agree(batch, ours, near)
    assert not agree(batch, ours, 1 - near, coarse=True)
    assert not agree(batch, ours, near[:4], coarse=True)


DIALECTS = {
    "keraport": dialects.KERAPORT,
    "plain": dialects.PLAIN,
    "litserve": dialects.LITSERVE,
    "bentoml": dialects.BENTOML,
    "triton": dialects.TRITON,
}
every_dialect = pytest.mark.parametrize("name", DIALECTS)


@pytest.fixture(autouse=True)
def described(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Keraport says of a model's input, which is asked for a tensor."""

    def get(url: str, timeout: float) -> httpx.Response:
        described = {"inputs": [{"name": "input_1"}]}
        return httpx.Response(200, json=described, request=httpx.Request("GET", url))

    monkeypatch.setattr(httpx, "get", get)


def ask(dialect: Dialect, kind: str, payload: Any) -> tuple[str, Request]:
    return dialect.ask(case(kind, payload), payload, "http://127.0.0.1:1")


@every_dialect
def test_a_row_is_json_with_all_its_values(name: str) -> None:
    url, request = ask(DIALECTS[name], ROW, VALUES)
    assert request.headers["Content-Type"] == "application/json"
    body = orjson.loads(request.body)
    if name == "triton":
        (tensor,) = body["inputs"]
        assert tensor["data"] == list(VALUES.values())
        assert tensor["shape"] == [1, 2]
    else:
        assert body == ({"rows": [VALUES]} if name == "bentoml" else VALUES)
    assert url.startswith("http://127.0.0.1:1/")


@every_dialect
def test_a_picture_is_sent_as_it_is(name: str) -> None:
    _, request = ask(DIALECTS[name], PICTURE, FILE)
    if name == "triton":
        head = int(request.headers[dialects.HEAD])
        raw = request.body[head:]
        assert orjson.loads(request.body[:head])["inputs"][0]["parameters"] == {
            "binary_data_size": len(raw)
        }
        assert struct.unpack("<I", raw[:4]) == (len(FILE),)
        assert raw[4:] == FILE
    else:
        kind, boundary = request.headers["Content-Type"].split("; boundary=")
        assert kind == "multipart/form-data"
        before, part, after = request.body.split(f"--{boundary}".encode())
        assert (before, after) == (b"", b"--\r\n")
        assert part.partition(b"\r\n\r\n")[2] == FILE + b"\r\n"


@every_dialect
def test_a_tensor_arrives_whole(name: str) -> None:
    _, request = ask(DIALECTS[name], TENSOR, BATCH)
    if name in ("keraport", "triton"):
        head = int(request.headers[dialects.HEAD])
        said = orjson.loads(request.body[:head])
        assert said["inputs"][0]["shape"] == [2, 4, 4, 3]
        assert said["parameters"] == {"binary_data_output": True}
        raw = request.body[head:]
    elif name == "litserve":
        raw = base64.b64decode(orjson.loads(request.body)["tensor"])
    else:
        raw = request.body
    assert np.array_equal(np.frombuffer(raw, np.float32), BATCH.ravel())


def said(name: str, kind: str) -> bytes:
    """An answer of each server, as it sends it."""
    number = {"prediction": 16.5}
    label = {"label": "dog", "probability": 0.75}
    if kind == TENSOR:
        raw = BATCH.tobytes()
        if name == "litserve":
            return orjson.dumps({"tensor": base64.b64encode(raw).decode()})
        if name in ("keraport", "triton"):
            sized = {"binary_data_size": len(raw)}
            return orjson.dumps({"outputs": [{"name": "scores", "parameters": sized}]}) + raw
        return raw
    one = number if kind == ROW else label
    if name == "keraport":
        return orjson.dumps({"predictions": [{"mpg": 16.5} if kind == ROW else label]})
    if name == "triton":
        return orjson.dumps({"outputs": [{"name": k, "data": [v]} for k, v in one.items()]})
    return orjson.dumps([one] if name == "bentoml" else one)


@every_dialect
def test_answers_of_all_servers_mean_the_same(name: str) -> None:
    dialect = DIALECTS[name]
    assert dialect.read(case(ROW, {}), said(name, ROW)) == 16.5
    assert dialect.read(case(PICTURE, b""), said(name, PICTURE)) == ("dog", 0.75)
    assert np.array_equal(dialect.read(case(TENSOR, BATCH), said(name, TENSOR)), BATCH.ravel())


COUNTED = {"requests": 90, "seconds": 2.0, "p50_ms": 3.5, "p99_ms": 9.0, "refused": 2, "broken": 1}


def wrk(monkeypatch: pytest.MonkeyPatch, output: str, code: int = 0) -> list[list[str]]:
    """A wrk that prints `output`; the commands it was started with."""
    commands = []

    def run(command: list[Any], **options: Any) -> subprocess.CompletedProcess[str]:
        commands.append([str(each) for each in command])
        return subprocess.CompletedProcess(command, code, output, "no such host")

    monkeypatch.setattr(subprocess, "run", run)
    return commands


def test_wrk_sends_the_headers_and_the_body_and_counts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    printed = f"Running 2s test\n\n{orjson.dumps(COUNTED).decode()}\n"
    commands = wrk(monkeypatch, printed)
    request = Request({"Content-Type": "text/csv", "X-Length": "7"}, b"a,b\n")
    got = fire("http://127.0.0.1:1/row", request, tmp_path, 32, 2.4, timeout_s=60)
    assert got == Answers(90, 2.0, 3.5, 9.0, 2, 1)
    (command,) = commands
    options = dict(itertools.pairwise(command))
    assert options["--connections"] == "32"
    assert options["--duration"] == "2s"
    assert options["--timeout"] == "60s"
    script = Path(options["--script"]).read_text()
    assert 'wrk.headers["Content-Type"] = "text/csv"' in script
    assert 'wrk.headers["X-Length"] = "7"' in script
    assert (tmp_path / "wrk.body").read_bytes() == b"a,b\n"


@pytest.mark.parametrize(("output", "code"), [("", 0), ("unable to connect", 1)])
def test_a_wrk_that_counts_nothing_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, output: str, code: int
) -> None:
    wrk(monkeypatch, output, code)
    with pytest.raises(click.ClickException, match="wrk failed"):
        fire("http://127.0.0.1:1/row", Request({}, b""), tmp_path, 1, 1)
