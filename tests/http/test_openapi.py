"""The document of the API: valid, made of the models, and kept by the answers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from openapi_spec_validator import validate

from app import __version__
from app.api import openapi, openapi_native, openapi_protocols
from tests.support import CAR, ROOT, ServerProcess, serving

# Beyond what it does by itself, Schemathesis would also say that seeds without a known word are
# refused, which no schema can tell (positive_data_acceptance).
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "allow_header_conformance",
)


@pytest.fixture(scope="module")
def every_kind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """The shipped models, and small ones of all tasks and shapes; `broken` fails to load."""
    from tests.browser.assorted import save_assorted  # Keras takes seconds to import
    from tests.models import save_image_models
    from tests.tables import save_tables

    folder = tmp_path_factory.mktemp("every-kind")
    models = folder / "models"
    save_image_models(models)
    save_assorted(models)
    save_tables(models)
    for name in ("mpg", "patents"):
        (models / name).symlink_to(ROOT / "models" / name)
    with serving(models, folder) as server:
        yield server


@pytest.fixture(scope="module")
def document(every_kind: ServerProcess) -> dict[str, Any]:
    answer: dict[str, Any] = every_kind.get("/openapi.json").json()
    return answer


def test_the_document_is_valid(document: dict[str, Any]) -> None:
    validate(document)
    assert document["openapi"] == "3.1.0"
    assert document["info"]["version"] == __version__


def test_each_model_that_is_ready_has_an_address(
    every_kind: ServerProcess, document: dict[str, Any]
) -> None:
    models = every_kind.get("/api/models").json()["models"]
    states = {f"/api/{model['name']}": model["state"] for model in models}
    assert "failed" in states.values()
    for path, state in states.items():
        assert (path in document["paths"]) is (state == "ready")


def test_a_row_is_what_its_card_says(document: dict[str, Any]) -> None:
    content = document["paths"]["/api/mpg"]["post"]["requestBody"]["content"]
    assert set(content) == {"application/json", "text/csv", "multipart/form-data"}
    assert content["application/json"]["example"] == CAR
    row = document["components"]["schemas"]["mpg.input"]
    assert row["required"] == list(CAR)
    weight = {"type": "number", "minimum": 1755, "maximum": 4997, "x-unit": "lb"}
    assert weight.items() <= row["properties"]["weight"].items()
    # By its value or by its label.
    assert row["properties"]["origin"]["enum"] == [1, 2, 3, "USA", "Europe", "Japan"]


def examples(document: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Path, media type and body of each example of a request."""
    for path, item in document["paths"].items():
        for operation in item.values():
            content = operation.get("requestBody", {}).get("content", {})
            for media_type, media in content.items():
                if "example" in media:
                    yield path, media_type, media["example"]


def test_each_example_is_answered(every_kind: ServerProcess, document: dict[str, Any]) -> None:
    asked = set()
    for path, media_type, example in examples(document):
        if path.removeprefix("/api/") in ("endless", "hasty"):
            continue  # they write until they are stopped
        body: dict[str, Any] = {"content": example} if media_type == "text/csv" else {}
        answer = every_kind.post(
            path, **(body or {"json": example}), headers={"Content-Type": media_type}
        )
        assert answer.status_code == 200, (path, answer.text)
        asked.add((path, media_type))
    assert {("/api/mpg", "text/csv"), ("/api/two", "application/json")} <= asked


def test_programs_keep_the_document_until_it_changes(every_kind: ServerProcess) -> None:
    first = every_kind.get("/openapi.json")
    assert first.headers["Content-Type"] == "application/json"
    assert first.headers["Cache-Control"] == "no-cache"
    known = {"If-None-Match": first.headers["ETag"]}
    again = httpx.get(f"{every_kind.url}/openapi.json", headers=known)
    assert (again.status_code, again.content) == (304, b"")


def test_the_document_follows_the_models(tmp_path: Path, every_kind: ServerProcess) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "mpg").symlink_to(ROOT / "models" / "mpg")
    uploads = tmp_path / "uploads"
    uploads.mkdir()
    server = ServerProcess(tmp_path / "models", uploads)
    try:
        before = server.get("/openapi.json")
        ready = server.await_ready().get("/openapi.json")
    finally:
        server.stop()
    assert "/api/mpg" not in before.json()["paths"]
    assert "/api/mpg" in ready.json()["paths"]
    assert before.headers["ETag"] != ready.headers["ETag"]
    validate(before.json())


def test_what_is_answered_is_what_the_document_says(
    every_kind: ServerProcess, tmp_path: Path
) -> None:
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--no-color"),
        *("run", f"{every_kind.url}/openapi.json"),
        *("--checks", ",".join(CHECKS)),
        *("--phases", "examples,coverage,fuzzing", "--max-examples", "20", "--seed", "1"),
        *("--request-timeout", "60"),
        *("--exclude-path", "/api/endless", "--exclude-path", "/api/hasty"),
    ]
    environ = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "SCHEMATHESIS_HOOKS": "tests.http.schemathesis_hooks",
    }
    # It keeps what it finds in the current folder.
    done = subprocess.run(
        command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in every_kind.log()


def test_the_part_of_the_standard_protocols_is_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openapi, "PROTOCOLS", (openapi_native, openapi_protocols))
    made = openapi.document([])
    validate(made)
    assert "/v1/models/{name}/labels/{label}:predict" in made["paths"]
    assert "/v2/models/{name}/versions/{version}/infer" in made["paths"]
