"""Predictions are answered alike whether they take the short way or Flask's."""

from __future__ import annotations

import gzip
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.both_ways import HEADER
from tests.fuzz.request import Request, load
from tests.fuzz.seeds import seeds
from tests.http.test_finds import FINDS
from tests.keys import Keys
from tests.support import ServerProcess, running

PREDICTION = re.compile(r"/(api/|v1/models/.*:|v2/models/.*/infer)")
# Of each answer alone.
OWN = {"date", "x-request-id"}


class _BothWays(ServerProcess):
    module = "tests.both_ways"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys(tmp_path_factory.mktemp("keys") / "keys.yaml")


@pytest.fixture(scope="module")
def server(
    fuzzed_models: Path, keys: Keys, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    uploads = tmp_path_factory.mktemp("both-ways")
    settings = {"api_keys_file": keys.file, "max_body_mb": 1}
    with running(_BothWays(fuzzed_models, uploads, **settings)) as server:
        yield server


@pytest.fixture(scope="module")
def client(server: ServerProcess) -> Iterator[httpx.Client]:
    with closing(httpx.Client(base_url=server.url, timeout=60)) as client:
        yield client


def _same(request: Request) -> Request:
    return request


def _body(data: bytes) -> Callable[[Request], Request]:
    return lambda request: request.with_body(data)


def _headers(**headers: str) -> Callable[[Request], Request]:
    return lambda request: request.with_headers(**headers)


def _target(change: Callable[[str], str]) -> Callable[[Request], Request]:
    def changed(request: Request) -> Request:
        return Request(change(request.target), request.method, request.headers, request.body)

    return changed


def _method(method: str) -> Callable[[Request], Request]:
    return lambda request: Request(request.target, method, request.headers, request.body)


def _gzipped(request: Request) -> Request:
    whole = gzip.compress(request.content)
    return request.with_body(whole).with_headers(Content_Encoding="gzip")


def _model(name: str) -> Callable[[Request], Request]:
    def other(request: Request) -> Request:
        target = re.sub(r"^/(api|v1/models|v2/models)/[^/:?]+", rf"/\1/{name}", request.target)
        return Request(target, request.method, request.headers, request.body)

    return other


CHANGES = {
    "as it is": _same,
    "empty": _body(b""),
    "not JSON": _body(b'{"a": 1'),
    "another value": _body(b'{"instances": "x", "inputs": 3}'),
    "numbers": _body(b"[1, 2, 3]"),
    "too large": _body(b" " * 1_000_001),
    "plain text": _headers(Content_Type="text/plain"),
    "a form": _headers(Content_Type="multipart/form-data; boundary=x"),
    "XML": _headers(Content_Type="application/xml"),
    "gzip": _gzipped,
    "no gzip": _headers(Content_Encoding="gzip"),
    "brotli": _headers(Content_Encoding="br"),
    "a browser": _headers(Accept="text/html"),
    "a browser's page": _headers(Accept="text/html", Sec_Fetch_Site="same-origin"),
    "another origin": _headers(Origin="https://example.org"),
    "unknown model": _model("nothing"),
    "odd name": _model("a%20b"),
    "hidden name": _model("..%2fmpg"),
    "reserved name": _model("models"),
    "first version": _target(lambda target: f"{target}?version=1"),
    "no version": _target(lambda target: f"{target}?version=99"),
    "odd version": _target(lambda target: f"{target}?version="),
    "scale": _target(lambda target: f"{target}?scale=none"),
    "no scale": _target(lambda target: f"{target}?scal=none"),
    "slash": _target(lambda target: f"{target}/"),
    "two slashes": _target(lambda target: f"/{target}"),
    "GET": _method("GET"),
    "PUT": _method("PUT"),
    "OPTIONS": _method("OPTIONS"),
}
CASES = {
    f"{seed.request.target} {number}": seed.request
    for number, seed in enumerate(seeds(defaultdict(lambda: "x")))
    if PREDICTION.match(seed.request.target) and seed.stable
}
FOUND = {
    file.stem: found
    for file in FINDS
    if (found := load(file).request).framing != "raw" and PREDICTION.match(found.target)
}


@pytest.mark.parametrize("change", CHANGES)
def test_both_ways_answer_alike(change: str, client: httpx.Client, keys: Keys) -> None:
    for name, request in {**CASES, **FOUND}.items():
        changed = CHANGES[change](request)
        short, flask = (_ask(client, changed, way, keys["operator"]) for way in ("short", "flask"))
        assert short == flask, name


@pytest.mark.parametrize(
    ("key", "status"), [(None, 401), ("unknown", 401), ("laboratory", 403), ("slow-limited", 429)]
)
def test_both_ways_ask_for_keys(
    key: str | None, status: int, client: httpx.Client, keys: Keys
) -> None:
    request = CASES["/api/mpg 4" if status == 429 else "/api/sums 0"]
    given = keys.keys.get(key, key) if key is not None else None
    if status == 429:
        assert _ask(client, request, "short", given)[0] == 200
    short, flask = (_ask(client, request, way, given) for way in ("short", "flask"))
    assert short[0] == status
    assert _without_seconds(short) == _without_seconds(flask)


def test_the_cases_cover_every_protocol() -> None:
    for start in ("/api/", "/v1/models/", "/v2/models/"):
        assert sum(name.startswith(start) for name in CASES) >= 5


Answer = tuple[int, list[tuple[str, str]], Any]


def _without_seconds(answer: Answer) -> Answer:
    status, headers, body = answer
    return status, [(name, v) for name, v in headers if name != "retry-after"], body


def _ask(client: httpx.Client, request: Request, way: str, key: str | None) -> Answer:
    headers = [*request.headers, (HEADER, way)]
    if key is not None:
        headers.append(("X-API-Key", key))
    answer = client.request(
        request.method, request.target, content=request.content, headers=headers
    )
    kept = [(k, v) for k, v in answer.headers.multi_items() if k not in OWN]
    body: Any = answer.content
    if answer.headers.get("content-type") == "application/json":
        body = json.loads(body)
    if isinstance(body, dict):
        assert body.pop("id", answer.headers["x-request-id"]) == answer.headers["x-request-id"]
    return answer.status_code, kept, body
