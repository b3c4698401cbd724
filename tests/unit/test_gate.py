"""Every route of the application without a key, from its own routing table."""

from __future__ import annotations

import gzip
import re
import zlib
from pathlib import Path

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from app.api.http.gate import local_path
from app.factory import create_app
from app.keys.file import key_lines, new_key
from app.serving.registry.registry import Registry
from app.settings import Settings

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")
# All that answers without a key, and to what.
OPEN = {
    "/livez": {"GET", "HEAD", "OPTIONS"},
    "/readyz": {"GET", "HEAD", "OPTIONS"},
    "/static/<path:filename>": {"GET", "HEAD", "OPTIONS"},
    "/bootstrap/static/<path:filename>": {"GET", "HEAD", "OPTIONS"},
    "/login": {"GET", "HEAD", "POST", "OPTIONS"},
}
UNKNOWN = ("/nowhere", "/api", "/api/x/y", "/v2/x", "/v3", "//livez", "/livez/x", "/Livez", "/%2e")


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    folder = tmp_path_factory.mktemp("gate")
    (folder / "keys.yaml").write_text(key_lines("a", new_key()[1]))
    settings = Settings(api_keys_file=folder / "keys.yaml", uploads_dir=folder)
    return create_app(settings, Registry())


def address(rule: str) -> str:
    """An address that a rule takes."""
    rule = re.sub(r"<any\('?([\w.-]+)'?[^>]*>", r"\1", rule)
    return re.sub(r"<[^>]*>", "x", re.sub(r"<int:[^>]*>", "1", rule))


def test_nothing_but_the_open_addresses_answers_without_a_key(app: Flask) -> None:
    client = app.test_client()
    answered: dict[str, set[str]] = {}
    rules = {rule.rule: address(rule.rule) for rule in app.url_map.iter_rules()}
    assert set(OPEN) <= set(rules)
    for rule, path in {**rules, **{path: path for path in UNKNOWN}}.items():
        for method in METHODS:
            for accept in ("*/*", "text/html"):
                answer = client.open(path, method=method, headers={"Accept": accept})
                if answer.status_code != 401:
                    answered.setdefault(rule, set()).add(method)
                else:
                    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="keraport"'
                answer.close()
    assert answered == OPEN


def test_preflights_of_other_origins_need_no_key(tmp_path: Path) -> None:
    """A preflight has no key; the request after it needs one, and the page can read that."""
    (tmp_path / "keys.yaml").write_text(key_lines("a", new_key()[1]))
    origin = "https://app.example.org"
    settings = Settings(
        api_keys_file=tmp_path / "keys.yaml", uploads_dir=tmp_path, cors_origins=(origin,)
    )
    client = create_app(settings, Registry()).test_client()
    asks = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "X-API-Key"}
    preflight = client.options("/api/models", headers={"Origin": origin, **asks})
    assert preflight.status_code == 204
    assert "x-api-key" in preflight.headers["Access-Control-Allow-Headers"].lower()
    refused = client.get("/api/models", headers={"Origin": origin})
    assert refused.status_code == 401
    for answer in (preflight, refused):
        assert answer.headers["Access-Control-Allow-Origin"] == origin
        assert "Access-Control-Allow-Credentials" not in answer.headers


def test_the_open_addresses_tell_no_names(app: Flask) -> None:
    client = app.test_client()
    assert client.get("/readyz").get_json()["models"] == {}
    assert client.post("/login", data={"key": "x"}).status_code == 403


def test_the_form_of_a_login_may_be_compressed(tmp_path: Path) -> None:
    """Like every other body: all are read by one reader."""
    key, digest = new_key()
    (tmp_path / "keys.yaml").write_text(key_lines("a", digest))
    settings = Settings(api_keys_file=tmp_path / "keys.yaml", uploads_dir=tmp_path)
    client = create_app(settings, Registry()).test_client()
    form = f"key={key}&next=/status".encode()

    def sign_in(body: bytes, coding: str) -> TestResponse:
        return client.post(
            "/login",
            data=body,
            content_type="application/x-www-form-urlencoded",
            headers={"Content-Encoding": coding, "Sec-Fetch-Site": "same-origin"},
        )

    for body, coding in (
        (form, "identity"),
        (gzip.compress(form), "gzip"),
        (zlib.compress(form), "deflate"),
    ):
        answer = sign_in(body, coding)
        assert (answer.status_code, answer.headers["Location"]) == (303, "/status")
    for body in (form, gzip.compress(form)[:-1]):
        refused = sign_in(body, "gzip")
        assert refused.status_code == 400
        assert "gzip" in refused.get_json()["error"]["message"]
    assert sign_in(form, "br").status_code == 415


@pytest.mark.parametrize(
    ("headers", "known"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"}, False),
        ({"Origin": "http://localhost"}, True),
        ({"Origin": "http://elsewhere.example"}, False),
        ({}, False),
    ],
)
def test_a_session_is_for_pages_of_this_server(
    tmp_path: Path, headers: dict[str, str], known: bool
) -> None:
    key, digest = new_key()
    (tmp_path / "keys.yaml").write_text(key_lines("a", digest))
    settings = Settings(api_keys_file=tmp_path / "keys.yaml", uploads_dir=tmp_path)
    client = create_app(settings, Registry()).test_client()
    form = {"key": key, "next": "/"}
    own = {"Sec-Fetch-Site": "same-origin"}
    assert client.post("/login", data=form, headers=own).status_code == 303
    assert client.post("/api/nothing", headers=headers).status_code == (404 if known else 401)


@pytest.mark.parametrize("path", ["/", "/status", "/models/mpg?x=1", "/models/größe", "/a//b"])
def test_paths_of_this_server(path: str) -> None:
    assert local_path(path) == path


@pytest.mark.parametrize(
    "path",
    [
        *("", "status", "//evil.example", "///evil.example", "https://evil.example"),
        *("/\\evil.example", "\\\\evil.example", "/\t/evil.example", "/\n/evil.example"),
        *("javascript:alert(1)", "/login", "/login?next=/", "http:/status", "//[", " //x"),
    ],
)
def test_what_leads_elsewhere_leads_home(path: str) -> None:
    assert local_path(path) == "/"
