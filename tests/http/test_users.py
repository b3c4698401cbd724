"""People whom an authenticating proxy has signed in: who is believed, what the log says, a rate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from app.api.grpc.messages import message_class
from tests.http.test_grpc_keys import car_request
from tests.keys import Keys
from tests.rpc import INFER, PREDICT, STREAM, call, code_and_details, refusal, state
from tests.support import CAR, ROOT, V1_CAR, V2_CAR, ServerProcess, eventually, serving

PAGE = {"Accept": "text/html"}
HEADER = "X-Auth-Request-Email"
INDEX = "/inference.GRPCInferenceService/RepositoryIndex"
REFLECT = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
RATE = 4
PREDICTIONS = [
    ("/api/mpg", {"json": CAR}),
    ("/v1/models/mpg:predict", {"json": V1_CAR}),
    ("/v2/models/mpg/infer", {"json": V2_CAR}),
]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    (folder / "mpg").symlink_to(ROOT / "models" / "mpg")
    return folder


@pytest.fixture(scope="module")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    settings = {
        "forwarded_allow_ips": "127.0.0.1",
        "trusted_user_header": HEADER,
        "user_rate": f"{RATE}/hour",
        "grpc_port": 0,
    }
    with serving(models, tmp_path_factory.mktemp("users"), **settings) as server:
        yield server


@pytest.fixture(scope="module")
def keyed(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("keyed")
    settings = {
        "forwarded_allow_ips": "127.0.0.1",
        "trusted_user_header": HEADER,
        "api_keys_file": Keys(folder / "keys.yaml").file,
        "grpc_port": 0,
    }
    with serving(models, folder, **settings) as server:
        yield server


def line_of(server: ServerProcess, answer: httpx.Response) -> dict[str, Any]:
    id = answer.headers["x-request-id"]
    (line,) = eventually(lambda: server.requests(id=id), every=0.05)
    return dict(line)


def user(name: str) -> dict[str, str]:
    return {HEADER: name}


@pytest.mark.parametrize(
    ("sent", "logged"),
    [
        (b"ada@example.org", "ada@example.org"),
        ("Zoë Müller".encode(), "Zoë Müller"),
        (b"", None),
        (b"x" * 500, "x" * 200),
    ],
)
def test_the_log_has_the_name(server: ServerProcess, sent: bytes, logged: str | None) -> None:
    answer = httpx.get(f"{server.url}/api/models", headers={HEADER.encode(): sent})
    assert answer.status_code == 200
    assert line_of(server, answer).get("user") == logged


@pytest.mark.parametrize(("path", "asked"), PREDICTIONS)
def test_each_user_has_a_rate(server: ServerProcess, path: str, asked: dict[str, Any]) -> None:
    name = f"user of {path}"
    found = [server.post(path, headers=user(name), **asked) for _ in range(RATE + 1)]
    assert [answer.status_code for answer in found] == [200] * RATE + [429]
    last = found[-1]
    assert int(last.headers["Retry-After"]) > 3500
    allowed = f"may send {RATE} requests per hour (KERAPORT_USER_RATE)"
    assert allowed in last.text
    assert line_of(server, last)["code"] == "too_many_requests"
    # By either way through the server (app/api/short_way.py), on pages too.
    other = server.get("/api/models", headers=user(name))
    assert other.status_code == 429
    assert server.get("/", headers={**PAGE, **user(name)}).status_code == 429
    # Files and health checks are free, and so are other users and requests without one.
    for free in ("/livez", "/static/css/keraport.css"):
        assert server.get(free, headers=user(name)).status_code in (200, 404)
    assert server.post(path, headers=user(f"{name}!"), **asked).status_code == 200
    assert server.post(path, **asked).status_code == 200


def test_other_headers_name_no_one(server: ServerProcess) -> None:
    for name in ("X-Forwarded-User", "X_Auth_Request_Email", "Remote-User"):
        answer = server.get("/api/models", headers={name: "ada"})
        assert "user" not in line_of(server, answer)


def test_the_rate_of_a_user_is_that_of_all_protocols(server: ServerProcess) -> None:
    metadata = [(HEADER.lower(), "grace")]
    with grpc.insecure_channel(server.grpc) as channel:
        start = len(server.log())
        for _ in range(RATE - 1):
            assert call(channel, INFER, car_request(), metadata=metadata)
        assert server.get("/api/models", headers=user("grace")).status_code == 200
        error = refusal(channel, INFER, car_request(), metadata=metadata)
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert f"may send {RATE} requests per hour (KERAPORT_USER_RATE)" in error.details()
        assert int(dict(error.trailing_metadata())["grpc-retry-pushback-ms"]) > 3_500_000
        # Health checks are free, and so are calls without a user.
        assert state(channel, metadata=metadata) == "SERVING"
        assert call(channel, INFER, car_request())
    lines = server.requests(start, path=INFER)
    assert [line.get("user") for line in lines] == ["grace"] * RATE + [None]


def test_each_request_of_a_stream_counts(server: ServerProcess) -> None:
    """As each call does, of any service; the stream continues after a refusal."""
    metadata, kind = [(HEADER.lower(), "hedy")], message_class("inference.ModelStreamInferResponse")
    with grpc.insecure_channel(server.grpc) as channel:
        start = len(server.log())
        stream = channel.stream_stream(STREAM)
        sent = iter([car_request()] * (RATE + 2))
        answers = [kind.FromString(each) for each in stream(sent, metadata=metadata, timeout=60)]
        problems = [each.error_message for each in answers]
        assert problems[:RATE] == [""] * RATE
        allowed = f"may send {RATE} requests per hour (KERAPORT_USER_RATE)"
        assert [allowed in each for each in problems[RATE:]] == [True, True]
        for path in (PREDICT, INDEX):
            error = refusal(channel, path, metadata=metadata)
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        reflected = channel.stream_stream(REFLECT)
        with pytest.raises(grpc.RpcError) as caught:
            next(reflected(iter([b"\x3a\x01*"]), metadata=metadata, timeout=60))
        assert code_and_details(caught)[0] == "RESOURCE_EXHAUSTED"
    lines = server.requests(start, user="hedy", path=STREAM)
    codes = Counter((line["status"], line.get("code")) for line in lines)
    assert codes == {(200, None): RATE, (429, "too_many_requests"): 2}


def test_a_user_needs_no_key_for_grpc(keyed: ServerProcess) -> None:
    metadata = [(HEADER.lower(), "ada")]
    with grpc.insecure_channel(keyed.grpc) as channel:
        assert refusal(channel, INFER, car_request()).code() is grpc.StatusCode.UNAUTHENTICATED
        assert call(channel, INFER, car_request(), metadata=metadata)
        assert state(channel, "mpg", metadata=metadata) == "SERVING"
        stream = channel.stream_stream(REFLECT)
        assert next(stream(iter([b"\x3a\x01*"]), metadata=metadata, timeout=60))  # list_services
        with pytest.raises(grpc.RpcError) as caught:
            next(stream(iter([b"\x3a\x01*"]), timeout=60))
        assert code_and_details(caught)[0] == "UNAUTHENTICATED"


@pytest.mark.parametrize(
    "settings",
    [
        {"forwarded_allow_ips": "192.0.2.1", "trusted_user_header": HEADER, "user_rate": "1/hour"},
        {"forwarded_allow_ips": "127.0.0.1"},
        {},
    ],
)
def test_the_header_counts_from_the_proxy_only(tmp_path: Path, settings: dict[str, str]) -> None:
    (tmp_path / "models").mkdir()
    with serving(tmp_path / "models", tmp_path, grpc_port=0, **settings) as server:
        for _ in range(2):
            answer = server.get("/api/models", headers=user("ada"))
            assert answer.status_code == 200
            assert "user" not in line_of(server, answer)
        with grpc.insecure_channel(server.grpc) as channel:
            for _ in range(2):
                assert call(channel, INDEX, metadata=[(HEADER.lower(), "ada")]) == b""
        assert all("user" not in line for line in server.requests(path=INDEX))


@pytest.mark.parametrize(("path", "asked"), PREDICTIONS)
def test_a_user_needs_no_key(keyed: ServerProcess, path: str, asked: dict[str, Any]) -> None:
    assert keyed.post(path, **asked).status_code == 401
    answer = keyed.post(path, headers=user("ada"), **asked)
    assert answer.status_code == 200
    line = line_of(keyed, answer)
    assert line["user"] == "ada"
    assert "key" not in line
    assert answer.headers["Cache-Control"] == "no-store"


def test_a_user_sees_all_models_and_pages(keyed: ServerProcess) -> None:
    found = keyed.get("/api/models", headers=user("ada")).json()
    assert [model["name"] for model in found["models"]] == ["mpg"]
    assert keyed.get("/models/mpg", headers={**PAGE, **user("ada")}).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 401),
        ({"Origin": "https://elsewhere.example"}, 401),
        ({}, 200),
    ],
)
def test_pages_of_other_origins_cannot_use_the_login(
    keyed: ServerProcess, headers: dict[str, str], status: int
) -> None:
    answer = keyed.post("/api/mpg", json=CAR, headers={**user("ada"), **headers})
    assert answer.status_code == status
