"""The OpenAPI document: valid, generated from the models, and true of the answers."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from openapi_spec_validator import validate

from app import __version__
from app.api.http.errors import STATUS
from tests.keys import Keyed
from tests.support import CAR, ROOT, ServerProcess, serving


@pytest.fixture(scope="module")
def every_kind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """The shipped models, and small ones of all tasks and shapes; `broken` fails to load."""
    from tests.browser.assorted import save_assorted  # Keras takes seconds to import
    from tests.kinds import save_kinds
    from tests.models import save_echo, save_half_plus_two, save_image_models
    from tests.tables import save_tables

    folder = tmp_path_factory.mktemp("every-kind")
    models = folder / "models"
    save_image_models(models)
    save_assorted(models)
    save_tables(models)
    save_kinds(models)
    save_half_plus_two(models / "half" / "3")
    save_echo(models / "texts", "BYTES")
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


def test_a_row_is_what_its_card_says(every_kind: ServerProcess, document: dict[str, Any]) -> None:
    content = document["paths"]["/api/mpg"]["post"]["requestBody"]["content"]
    assert set(content) == {"application/json", "text/csv", "multipart/form-data"}
    first, *_ = content["application/json"]["examples"].values()
    assert first["value"] == every_kind.get("/api/models/mpg/example").json()
    row = document["components"]["schemas"]["mpg.input"]
    assert row["required"] == list(CAR)
    weight = {"type": "number", "minimum": 1755, "maximum": 4997, "x-unit": "lb"}
    assert weight.items() <= row["properties"]["weight"].items()
    # By its value or by its label.
    assert row["properties"]["origin"]["enum"] == [1, 2, 3, "USA", "Europe", "Japan"]


def examples(document: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Path, media type and body of each example of a request. That of the same name is taken of
    each part of the path; where one has none, as labels have, there is nothing to ask."""
    for path, item in document["paths"].items():
        parts = {p["name"]: p.get("examples", {}) for p in item.get("parameters", [])}
        needed = re.findall(r"{(\w+)}", path)
        content = item.get("post", {}).get("requestBody", {}).get("content", {})
        for media_type, media in content.items():
            if "example" in media:
                yield path, media_type, media["example"]
            for name, example in media.get("examples", {}).items():
                if all(name in parts[part] for part in needed):
                    values = {part: parts[part][name]["value"] for part in needed}
                    yield path.format(**values), media_type, example["value"]


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
    assert {
        ("/api/mpg", "text/csv"),
        ("/api/cats-dogs", "application/json"),
        ("/predict", "application/json"),
        ("/api/two", "application/json"),
        ("/api/couple", "application/json"),
        ("/api/tables", "text/csv"),
        ("/api/ages", "application/json"),
        ("/v1/models/couple:predict", "application/json"),
        ("/v2/models/couple/infer", "application/json"),
        ("/v1/models/cats-dogs:predict", "application/json"),
        ("/v1/models/half/versions/3:classify", "application/json"),
        ("/v1/models/half:regress", "application/json"),
        ("/v2/models/two/infer", "application/json"),
        ("/v2/models/cats-dogs/versions/1/infer", "application/json"),
    } <= asked
    # Too long to be written out.
    assert ("/v2/models/big/infer", "application/json") not in asked


def example_of(response: dict[str, Any]) -> dict[str, Any]:
    example: dict[str, Any] = response["content"]["application/json"]["example"]
    return example


def test_each_status_has_an_example_of_its_own_error(document: dict[str, Any]) -> None:
    said = set()
    for name, response in document["components"]["responses"].items():
        error = example_of(response)["error"]
        if name.startswith(("v1.", "v2.")):
            said.add(error)
        else:
            assert name == f"Error{STATUS[error['code']]}"
            said.add(error["message"])
    for words in ("there is no model", "larger than", "is not supported", "on this request"):
        assert any(words in message for message in said)


@pytest.mark.parametrize(
    ("model", "body", "field"),
    [
        ("cats-dogs", b"no picture", "image"),
        ("mpg", {name: value for name, value in CAR.items() if name != "cylinders"}, "cylinders"),
        ("patents", {"words": "many"}, "words"),
        ("two", None, "body"),
    ],
)
def test_refusals_of_a_model_are_as_in_its_examples(
    every_kind: ServerProcess, document: dict[str, Any], model: str, body: Any, field: str
) -> None:
    responses = document["paths"][f"/api/{model}"]["post"]["responses"]
    example = example_of(responses["422"])
    assert [detail["field"] for detail in example["error"]["details"]] == [field]
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    media_type = "image/png" if isinstance(body, bytes) else "application/json"
    headers = {"Content-Type": media_type}
    answer = every_kind.post(f"/api/{model}", content=content, headers=headers)
    assert answer.status_code == 422
    assert answer.json()["error"] == example["error"]
    other = {"Content-Type": "text/csv" if media_type == "image/png" else "image/png"}
    answer = every_kind.post(f"/api/{model}", content=b"x", headers=other)
    assert answer.status_code == 415
    assert answer.json()["error"] == example_of(responses["415"])["error"]


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


def test_answers_that_are_hard_to_come_by_are_in_the_document(every_kind: ServerProcess) -> None:
    described = schemathesis.openapi.from_url(f"{every_kind.url}/openapi.json")

    def check(answer: httpx.Response, path: str) -> httpx.Response:
        assert answer.status_code == 200, answer.text
        described[path][answer.request.method].validate_response(answer)
        return answer

    failed = check(every_kind.get("/v1/models/broken"), "/v1/models/{name}")
    assert failed.json()["model_version_status"][0]["state"] == "END"
    # NaN, which is no JSON, no schema can speak of.
    sent = {"name": "x", "datatype": "FP32", "shape": [2, 1], "data": [2, 3]}
    best = {"name": "y", "parameters": {"classification": 1}}
    answer = every_kind.post(
        "/v2/models/half/infer", json={"id": "7", "inputs": [sent], "outputs": [best]}
    )
    check(answer, "/v2/models/{name}/infer")
    assert answer.json()["outputs"][0]["data"] == ["3.000000:0", "3.500000:0"]


def _hold_against_its_document(server: ServerProcess, folder: Path, *arguments: str) -> None:
    """Run Schemathesis, which keeps what it finds in `folder`."""
    config = (Path(__file__).parent / "schemathesis.toml").read_text()
    if examples := os.environ.get("SCHEMATHESIS_EXAMPLES"):
        config = re.sub(r"max-examples = \d+", f"max-examples = {int(examples)}", config)
    (folder / "schemathesis.toml").write_text(config)
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--no-color"),
        *("run", f"{server.url}/openapi.json", *arguments),
    ]
    environ = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "SCHEMATHESIS_HOOKS": "tests.http.schemathesis_hooks",
    }
    done = subprocess.run(
        command, cwd=folder, env=environ, capture_output=True, text=True, timeout=3500
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in server.log()


# A long run has 120 examples an operation: SCHEMATHESIS_EXAMPLES=120.
@pytest.mark.timeout(3600)
def test_what_is_answered_is_what_the_document_says(
    every_kind: ServerProcess, tmp_path: Path
) -> None:
    _hold_against_its_document(every_kind, tmp_path)


@pytest.mark.timeout(3600)
def test_no_address_is_answered_without_the_key_that_its_document_asks_for(
    keyed: Keyed, tmp_path: Path
) -> None:
    authorized = f"Authorization: Bearer {keyed.keys['operator']}"
    _hold_against_its_document(
        *(keyed.server, tmp_path, "-H", authorized),
        *("--checks", "ignored_auth,status_code_conformance,not_a_server_error"),
        # What is in the body does not matter to the key.
        *("--phases", "examples,fuzzing", "--max-examples", "2"),
    )
