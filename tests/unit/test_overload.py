"""Refusals by the headers alone: which requests, in which shape, and when they are sent."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flask.testing import FlaskClient

from app.api.http.access import ModelAccess
from app.api.http.overload import MOST_DELAY_S, REFUSALS_PER_S, Pace
from app.errors import ModelNotFound, Overloaded
from app.factory import create_app
from app.keys.file import key_lines, new_key
from app.serving.registry.registry import Registry
from app.settings import Settings

FULL = "the model 'slow' has 4 requests waiting, its limit"
STANDARD = (
    "/v1/models/slow:predict",
    "/v1/models/slow/versions/1:classify",
    "/v1/models/slow/labels/stable:regress",
    "/v2/models/slow/infer",
    "/v2/models/slow/versions/1/infer",
)


class Clock:
    now = 5.0

    def __call__(self) -> float:
        return self.now


def _full(seconds: float) -> None:
    raise Overloaded(FULL, 7)


def _sole_entry(access: ModelAccess, name: str, version: int | str | None = None) -> Any:
    if name != "slow" or version not in (None, 1, "stable"):
        raise ModelNotFound("there is none")
    model = SimpleNamespace(
        card=SimpleNamespace(runtime=SimpleNamespace(timeout_s=30)), check_room=_full
    )
    return SimpleNamespace(model=model, hangs=False, name="slow", version=1)


def _client(folder: Path, **settings: Any) -> FlaskClient:
    app = create_app(Settings(uploads_dir=folder, **settings), Registry())
    return app.test_client()


@pytest.fixture(autouse=True)
def full(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model `slow` is full."""
    monkeypatch.setattr(ModelAccess, "sole_entry", _sole_entry)


def test_the_native_shape(tmp_path: Path) -> None:
    answer = _client(tmp_path).post("/api/slow", headers={"X-Request-ID": "mine"})
    assert answer.status_code == 503
    error = {"code": "overloaded", "message": FULL, "details": []}
    assert answer.get_json() == {"id": "mine", "error": error}
    assert answer.headers["X-Request-ID"] == "mine"
    assert answer.headers["Retry-After"] == "7"


@pytest.mark.parametrize("path", STANDARD)
def test_the_shape_of_the_standard_protocols(tmp_path: Path, path: str) -> None:
    answer = _client(tmp_path).post(path)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "7")
    assert answer.get_json() == {"error": FULL}


@pytest.mark.parametrize(
    "path", ["/api/other", "/v1/models/slow/versions/2:predict", "/v2/models/slow/versions/x/infer"]
)
def test_what_is_not_plain_is_for_the_views(tmp_path: Path, path: str) -> None:
    assert _client(tmp_path).post(path).status_code in (400, 404)
    assert _client(tmp_path).get(path).status_code != 503


def test_a_key_is_needed_to_learn_that_a_model_is_full(tmp_path: Path) -> None:
    known, for_another = new_key(), new_key()
    file = tmp_path / "keys.yaml"
    file.write_text(
        key_lines("a", known[1], (), "1/hour") + key_lines("b", for_another[1], ("other",), None)
    )
    client = _client(tmp_path, api_keys_file=file)
    for path in ("/api/slow", *STANDARD):
        for key, status in ((None, 401), ("kp_x", 401), (for_another[0], 403), (known[0], 503)):
            headers = {} if key is None else {"X-API-Key": key}
            answer = client.post(path, headers=headers)
            assert answer.status_code == status
            assert answer.headers["Cache-Control"] == "no-store"


def test_nginx_asks_another_replica_but_for_a_model_that_is_full(tmp_path: Path) -> None:
    client = _client(tmp_path)
    offers = {"X-Keraport-Fallback": "other"}
    loading = client.get("/readyz", headers=offers)
    assert (loading.status_code, loading.headers["X-Accel-Redirect"]) == (503, "@other")
    assert "X-Accel-Redirect" not in client.get("/readyz").headers
    waits = client.get("/readyz", headers={"X-Keraport-Fallback": "hold"})
    assert (waits.status_code, waits.headers["X-Accel-Redirect"]) == (503, "@hold")
    for nonsense in ("", "elsewhere", "/login"):
        answer = client.get("/readyz", headers={"X-Keraport-Fallback": nonsense})
        assert "X-Accel-Redirect" not in answer.headers
    full = client.post("/api/slow", headers=offers)
    assert full.status_code == 503
    assert "X-Accel-Redirect" not in full.headers


def test_a_refusal_now_and_then_does_not_wait() -> None:
    clock = Clock()
    pace = Pace(clock)
    for _ in range(10):
        assert pace.delay() == 0
        clock.now += 1.01 / REFUSALS_PER_S


def test_many_wait_for_each_other_but_not_for_long() -> None:
    clock = Clock()
    pace = Pace(clock)
    delays = [pace.delay() for _ in range(1000)]
    assert delays == sorted(delays)
    assert delays[10] > 9 / REFUSALS_PER_S
    assert delays[-1] == pytest.approx(MOST_DELAY_S)
    clock.now += 2
    assert pace.delay() == 0, "what was long ago is forgotten"
