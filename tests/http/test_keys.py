"""A server with API keys: requests with and without them."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import schemathesis
from openapi_spec_validator import validate

from tests.http.test_cli import run
from tests.keys import Keyed, Keys
from tests.replicas import Replicas
from tests.support import CAR, NO_TLS, ROOT, V1_CAR, V2_CAR, eventually, picture

PAGE = {"Accept": "text/html"}


def message(answer: httpx.Response) -> str:
    """Of an error, in the shape of the protocol that was asked."""
    body = answer.json()
    if answer.request.url.path.startswith(("/v1", "/v2")):
        assert set(body) == {"error"}
        return str(body["error"])
    assert set(body) == {"id", "error"}
    assert set(body["error"]) == {"code", "message", "details"}
    return str(body["error"]["message"])


# --- with and without ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/models", None),
        ("/api/mpg", CAR),
        ("/api/status", None),
        ("/openapi.json", None),
        ("/v1/models", None),
        ("/v1/models/mpg:predict", V1_CAR),
        ("/v2", None),
        ("/v2/models", None),
        ("/v2/health/ready", None),
        ("/v2/models/mpg/infer", V2_CAR),
    ],
)
def test_a_key_is_needed_and_either_header_takes_it(
    keyed: Keyed, path: str, body: dict[str, Any] | None
) -> None:
    asked: dict[str, Any] = {} if body is None else {"json": body}
    for headers in (
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer"},
        {"X-API-Key": ""},
        {"Authorization": "Basic dXNlcjpwYXNz"},
        {"Authorization": keyed.keys["operator"]},
        {"X-API-Key": keyed.keys["operator"] + "x"},
    ):
        answer = keyed.ask(path, None, headers=headers, **asked)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="keraport"'
        assert answer.headers["Cache-Control"] == "no-store"
        assert "key" in message(answer)
    for headers in (
        {"Authorization": f"Bearer {keyed.keys['operator']}"},
        {"Authorization": f"bearer  {keyed.keys['operator']}"},
        {"X-API-Key": keyed.keys["operator"]},
        {"Authorization": "Basic dXNlcjpwYXNz", "X-API-Key": keyed.keys["operator"]},
    ):
        assert keyed.ask(path, None, headers=headers, **asked).status_code == 200


def test_no_body_is_asked_for_without_a_key(keyed: Keyed) -> None:
    with socket.create_connection(("127.0.0.1", keyed.server.port), 60) as connection:
        connection.sendall(
            b"POST /api/shades HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\n"
            b"Content-Length: 16000000\r\nExpect: 100-continue\r\n\r\n"
        )
        answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 401 ")


def test_the_files_of_the_pages_need_none(keyed: Keyed) -> None:
    page = keyed.ask("/", None, headers=PAGE)
    assert page.status_code == 401
    files = re.findall(r'(?:href|src)="(/[^"]*\.(?:css|js|svg))"', page.text)
    assert len(files) == 3
    for file in files:
        assert keyed.ask(file, None).status_code == 200


# --- what a key is for ---------------------------------------------------------------------------


def test_a_key_for_some_models_sees_no_other(keyed: Keyed) -> None:
    def ask(path: str, **kwargs: Any) -> httpx.Response:
        return keyed.ask(path, "laboratory", **kwargs)

    assert ask("/api/mpg", json=CAR).status_code == 200
    assert [m["name"] for m in ask("/api/models").json()["models"]] == ["mpg"]
    assert ask("/v1/models").json() == {"models": ["mpg"]}
    assert ask("/v2/models").json() == {"models": ["mpg"]}
    index = ask("/v2/repository/index", content=b"").json()
    assert [m["name"] for m in index] == ["mpg"]
    assert [m["name"] for m in ask("/v2/models/stats").json()["model_stats"]] == ["mpg"]
    assert ask("/readyz").json()["models"] == {"mpg": "ready"}
    paths = ask("/openapi.json").json()["paths"]
    assert "/api/mpg" in paths
    assert "/api/writer" not in paths
    status = ask("/api/status").json()
    assert [m["name"] for m in status["replicas"][0]["models"]] == ["mpg"]
    assert {e["model"] for e in status["events"]} == {"mpg", None}
    assert status["summary"]["text"] == "1 replica, 1 model: all ready"
    told = [message(ask("/predict", content=picture()))]
    for page in ("/", "/status", "/compare", "/models/mpg"):
        answer = ask(page, headers=PAGE)
        assert answer.status_code == 200
        told.append(answer.text)
    for text in told:
        assert "writer" not in text
        assert "shades" not in text


@pytest.mark.parametrize("model", ["writer", "nothing"])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/{}", {}),
        ("/api/models/{}", None),
        ("/v1/models/{}", None),
        ("/v1/models/{}:predict", {}),
        ("/v1/models/{}/versions/1:predict", {}),
        ("/v2/models/{}", None),
        ("/v2/models/{}/infer", {}),
        ("/v2/models/{}/stats", None),
    ],
)
def test_other_models_are_forbidden_whether_they_are_there_or_not(
    keyed: Keyed, model: str, path: str, body: dict[str, Any] | None
) -> None:
    asked: dict[str, Any] = {} if body is None else {"json": body}
    answer = keyed.ask(path.format(model), "laboratory", **asked)
    assert answer.status_code == 403
    assert message(answer) == (
        f"your key is not for the model '{model}'; the models it is for: gone, mpg"
    )


def test_the_page_of_another_model_says_so(keyed: Keyed) -> None:
    page = keyed.ask("/models/writer", "laboratory", headers=PAGE)
    assert page.status_code == 403
    assert "Your key is not for this" in page.text


def test_a_model_that_is_gone_is_not_found_without_naming_others(keyed: Keyed) -> None:
    answer = keyed.ask("/api/gone", "laboratory", json={})
    assert answer.status_code == 404
    assert message(answer) == "there is no model 'gone'; the models are: mpg"


def test_metrics_are_for_keys_to_all_models(keyed: Keyed) -> None:
    assert keyed.ask("/metrics", "laboratory").status_code == 403
    assert keyed.ask("/metrics", "operator").status_code not in (401, 403)


def test_the_document_says_how_a_key_is_sent(keyed: Keyed) -> None:
    document = keyed.ask("/openapi.json").json()
    validate(document)
    assert document["security"] == [{"bearer": []}, {"apiKey": []}]
    assert set(document["components"]["securitySchemes"]) == {"bearer", "apiKey"}
    for path, item in document["paths"].items():
        for operation in (item[method] for method in ("get", "post") if method in item):
            if path in ("/livez", "/readyz"):
                assert operation["security"] == []
            else:
                assert {"401", "429"} <= set(operation["responses"])
    described = schemathesis.openapi.from_dict(document)
    for path, told, body, key, status in (
        ("/api/mpg", "/api/mpg", CAR, None, 401),
        ("/api/mpg", "/api/mpg", CAR, "operator", 200),
        ("/api/models/writer", "/api/models/{name}", None, "laboratory", 403),
        ("/v1/models/mpg:predict", "/v1/models/{name}:predict", {}, None, 401),
        ("/v2/models/writer/infer", "/v2/models/{name}/infer", {}, "laboratory", 403),
    ):
        asked: dict[str, Any] = {} if body is None else {"json": body}
        answer = keyed.ask(path, key, **asked)
        assert answer.status_code == status
        described[told]["POST" if asked else "GET"].validate_response(answer)


def test_without_keys_the_document_asks_for_none(shipped: Any) -> None:
    document = shipped.get("/openapi.json").json()
    assert "security" not in document
    assert "securitySchemes" not in document["components"]
    assert shipped.get("/login").status_code == 404


# --- rates ---------------------------------------------------------------------------------------


def test_a_rate_is_kept_in_every_protocol(keyed: Keyed) -> None:
    for path in ("/api/models", "/v1/models", "/v2", "/", "/openapi.json"):
        assert keyed.ask(path, "slow").status_code == 200
    for path, headers in (("/api/models", {}), ("/v1/models", {}), ("/v2", {}), ("/", PAGE)):
        answer = keyed.ask(path, "slow", headers=headers)
        assert answer.status_code == 429
        assert 3000 < int(answer.headers["Retry-After"]) <= 3600
        if not headers:
            assert message(answer) == "the key 'slow' allows 5 requests per hour: slow down"
    assert "Too many requests" in answer.text
    assert keyed.ask("/api/models").status_code == 200
    # What needs no key is not counted.
    assert keyed.ask("/livez", "slow").status_code == 200


# --- changes -------------------------------------------------------------------------------------


def test_a_key_counts_while_it_is_in_the_file(keyed: Keyed) -> None:
    new = keyed.keys.add("guest")
    assert keyed.ask("/api/models", "guest").status_code == 200
    client = keyed.log_in("guest")
    order = {"seed": "w1", "words": 100}
    headers = {"Accept": "text/event-stream", "X-API-Key": new}
    with httpx.stream(
        "POST",
        f"{keyed.server.url}/api/writer",
        json=order,
        headers=headers,
        timeout=60,
        verify=NO_TLS,
    ) as stream:
        lines = stream.iter_lines()
        next(lines)
        keyed.keys.remove("guest")
        assert keyed.ask("/api/models", "guest").status_code == 401
        assert "event: done" in "\n".join(lines), "what was begun may finish"
    page = client.get("/")
    assert page.status_code == 401
    assert "the session has ended" in page.text
    assert keyed.ask("/api/models").status_code == 200


def test_a_broken_file_changes_nothing(keyed: Keyed) -> None:
    keyed.keys.file.write_text("- name: [")
    try:
        for _ in range(3):
            assert keyed.ask("/api/models").status_code == 200
            assert keyed.ask("/api/models", None).status_code == 401
        eventually(lambda: "the API keys that were read last stay in force" in keyed.server.log())
        assert keyed.server.log().count("stay in force") == 1
    finally:
        keyed.keys.write()
    assert keyed.ask("/api/models").status_code == 200


def test_an_empty_file_lets_no_one_in(keyed: Keyed) -> None:
    keyed.keys.file.write_text("")
    try:
        assert keyed.ask("/api/models").status_code == 401
    finally:
        keyed.keys.write()
    assert "every request is refused" in keyed.server.log()
    assert keyed.ask("/api/models").status_code == 200


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "cannot be read: No such file or directory"),
        ("- name: a\n  hash: kp_not-for-the-log\n", "line 2: hash: expected what"),
        ("- name: [\n", "line 2: not YAML"),
    ],
)
def test_a_file_that_cannot_be_used_stops_the_start(
    tmp_path: Path, text: str | None, told: str
) -> None:
    file = tmp_path / "keys.yaml"
    if text is not None:
        file.write_text(text)
    (tmp_path / "models").mkdir()
    done = run(
        "serve",
        models=tmp_path / "models",
        code=1,
        KERAPORT_PORT="0",
        KERAPORT_API_KEYS_FILE=str(file),
        KERAPORT_UPLOADS_DIR=str(tmp_path / "uploads"),
    )
    assert told in done.stderr
    assert str(file) in done.stderr
    assert "kp_not-for-the-log" not in done.stderr


# --- replicas ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Replicas, Keys]]:
    folder = tmp_path_factory.mktemp("keyed-pair")
    (folder / "models").mkdir()
    (folder / "models" / "mpg").symlink_to(ROOT / "models" / "mpg")
    keys = Keys(folder / "keys.yaml")
    replicas = Replicas(folder / "models", folder, api_keys_file=keys.file)
    try:
        replicas.start_both()
        yield replicas, keys
    finally:
        replicas.stop()


def test_replicas_show_each_other_without_a_key(pair: tuple[Replicas, Keys]) -> None:
    replicas, keys = pair

    def reachable() -> list[bool]:
        answer = keyed.ask("/api/status").json()
        return [replica["reachable"] for replica in answer["replicas"]]

    keyed = Keyed(replicas.servers["app-1"], keys)
    assert reachable() == [True, True]
    (own,) = keyed.ask("/api/status?replica=self", "laboratory").json()["replicas"]
    assert [model["name"] for model in own["models"]] == ["mpg"]
    # While the file changes, and afterwards.
    keys.add("another")
    assert reachable() == [True, True]
    assert "Traceback" not in keyed.server.log()
    for forged in ("", "x", keys["operator"], "0" * 64):
        headers = {"X-Keraport-Replica": forged}
        assert keyed.ask("/api/status?replica=self", None, headers=headers).status_code == 401


def test_a_session_holds_in_every_replica(pair: tuple[Replicas, Keys]) -> None:
    replicas, keys = pair
    one, other = (Keyed(replicas.servers[name], keys) for name in ("app-1", "app-2"))
    with closing(one):
        token = one.log_in().cookies["keraport_session"]
    cookie = {"Cookie": f"keraport_session={token}"}
    assert other.ask("/api/models", None, headers=cookie).status_code == 200


# --- nothing tells a key -------------------------------------------------------------------------


def test_keys_are_found_nowhere(keyed: Keyed) -> None:
    """After all that was asked above, and with keys in every place that an error may repeat."""
    secret = keyed.keys["operator"]
    wrong = secret[:-4] + "AAAA"
    told = []
    for key in (secret, wrong):
        headers = {"X-API-Key": key, "Authorization": f"Bearer {key}"}
        for path in ("/api/models", "/api/status", "/nowhere", "/api/mpg", "/v1/x", "/metrics"):
            answer = keyed.ask(path, None, headers=headers)
            told.append(answer.text + str(answer.headers))
        told.append(keyed.ask("/api/mpg", None, json={"weight": "x"}, headers=headers).text)
        form = {"key": key}
        answer = keyed.ask("/login", None, data=form, headers={"Origin": keyed.server.url, **PAGE})
        told.append(answer.text + str(answer.headers))
    told.append(keyed.server.log())
    process = psutil.Process(keyed.server.pid)
    for each in (process, *process.children(recursive=True)):
        told += [" ".join(each.cmdline()), json.dumps(each.environ())]
    everything = "\n".join(told)
    assert "laboratory" not in secret
    for key in (*keyed.keys.keys.values(), wrong):
        # Not even a part of one.
        assert key[3:19] not in everything
