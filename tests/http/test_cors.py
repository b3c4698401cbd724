"""Pages of other origins: what they may request and read, and that they may do nothing unless they
are listed."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.limited import ALLOWED
from tests.support import CAR, NO_TLS, V1_CAR, V2_CAR, ServerProcess

OTHERS = [
    "https://elsewhere.example",
    "null",
    ALLOWED[0] + "0",  # another port that begins alike
    ALLOWED[0].replace("http:", "https:"),
    "https://:8443",  # what the brackets would match as a pattern
]
OPENED = [
    ("/api/mpg", CAR),
    ("/v1/models/mpg:predict", V1_CAR),
    ("/v2/models/mpg/infer", V2_CAR),
]
GETS = ["/api/models", "/api/status", "/v1/models/mpg", "/v2", "/v2/models/mpg"]
CLOSED = ["/", "/models/mpg", "/livez", "/readyz", "/openapi.json", "/status", "/apis"]


def _allowed(headers: httpx.Headers) -> dict[str, str]:
    return {k: v for k, v in headers.items() if k.startswith("access-control-")}


def _preflight(
    server: ServerProcess, path: str, origin: str, method: str = "POST", headers: str = ""
) -> httpx.Response:
    asked = {"Origin": origin, "Access-Control-Request-Method": method}
    if headers:
        asked["Access-Control-Request-Headers"] = headers
    return httpx.options(server.url + path, headers=asked, timeout=60, verify=NO_TLS)


def _ask(server: ServerProcess, path: str, origin: str, **kwargs: Any) -> httpx.Response:
    method = "POST" if kwargs else "GET"
    headers = {"Origin": origin}
    url = server.url + path
    return httpx.request(method, url, headers=headers, timeout=60, verify=NO_TLS, **kwargs)


@pytest.mark.parametrize("origin", ALLOWED, ids=["page", "ipv6"])
@pytest.mark.parametrize(
    "path",
    [
        "/api/mpg",
        "/predict",
        "/v1/models/mpg:predict",
        "/v1/nowhere",
        "/v2/models/mpg/infer",
        "/v2",
    ],
)
def test_a_preflight_of_a_named_origin(limited: ServerProcess, path: str, origin: str) -> None:
    headers = (
        "authorization, content-encoding, content-type, x-api-key, "
        "inference-header-content-length, traceparent, tracestate, x-other"
    )
    answer = _preflight(limited, path, origin, headers=headers)
    assert answer.status_code == 204
    assert answer.content == b""
    assert answer.headers["vary"] == "Origin"
    told = _allowed(answer.headers)
    assert told["access-control-allow-origin"] == origin
    assert set(told["access-control-allow-methods"].split(", ")) == {"GET", "POST"}
    assert set(told["access-control-allow-headers"].split(", ")) == set(headers.split(", ")) - {
        "x-other"
    }
    assert int(told["access-control-max-age"]) > 0
    assert "access-control-allow-credentials" not in told


@pytest.mark.parametrize("origin", OTHERS, ids=range(len(OTHERS)))
@pytest.mark.parametrize("path", ["/api/mpg", "/v1/models/mpg:predict", "/v2/models/mpg/infer"])
def test_a_preflight_of_another_origin(limited: ServerProcess, path: str, origin: str) -> None:
    answer = _preflight(limited, path, origin)
    assert _allowed(answer.headers) == {}
    assert "Origin" in answer.headers["vary"]


def test_methods_that_nothing_takes_are_not_allowed(limited: ServerProcess) -> None:
    told = _allowed(_preflight(limited, "/api/mpg", ALLOWED[0], method="DELETE").headers)
    assert "access-control-allow-methods" not in told


@pytest.mark.parametrize(("path", "body"), OPENED)
def test_questions_and_their_errors(limited: ServerProcess, path: str, body: Any) -> None:
    for json, statuses in ((body, {200}), ({"wrong": 1}, {400, 422})):
        answer = _ask(limited, path, ALLOWED[0], json=json)
        assert answer.status_code in statuses
        assert answer.headers["access-control-allow-origin"] == ALLOWED[0]
        exposed = set(answer.headers["access-control-expose-headers"].split(", "))
        assert exposed == {"X-Request-ID", "Retry-After", "Inference-Header-Content-Length"}
        assert "access-control-allow-credentials" not in answer.headers
        assert "Origin" in answer.headers["vary"]
        for origin in OTHERS:
            # It is answered: whoever is no browser may ask anyway.
            other = _ask(limited, path, origin, json=json)
            assert other.status_code in statuses
            assert _allowed(other.headers) == {}


@pytest.mark.parametrize("path", [*GETS, "/api/nothing", "/v1/nothing", "/v2/nothing"])
def test_what_is_read(limited: ServerProcess, path: str) -> None:
    answer = _ask(limited, path, ALLOWED[0])
    assert answer.headers["access-control-allow-origin"] == ALLOWED[0]
    plain = limited.get(path)
    assert _allowed(plain.headers) == {}
    assert "Origin" in plain.headers["vary"]


@pytest.mark.parametrize("path", CLOSED)
def test_pages_are_not_for_other_origins(limited: ServerProcess, path: str) -> None:
    for answer in (_ask(limited, path, ALLOWED[0]), _preflight(limited, path, ALLOWED[0], "GET")):
        assert _allowed(answer.headers) == {}


def test_other_options_are_answered_as_ever(limited: ServerProcess) -> None:
    for path in ("/api/mpg", "/v1/models/mpg:predict"):
        plain = httpx.options(f"{limited.url}{path}", timeout=60, verify=NO_TLS)
        assert plain.status_code == 200
        assert "POST" in plain.headers["allow"]


def test_closed_unless_somebody_is_named(shipped: ServerProcess) -> None:
    for path, body in OPENED:
        for answer in (
            _ask(shipped, path, ALLOWED[0], json=body),
            _preflight(shipped, path, ALLOWED[0]),
            _ask(shipped, path, "null", json=body),
        ):
            assert _allowed(answer.headers) == {}
            assert "Origin" not in answer.headers.get("vary", "")
