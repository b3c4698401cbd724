"""TensorFlow Serving's REST API: models, versions, labels and methods."""

from __future__ import annotations

import httpx
import pytest

from tests.support import ServerProcess
from tests.v1 import MODELS, ask, got, refusal


def test_list_of_models(v1: ServerProcess) -> None:
    assert got(v1, "/v1/models") == {"models": MODELS}


def test_a_model_that_failed(v1: ServerProcess) -> None:
    (status,) = got(v1, "/v1/models/broken")["model_version_status"]
    assert (status["version"], status["state"]) == ("1", "END")
    assert status["status"]["error_code"] == "UNKNOWN"
    assert status["status"]["error_message"]
    answer = v1.post("/v1/models/broken:predict", json={"instances": [1]})
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert "failed to load" in answer.json()["error"]


def test_versions_and_labels(v1: ServerProcess) -> None:
    statuses = got(v1, "/v1/models/numbered")["model_version_status"]
    assert [(s["version"], s["state"]) for s in statuses] == [
        ("3", "END"),
        ("2", "AVAILABLE"),
        ("1", "AVAILABLE"),
    ]
    for part, version in (("versions/1", 1), ("versions/3", 3), ("labels/stable", 1)):
        (status,) = got(v1, f"/v1/models/numbered/{part}")["model_version_status"]
        assert status == statuses[3 - version]
    for part, answer in (("", 2), ("/versions/1", 1), ("/versions/002", 2), ("/labels/stable", 1)):
        asked = ask(v1, f"numbered{part}:predict", {"instances": [5.0]})
        assert asked == {"predictions": [[answer] * 4]}
        spec = got(v1, f"/v1/models/numbered{part}/metadata")["model_spec"]
        assert spec["version"] == str(answer)
    for part in ("versions/3", "labels/next"):
        assert "failed to load" in refusal(v1, f"numbered/{part}:predict", {}, 503)
    error = "Servable not found for request: Specific(numbered, 4)"
    assert refusal(v1, "numbered/versions/4:predict", {}, 404) == error


@pytest.mark.parametrize("model", ["numbered", "own", "none"])
def test_labels_that_are_not_there(v1: ServerProcess, model: str) -> None:
    error = "Unrecognized servable version label: 1st"
    assert refusal(v1, f"{model}/labels/1st:predict", {"instances": [1]}) == error
    assert got(v1, f"/v1/models/{model}/labels/1st", 400) == {"error": error}
    assert got(v1, f"/v1/models/{model}/labels/1st/metadata", 400) == {"error": error}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1"),
        ("GET", "/v1/foo"),
        ("POST", "/v1/foo"),
        ("OPTIONS", "/v1/models/own:explain"),
        ("GET", "/v1/models/debug/own"),
        ("GET", "/v1/models/own/version/123:predict"),
        ("POST", "/v1/models/own:explain"),
        ("POST", "/v1/models/own/versions/HELLO:regress"),
        ("POST", "/v1/models/own/versions/1234567890123456789:regress"),
        ("POST", "/v1/models/own/versions/123/labels/stable:regress"),
    ],
)
def test_addresses_that_mean_nothing(v1: ServerProcess, method: str, path: str) -> None:
    answer = httpx.request(method, v1.url + path, json={"instances": [1]})
    assert answer.status_code == 400
    assert answer.json() == {"error": f"Malformed request: {method} {path}"}


@pytest.mark.parametrize("place", ["", "/versions/123", "/labels/stable"])
@pytest.mark.parametrize(
    ("rest", "allowed"),
    [
        ("", "GET, HEAD, OPTIONS"),
        ("/metadata", "GET, HEAD, OPTIONS"),
        (":predict", "OPTIONS, POST"),
        (":classify", "OPTIONS, POST"),
        (":regress", "OPTIONS, POST"),
    ],
)
def test_methods_that_an_address_does_not_take(
    v1: ServerProcess, place: str, rest: str, allowed: str
) -> None:
    path = f"/v1/models/own{place}{rest}"
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "QUERY"):
        if method in allowed:
            continue
        answer = httpx.request(method, v1.url + path)
        assert answer.status_code == 405
        assert ", ".join(sorted(answer.headers["Allow"].split(", "))) == allowed
        if method != "HEAD":
            words = f"{path} does not take {method}; it takes {allowed}"
            assert answer.json() == {"error": words}
    options = httpx.options(v1.url + path)
    assert ", ".join(sorted(options.headers["Allow"].split(", "))) == allowed
