"""Both sides of the limit on bodies, for every way of sending them."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Any

import flask
import pytest
from flask.testing import FlaskClient

from app.api.http.requests import read_body, start_call
from app.factory import create_app
from app.serving.registry.registry import Registry
from app.settings import Settings

LIMIT = 1000


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> FlaskClient:
    folder: Path = tmp_path_factory.mktemp("limit")
    app = create_app(Settings(max_body_mb=LIMIT / 1e6, uploads_dir=folder), Registry())

    @app.post("/length")
    def length() -> str:
        return str(len(read_body(flask.request, start_call(10))))

    return app.test_client()


def _plain(body: bytes) -> dict[str, Any]:
    return {"data": body}


def _of_no_said_length(body: bytes) -> dict[str, Any]:
    return {"input_stream": io.BytesIO(body), "headers": {"Transfer-Encoding": "chunked"}}


def _packed(body: bytes) -> dict[str, Any]:
    return {"data": gzip.compress(body), "headers": {"Content-Encoding": "gzip"}}


@pytest.mark.parametrize("way", [_plain, _of_no_said_length, _packed])
def test_a_body_up_to_the_limit_is_read(client: FlaskClient, way: Any) -> None:
    answer = client.post("/length", **way(bytes(LIMIT)))
    assert (answer.status_code, answer.text) == (200, str(LIMIT))


@pytest.mark.parametrize("size", [LIMIT + 1, LIMIT + 2, 100 * LIMIT])
@pytest.mark.parametrize("way", [_plain, _of_no_said_length, _packed])
def test_a_larger_one_is_refused(client: FlaskClient, way: Any, size: int) -> None:
    answer = client.post("/length", **way(bytes(size)))
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (413, "too_large")
