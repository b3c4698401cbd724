"""Pages without a browser: what a form gets back, and errors as pages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import keras
import numpy as np
import pytest

from tests.models import save_slow_model, save_text_model
from tests.support import ServerProcess, padded_picture, serving

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Nine models, one of which is broken, one too slow, and one answers NaN."""
    folder = tmp_path_factory.mktemp("pages")
    models = folder / "models"
    models.mkdir()
    save_slow_model(models / "slow", timeout_s=0.5)
    (models / "broken.h5").write_bytes(b"not a model")
    nan = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
    nan.layers[0].set_weights([np.full((2, 1), np.nan), np.zeros(1)])
    (models / "nan").mkdir()
    nan.save(models / "nan" / "model.keras")
    (models / "nan" / "model.yaml").write_text(
        "task: tensor\nmetrics: {accuracy: 0.947, measured_on: 300 held-out rows}\n"
    )
    for i in range(6):
        save_text_model(models / f"writer-{i}")
    with serving(models, folder, max_body_mb=1) as server:
        yield server


def text_of(page: httpx.Response) -> str:
    assert page.headers["Content-Type"].startswith("text/html")
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page.text))


def browse(server: ServerProcess, path: str) -> httpx.Response:
    return httpx.get(server.url + path, headers=BROWSER, timeout=60)


@pytest.mark.parametrize("path", ["/nothing", "/models/none"])
def test_what_is_not_there_is_a_page(server: ServerProcess, path: str) -> None:
    page = browse(server, path)
    assert page.status_code == 404
    text = text_of(page)
    assert "Check the address" in text
    assert page.headers["X-Request-ID"] in text
    assert page.headers["Vary"] == "Accept"


@pytest.mark.parametrize("path", ["/", "/models/nan"])
def test_metrics_are_in_words_everywhere(server: ServerProcess, path: str) -> None:
    assert "94.7 % right on 300 held-out rows" in text_of(browse(server, path))


@pytest.mark.parametrize("path", ["/api/none", "/api", "/predict/none", "/static/none.js"])
def test_programs_get_json_whatever_they_accept(server: ServerProcess, path: str) -> None:
    answer = httpx.get(server.url + path, headers=BROWSER)
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] in ("not_found", "model_not_found")


@pytest.mark.parametrize("accept", ["*/*", "application/json", ""])
def test_a_page_is_for_those_who_ask_for_one(server: ServerProcess, accept: str) -> None:
    answer = httpx.get(f"{server.url}/nothing", headers={"Accept": accept})
    assert answer.json()["error"]["code"] == "not_found"


def test_a_form_that_is_too_large(server: ServerProcess) -> None:
    files = {"image": ("a.jpg", padded_picture(1_000_001))}
    page = server.post("/models/writer-0", files=files, headers=BROWSER)
    assert page.status_code == 413
    assert "1 MB" in text_of(page)


def test_an_answer_that_takes_too_long(server: ServerProcess) -> None:
    page = server.post("/models/slow", data={"body": "[[200.0]]"}, headers=BROWSER)
    assert page.status_code == 504
    assert "No answer in time" in text_of(page)


def test_a_model_that_fails(server: ServerProcess) -> None:
    page = server.post("/models/nan", data={"body": "[[1, 2]]"}, headers=BROWSER)
    assert page.status_code == 500
    text = text_of(page)
    assert "NaN" in text
    assert page.headers["X-Request-ID"] in text


def test_what_is_named_in_an_error_is_no_markup(server: ServerProcess) -> None:
    page = browse(server, "/models/<img src=x>")
    assert page.status_code == 404
    assert "<img" not in page.text


def test_a_model_that_failed_says_why(server: ServerProcess) -> None:
    page = browse(server, "/models/broken")
    assert page.status_code == 503
    reason = server.get("/api/models/broken").json()["reason"]
    assert reason in text_of(page)
    assert reason in text_of(browse(server, "/"))


def test_search_without_a_script(server: ServerProcess) -> None:
    assert "9 of 9 models" in text_of(browse(server, "/"))
    found = text_of(browse(server, "/?q=WRITER+-3"))
    assert "1 of 9 models" in found
    assert "writer-3" in found
    assert "writer-4" not in found
    assert "0 of 9 models" in text_of(browse(server, '/?q="><script>'))


def test_eight_models_need_no_search(shipped: ServerProcess) -> None:
    assert 'role="search"' not in browse(shipped, "/").text


def test_an_empty_folder_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    with serving(tmp_path / "models", tmp_path) as server:
        assert "There is no model yet" in text_of(browse(server, "/"))
