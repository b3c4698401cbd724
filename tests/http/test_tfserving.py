"""TensorFlow Serving's REST API: the examples of its documentation, and what they leave open."""

from __future__ import annotations

import gzip
import json
import math
import re
import socket
import time
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.models import (
    save_caption_model,
    save_constant_model,
    save_half_plus_two,
    save_picture_model,
    save_slow_model,
    save_tagged_model,
    save_text_model,
)
from tests.support import ROOT, ServerProcess, picture, serving
from tests.unit.fixtures import fixture

# TensorFlow Serving's own, where it is at hand; else one that answers the same.
REAL_HALF = ROOT.parent / "shared" / "data" / "tfserving" / "half_plus_two"
LIMIT_MB = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tfserving")
    save_half_plus_two(folder / "own" / "00000123")
    if REAL_HALF.exists():
        (folder / "half_plus_two").symlink_to(REAL_HALF)
    else:
        (folder / "half_plus_two").symlink_to(folder / "own")
    save_tagged_model(folder / "tagged")
    save_caption_model(folder / "captions")
    save_picture_model(folder / "pictures.keras", rescales=False)
    save_text_model(folder / "text")
    (folder / "nan.keras").symlink_to(fixture("nan"))
    (folder / "words").symlink_to(fixture("tf1_table_savedmodel"))
    for version in (1, 2):
        save_constant_model(folder / "numbered" / str(version) / "model.keras", version)
    (folder / "numbered" / "3").mkdir()
    (folder / "numbered" / "3" / "model.keras").write_text("no model")
    (folder / "numbered" / "model.yaml").write_text(
        "task: tensor\nversions: all\naliases: {stable: 1, next: 3}\n"
    )
    (folder / "slow").mkdir()
    save_slow_model(folder / "slow", max_queue=2)
    (folder / "hasty").mkdir()
    save_slow_model(folder / "hasty", timeout_s=0.3)
    (folder / "broken.keras").write_text("no model")
    return folder


@pytest.fixture(scope="module")
def server(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    uploads = tmp_path_factory.mktemp("tfserving-uploads")
    with serving(folder, uploads, max_body_mb=LIMIT_MB) as server:
        yield server


def ask(server: ServerProcess, what: str, body: Any, status: int = 200) -> Any:
    """The answer to a POST below `/v1/models/`."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = server.post(f"/v1/models/{what}", content=content)
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["X-Request-ID"]
    return answer.json()


def refusal(server: ServerProcess, what: str, body: Any, status: int = 400) -> str:
    answer = ask(server, what, body, status)
    assert answer.keys() == {"error"}
    assert isinstance(answer["error"], str)
    return answer["error"]


def told(server: ServerProcess, path: str, status: int = 200) -> Any:
    answer = server.get(path)
    assert answer.status_code == status, answer.text
    return answer.json()


def b64(data: bytes) -> dict[str, str]:
    return {"b64": b64encode(data).decode()}


# --- its documentation ---------------------------------------------------------------------------

AVAILABLE = {
    "model_version_status": [
        {
            "version": "123",
            "state": "AVAILABLE",
            "status": {"error_code": "OK", "error_message": ""},
        }
    ]
}
HALF = pytest.mark.parametrize("half", ["half_plus_two", "own"])


@HALF
@pytest.mark.parametrize("version", ["", "/versions/123", "/versions/00000123"])
def test_status(server: ServerProcess, half: str, version: str) -> None:
    assert told(server, f"/v1/models/{half}{version}") == AVAILABLE


@HALF
@pytest.mark.parametrize("version", ["", "/versions/123"])
def test_predict(server: ServerProcess, half: str, version: str) -> None:
    rows = {"instances": [1.0, 2.0, 5.0]}
    assert ask(server, f"{half}{version}:predict", rows) == {"predictions": [2.5, 3.0, 4.5]}
    column = {"inputs": [1.0, 2.0, 5.0]}
    assert ask(server, f"{half}{version}:predict", column) == {"outputs": [2.5, 3.0, 4.5]}


@HALF
def test_predict_in_the_shape_of_the_signature(server: ServerProcess, half: str) -> None:
    predict = f"{half}:predict"
    answer = {"predictions": [[2.5], [3.0]]}
    assert ask(server, predict, {"instances": [[1], [2.0]]}) == answer
    assert ask(server, predict, {"instances": [{"x": [1]}, {"x": [2]}]}) == answer
    assert ask(server, predict, {"instances": [{"x": 1}]}) == {"predictions": [2.5]}
    columns = {"signature_name": "serving_default", "inputs": {"x": [[1], [2]]}}
    assert ask(server, predict, columns) == {"outputs": [[2.5], [3.0]]}


@HALF
def test_regress(server: ServerProcess, half: str) -> None:
    body = {"signature_name": "regress_x_to_y", "examples": [{"x": 1.0}, {"x": 2.0}]}
    assert ask(server, f"{half}:regress", body) == {"results": [2.5, 3.0]}
    body = {"signature_name": "regress_x_to_y2", "examples": [{"x": [80.0]}]}
    assert ask(server, f"{half}/versions/123:regress", body) == {"results": [43.0]}


@HALF
def test_classify(server: ServerProcess, half: str) -> None:
    body = {"signature_name": "classify_x_to_y", "examples": [{"x": 20.0}, {"x": 10.0}]}
    assert ask(server, f"{half}:classify", body) == {"results": [[["", 12.0]], [["", 7.0]]]}


@HALF
def test_context_is_part_of_every_example(server: ServerProcess, half: str) -> None:
    body = {
        "signature_name": "regress_x_to_y",
        "context": {"x": 8.0},
        "examples": [{}, {"x": 2.0}, {"other": "text"}],
    }
    assert ask(server, f"{half}:regress", body) == {"results": [6.0, 3.0, 6.0]}


@HALF
def test_metadata(server: ServerProcess, half: str) -> None:
    answer = told(server, f"/v1/models/{half}/metadata")
    assert answer == told(server, f"/v1/models/{half}/versions/123/metadata")
    assert answer["model_spec"] == {"name": half, "signature_name": "", "version": "123"}
    (definitions,) = answer["metadata"]["signature_def"].values()
    column = {
        "dim": [{"size": "-1", "name": ""}, {"size": "1", "name": ""}],
        "unknown_rank": False,
    }
    assert definitions["serving_default"] == {
        "inputs": {"x": {"dtype": "DT_FLOAT", "tensor_shape": column, "name": "x:0"}},
        "outputs": {"y": {"dtype": "DT_FLOAT", "tensor_shape": column, "name": "y:0"}},
        "method_name": "tensorflow/serving/predict",
        "defaults": {},
    }
    classify = definitions["classify_x_to_y"]
    assert classify["method_name"] == "tensorflow/serving/classify"
    assert classify["inputs"]["inputs"]["dtype"] == "DT_STRING"
    if half == "half_plus_two" and REAL_HALF.exists():
        anything = {"dim": [], "unknown_rank": True}
        assert classify["inputs"]["inputs"]["tensor_shape"] == anything


@pytest.mark.parametrize(
    ("address", "servable"),
    [
        ("half:predict", "Latest(half)"),
        ("half/versions/7:predict", "Specific(half, 7)"),
        ("own/versions/7:predict", "Specific(own, 7)"),
    ],
)
def test_models_and_versions_that_are_not_there(
    server: ServerProcess, address: str, servable: str
) -> None:
    error = refusal(server, address, {"instances": [1.0, 5.0]}, 404)
    assert error == f"Servable not found for request: {servable}"
    metadata = told(server, f"/v1/models/{address.removesuffix(':predict')}/metadata", 404)
    assert metadata == {"error": error}


def test_the_status_of_what_is_not_there(server: ServerProcess) -> None:
    error = {"error": "Could not find any versions of model half"}
    assert told(server, "/v1/models/half", 404) == error
    error = {"error": "Could not find version 7 of model own"}
    assert told(server, "/v1/models/own/versions/7", 404) == error


def test_a_list_of_scalars(server: ServerProcess) -> None:
    assert ask(server, "words:predict", {"instances": ["plum", "apple"]}) == {"predictions": [2, 0]}
    objects: list[Any] = [b64(b"plum"), {"words": "apple"}]
    assert "wrong type" in refusal(server, "words:predict", {"instances": objects})
    objects[0] = {"words": b64(b"plum")}
    assert ask(server, "words:predict", {"instances": objects}) == {"predictions": [2, 0]}


def test_three_inputs_and_four_outputs(server: ServerProcess) -> None:
    rows: list[dict[str, Any]] = [
        {"tag": "foo", "signal": [1, 2, 3, 4, 5], "sensor": [[1, 2], [3, 4]]},
        {"tag": b64(b"b\xfer"), "signal": [3, 4, 1, 2, 5], "sensor": [[4, 5], [6, 8]]},
    ]
    answers: list[dict[str, Any]] = [
        {
            "loud": "FOO",
            "raw_bytes": b64(b"foo\xff"),
            "total": 15.0,
            "turned": [[1, 3], [2, 4]],
        },
        {
            "loud": "B\ufffdR",
            "raw_bytes": b64(b"b\xfer\xff"),
            "total": 15.0,
            "turned": [[4, 6], [5, 8]],
        },
    ]
    assert ask(server, "tagged:predict", {"instances": rows}) == {"predictions": answers}
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    outputs = {name: [answer[name] for answer in answers] for name in answers[0]}
    assert ask(server, "tagged:predict", {"inputs": columns}) == {"outputs": outputs}
    # The real server looks for no others either.
    assert ask(server, "tagged:predict", {"inputs": {**columns, "more": 1}}) == {"outputs": outputs}


def test_images_and_captions(server: ServerProcess) -> None:
    body = {
        "signature_name": "classify_objects",
        "examples": [
            {"image": b64(b"image bytes"), "caption": "seaside"},
            {"image": b64(b"awesome image bytes"), "caption": ["mountains"]},
        ],
    }
    assert ask(server, "captions:classify", body) == {
        "results": [
            [["image bytes", 5.5], ["seaside", 3.5]],
            [["awesome image bytes", 9.5], ["mountains", 4.5]],
        ]
    }
    body = {"signature_name": "labels_only", "examples": [{"image": "é", "caption": "b"}]}
    assert ask(server, "captions:classify", body) == {"results": [[["é", 0.0], ["b", 0.0]]]}


def test_not_a_number_and_infinity(server: ServerProcess) -> None:
    body = b'{"instances": [NaN, Infinity, -Infinity, 1.0, -0.2]}'
    answer = server.post("/v1/models/own:predict", content=body)
    assert answer.text == '{"predictions":[NaN,Infinity,-Infinity,2.5,1.9]}\n'
    column = server.post("/v1/models/own:predict", content=body.replace(b"instances", b"inputs"))
    assert column.text == '{"outputs":[NaN,Infinity,-Infinity,2.5,1.9]}\n'
    body = b'{"signature_name": "regress_x_to_y", "examples": [{"x": NaN}, {"x": -Infinity}]}'
    answer = server.post("/v1/models/own:regress", content=body)
    assert answer.text == '{"results":[NaN,-Infinity]}\n'
    body = body.replace(b"regress_x", b"classify_x")
    answer = server.post("/v1/models/own:classify", content=body)
    assert answer.text == '{"results":[[["",NaN]],[["",-Infinity]]]}\n'
    one = {"tag": 'NaN \\"Infinity', "signal": [math.nan] * 5, "sensor": [[1, 2], [3, 4]]}
    (row,) = ask(server, "tagged:predict", {"instances": [one]})["predictions"]
    assert row["loud"] == 'NAN \\"INFINITY'
    assert math.isnan(row["total"])
    own = ask(server, "nan:predict", {"instances": [[-1.0]]})
    assert not np.isfinite(own["predictions"]).all()


# --- what it leaves open -------------------------------------------------------------------------


def test_list_of_models(server: ServerProcess, folder: Path) -> None:
    names = sorted(path.stem for path in folder.iterdir())
    assert told(server, "/v1/models") == {"models": names}


def test_a_model_that_failed(server: ServerProcess) -> None:
    (status,) = told(server, "/v1/models/broken")["model_version_status"]
    assert (status["version"], status["state"]) == ("1", "END")
    assert status["status"]["error_code"] == "UNKNOWN"
    assert status["status"]["error_message"]
    answer = server.post("/v1/models/broken:predict", json={"instances": [1]})
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert "failed to load" in answer.json()["error"]


def test_versions_and_labels(server: ServerProcess) -> None:
    statuses = told(server, "/v1/models/numbered")["model_version_status"]
    assert [(s["version"], s["state"]) for s in statuses] == [
        ("3", "END"),
        ("2", "AVAILABLE"),
        ("1", "AVAILABLE"),
    ]
    for part, version in (("versions/1", 1), ("versions/3", 3), ("labels/stable", 1)):
        (status,) = told(server, f"/v1/models/numbered/{part}")["model_version_status"]
        assert status == statuses[3 - version]
    for part, answer in (("", 2), ("/versions/1", 1), ("/versions/002", 2), ("/labels/stable", 1)):
        asked = ask(server, f"numbered{part}:predict", {"instances": [5.0]})
        assert asked == {"predictions": [[answer] * 4]}
        spec = told(server, f"/v1/models/numbered{part}/metadata")["model_spec"]
        assert spec["version"] == str(answer)
    for part in ("versions/3", "labels/next"):
        assert "failed to load" in refusal(server, f"numbered/{part}:predict", {}, 503)
    error = "Servable not found for request: Specific(numbered, 4)"
    assert refusal(server, "numbered/versions/4:predict", {}, 404) == error


@pytest.mark.parametrize("model", ["numbered", "own", "none"])
def test_labels_that_are_not_there(server: ServerProcess, model: str) -> None:
    error = "Unrecognized servable version label: 1st"
    assert refusal(server, f"{model}/labels/1st:predict", {"instances": [1]}) == error
    assert told(server, f"/v1/models/{model}/labels/1st", 400) == {"error": error}
    assert told(server, f"/v1/models/{model}/labels/1st/metadata", 400) == {"error": error}


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
def test_addresses_that_mean_nothing(server: ServerProcess, method: str, path: str) -> None:
    answer = httpx.request(method, server.url + path, json={"instances": [1]})
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
    server: ServerProcess, place: str, rest: str, allowed: str
) -> None:
    path = f"/v1/models/own{place}{rest}"
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "QUERY"):
        if method in allowed:
            continue
        answer = httpx.request(method, server.url + path)
        assert answer.status_code == 405
        assert ", ".join(sorted(answer.headers["Allow"].split(", "))) == allowed
        if method != "HEAD":
            words = f"{path} does not take {method}; it takes {allowed}"
            assert answer.json() == {"error": words}
    options = httpx.options(server.url + path)
    assert ", ".join(sorted(options.headers["Allow"].split(", "))) == allowed


BAD = {
    "JSON Parse error: The document is empty": [b"", b" \n"],
    "JSON Parse error: ": [
        b"instances = [1, 2]",
        b'{"instances": [1, 2}',
        b'{"instances": [nan]}',
        b'{"instances": [1NaN]}',
        b'{"instances": [-NaN]}',
        b'{"instances": [+Infinity]}',
        b'{"instances": [NaN, 1e999]}',
        b'{"instances": [1e999]}',
        b'{"instances": [NaN, "\\ud800"]}',
        b'{"instances": [NaN, "',
        b'{"instances": [NaN, "\\',
        b'{"instances": ["\xff"]}',
        b'{"instances": [NaN, ' + b"9" * 5000 + b"]}",
    ],
    "the body has lists or objects in more than 64 levels": [
        b'{"instances": ' + b"[" * 100_000,
        b'{"instances": NaN' + b"[" * 100_000,
    ],
    "Is not object": [b"[1, 2]", b"1", b"NaN", b"null"],
    "Missing 'inputs' or 'instances' key": [b"{}", b'{"instance": [1]}', b'{"examples": [1]}'],
    "only one of 'inputs' or 'instances'": [b'{"inputs": [1], "instances": [1]}'],
    "'instances' to be a list/array": [b'{"instances": 1}', b'{"instances": null}'],
    "No values in 'instances' array": [b'{"instances": []}'],
    "'signature_name' key must be a string value.": [b'{"signature_name": 100}'],
    'Serving signature name: "x" not found in signature def': [
        b'{"signature_name": "x", "instances": [1]}'
    ],
    "expected numbers (float32) of shape [any, 1]": [
        b'{"instances": [[1, 2], [3, 4]]}',
        b'{"instances": [[[1]]]}',
        b'{"inputs": 1}',
        b'{"inputs": {}}',
        b'{"inputs": {"y": [1]}}',
        b'{"instances": [{"x": {"b64": "AAAA"}}]}',
        b'{"instances": [[[]]]}',
        b'{"inputs": ' + b"[" * 60 + b"]" * 60 + b"}",
    ],
    "numbers (float32)": [
        b'{"instances": ["x", "y"]}',
        b'{"instances": [1, true]}',
        b'{"instances": [1, null]}',
        b'{"instances": [1, [2]]}',
        b'{"instances": [[1], 2]}',
        b'{"instances": [1, {"x": 2}]}',
    ],
    "values that fit float32": [
        b'{"instances": [3.5e38]}',
        b'{"instances": [NaN, -1e300]}',
        b'{"instances": [[1' + b"0" * 200 + b"]]}",
    ],
    "rows of different lengths": [b'{"instances": [[1], [2, 3]]}', b'{"inputs": [[1], [[2]]]}'],
    "no rows": [b'{"inputs": []}', b'{"inputs": {"x": []}}'],
    "instances[1]: not an object": [b'{"instances": [{"x": 1}, 2]}'],
    "instances[0].y: unexpected; instances[1].x: missing": [
        b'{"instances": [{"x": 1, "y": 2}, {}]}'
    ],
}


@pytest.mark.parametrize(
    ("body", "words"), [(body, words) for words, bodies in BAD.items() for body in bodies]
)
def test_bad_predictions(server: ServerProcess, body: bytes, words: str) -> None:
    error = refusal(server, "own:predict", body)
    if "instances[0].y" in words:  # both, each with what was expected
        for part in words.split("; "):
            assert part in error
    else:
        assert words in error


def test_numbers_at_the_edge(server: ServerProcess) -> None:
    largest = float(np.finfo(np.float32).max)
    assert ask(server, "own:predict", {"instances": [largest]})["predictions"][0] > 1e38
    assert ask(server, "own:predict", b'{"instances": [[[1]]]}', 400)


def test_bad_rows_of_several_inputs(server: ServerProcess) -> None:
    error = refusal(server, "tagged:predict", {"instances": [["foo", [1, 2]]]})
    assert "expecting list of objects as multiple input tensors required" in error
    error = refusal(server, "tagged:predict", {"inputs": ["foo"]})
    assert "expecting an object as multiple input tensors required" in error
    error = refusal(server, "tagged:predict", {"inputs": {"tag": [1], "sensor": [[[1.0]]]}})
    assert "tag[0]: wrong type, expected texts (string)" in error
    assert "sensor[0][0][0]: wrong type, expected whole numbers (int32)" in error
    assert "signal: missing" in error
    row = {"tag": "a", "signal": [1] * 5, "sensor": [[1, 2], [3, 4]]}
    columns = {"tag": ["a", "b"], "signal": [[1] * 5], "sensor": [[[1, 2], [3, 4]]]}
    assert "different numbers of rows" in refusal(server, "tagged:predict", {"inputs": columns})
    for text in ("a", "ab!=", "é"):
        error = refusal(server, "tagged:predict", {"instances": [{**row, "tag": {"b64": text}}]})
        assert error == "tag: a 'b64' is not base64"
    # As the real server: white space and missing padding do not matter.
    for text in ("YQ==", "YQ", " Y\nQ = ="):
        answer = ask(server, "tagged:predict", {"instances": [{**row, "tag": {"b64": text}}]})
        assert answer["predictions"][0]["loud"] == "A"
    bad: Any
    for bad in ({"b64": "YQ==", "more": 1}, {"b64": 1}, {}, 1, None, [b64(b"a")]):
        error = refusal(server, "tagged:predict", {"instances": [{**row, "tag": bad}]})
        assert re.match(r"tag(\[0\]: wrong type|: wrong shape)", error)


def test_signatures_that_count_no_rows(server: ServerProcess) -> None:
    body: dict[str, Any] = {"signature_name": "scale", "inputs": {"factor": 0.5, "pair": [3, -4]}}
    answer = {"factor": 0.5, "scaled": [1.5, -2.0]}
    assert ask(server, "tagged:predict", body) == {"outputs": answer}
    body["inputs"]["factor"] = math.nan
    outputs = ask(server, "tagged:predict", body)["outputs"]
    assert math.isnan(outputs["factor"])
    body["instances"] = [body.pop("inputs")]
    assert "factor: wrong shape" in refusal(server, "tagged:predict", body)
    turn: dict[str, Any] = {"signature_name": "turn", "instances": [[1, 2], [3, 4]]}
    assert ask(server, "tagged:predict", turn) == {"predictions": [[1, 3], [2, 4]]}
    turn["instances"].append([5, 6])
    assert "wrong shape" in refusal(server, "tagged:predict", turn)
    wave = {"signature_name": "wave", "instances": [1]}
    assert "wave: of type complex64, which JSON cannot carry" in refusal(
        server, "tagged:predict", wave
    )


def test_integers_keep_to_their_type(server: ServerProcess) -> None:
    turn = {"signature_name": "turn"}
    for square in ([[0, 255], [1, 2]], [[1, 1], [1, 1]]):
        answer = ask(server, "tagged:predict", {**turn, "inputs": square})
        assert answer == {"outputs": [list(row) for row in zip(*square, strict=True)]}
    for value in (256, -1, 2**70):
        error = refusal(server, "tagged:predict", {**turn, "inputs": [[value, 1], [1, 1]]})
        assert re.match(r"square(: out of range|\[0\]\[0\]: wrong type)", error)
    for wrong in (1.0, True, "1", None):
        error = refusal(server, "tagged:predict", {**turn, "inputs": [[wrong, 1], [1, 1]]})
        assert "square[0][0]: wrong type" in error


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "Expected regression signature method_name to be tensorflow/serving/regress. Was: "),
        ({"signature_name": "classify_x_to_y"}, "Was: tensorflow/serving/classify"),
        ({"signature_name": "y"}, "No signature was found with the name: y"),
        ({"signature_name": None}, "'signature_name' key must be a string value."),
        ({"examples": 1}, "Expecting 'examples' to be a list"),
        ({"examples": []}, "at least one object"),
        ({"examples": [1]}, "examples[0]: not an object"),
        ({"examples": [{}], "context": []}, "context: not an object"),
        ({"examples": [{"x": None}]}, "examples[0].x: wrong type"),
        ({"examples": [{"x": [[1.0]]}]}, "examples[0].x: wrong type"),
        ({"examples": [{"x": {"b64": 1}}]}, "examples[0].x: wrong type"),
        ({"examples": [{"x": {"b64": "!"}}]}, "a 'b64' is not base64"),
        ({"examples": [{"x": [1.0, 2]}]}, "examples[0].x: values of different types"),
        ({"examples": [{}, {"x": 2**63}]}, "examples[1].x: out of range"),
        ({"examples": [{"x": 3.5e38}]}, "examples[0].x: out of range"),
        ({"examples": [{"x": 1}]}, "the model refuses this input: "),  # int64, not float
        ({"examples": [{"x": True}]}, "the model refuses this input: "),
        ({"examples": [{"x": "1.0"}]}, "the model refuses this input: "),
        ({"examples": [{"x": [1.0, 2.0]}]}, "the model refuses this input: "),
    ],
)
def test_bad_examples(server: ServerProcess, body: dict[str, Any], words: str) -> None:
    if "examples" in body:
        body = {"signature_name": "regress_x_to_y", **body}
    assert words in refusal(server, "own:regress", body)


def test_features_at_the_edge(server: ServerProcess) -> None:
    body = {
        "signature_name": "regress_x_to_y",
        "examples": [
            {"x": 3.4e38, "far": 2**63 - 1, "near": [-(2**63), True], "none": [], "x2": []},
        ],
    }
    (value,) = ask(server, "own:regress", body)["results"]
    assert value == pytest.approx(1.7e38)


@pytest.mark.skipif(not REAL_HALF.exists(), reason="the real half_plus_two is not at hand")
def test_a_signature_whose_input_takes_no_examples(server: ServerProcess) -> None:
    body = {"signature_name": "regress_x2_to_y3", "examples": [{"x2": 1.0}]}
    error = refusal(server, "half_plus_two:regress", body)
    assert "inputs: wrong dtype: sent string" in error


def test_pictures(server: ServerProcess) -> None:
    (status,) = told(server, "/v1/models/pictures")["model_version_status"]
    assert status["state"] == "AVAILABLE"
    metadata = told(server, "/v1/models/pictures/metadata")["metadata"]["signature_def"]
    ((name, info),) = metadata["signature_def"]["serving_default"]["inputs"].items()
    assert [d["size"] for d in info["tensor_shape"]["dim"]] == ["-1", "8", "8", "3"]
    files = [picture(i, size=(8, 8), format="PNG") for i in range(2)]
    encoded = ask(server, "pictures:predict", {"instances": [b64(file) for file in files]})
    assert len(encoded["predictions"]) == 2
    named = {"instances": [{name: b64(file)} for file in files]}
    assert ask(server, "pictures:predict", named) == encoded
    column = {"inputs": {name: [b64(file) for file in files]}}
    assert ask(server, "pictures:predict", column) == {"outputs": encoded["predictions"]}
    error = refusal(server, "pictures:predict", {"instances": [b64(files[0]), b64(b"none")]})
    assert error.startswith(f"{name}[1]: not a picture")
    # What else it takes is told whatever was wrong.
    for wrong in ("cat.jpg", [1.0], {name: [["a"]]}, [[b64(files[0])]]):
        error = refusal(server, "pictures:predict", {"instances": [wrong]})
        assert ', or encoded pictures: {"b64": …} each' in error
    assert "pictures" not in refusal(server, "own:predict", {"instances": ["cat.jpg"]})
    mixed = {"instances": [b64(files[0]), np.zeros((8, 8, 3)).tolist()]}
    assert refusal(server, "pictures:predict", mixed)


def test_pictures_as_numbers(server: ServerProcess) -> None:
    rows = np.random.default_rng(1).random((32, 8, 8, 3)).astype(np.float32)
    body = {"instances": rows.tolist()}
    assert len(json.dumps(body)) > 64 * 1024, "read in a native thread"
    many = ask(server, "pictures:predict", body)["predictions"]
    assert len(many) == 32
    one = ask(server, "pictures:predict", {"instances": rows[:1].tolist()})["predictions"]
    assert one[0] == pytest.approx(many[0], abs=1e-6)
    body["instances"][31][7][7][2] = True
    name = told(server, "/v2/models/pictures")["inputs"][0]["name"]
    assert f"{name}[31][7][7][2]: wrong type" in refusal(server, "pictures:predict", body)
    body["instances"][31][7][7] = [1.0]
    assert "rows of different lengths" in refusal(server, "pictures:predict", body)


def test_texts_as_tokens(server: ServerProcess) -> None:
    answer = ask(server, "text:predict", {"instances": [[1, 2, 3], [4, 5, 6]]})
    assert np.sum(answer["predictions"], axis=-1) == pytest.approx(1, abs=1e-5)
    error = refusal(server, "text:predict", {"instances": [[1, 2, 100_000]]})
    assert "the model refuses this input" in error


def test_compressed_bodies(server: ServerProcess) -> None:
    body = json.dumps({"instances": [1.0, 2.0, 5.0]}).encode()
    answer = server.post(
        "/v1/models/own:predict",
        content=gzip.compress(body),
        headers={"Content-Encoding": "gzip"},
    )
    assert answer.json() == {"predictions": [2.5, 3.0, 4.5]}
    answer = server.post(
        "/v1/models/own:predict", content=body, headers={"Content-Encoding": "gzip"}
    )
    assert answer.status_code == 400
    assert "is not gzip" in answer.json()["error"]


def test_what_a_client_does_wrong_leaves_no_trace_in_the_log(server: ServerProcess) -> None:
    body = b'{"instances": ["x"]}'.ljust(100_000)  # read in a native thread
    assert "x[0]: wrong type" in refusal(server, "own:predict", body)
    assert "Traceback" not in server.log()


def test_bodies_at_the_limit(server: ServerProcess) -> None:
    body = b'{"instances": [1.0]}'.ljust(LIMIT_MB * 1_000_000)
    assert ask(server, "own:predict", body) == {"predictions": [2.5]}
    assert f"larger than {LIMIT_MB} MB" in refusal(server, "own:predict", body + b" ", 413)


def failed(server: ServerProcess) -> int:
    """Requests that the model's statistics count as failed."""
    (stats,) = told(server, "/v2/models/own/stats")["model_stats"]
    count: int = stats["inference_stats"]["fail"]["count"]
    return count


def test_bodies_that_never_reach_the_model_are_not_counted_as_its_errors(
    server: ServerProcess,
) -> None:
    before = failed(server)
    refusal(server, "own:predict", b" " * (LIMIT_MB * 1_000_000 + 1), 413)
    for coding, status in (("br", 415), ("gzip", 400)):
        headers = {"Content-Encoding": coding}
        answer = server.post("/v1/models/own:predict", content=b"neither", headers=headers)
        assert answer.status_code == status
    assert failed(server) == before
    refusal(server, "own:predict", b"no JSON")
    assert failed(server) == before + 1


def await_waiting(server: ServerProcess, count: int) -> None:
    until = time.monotonic() + 20
    while (waiting := server.get("/api/models/slow").json()["waiting"]) != count:
        assert time.monotonic() < until, f"{waiting} requests wait, not {count}"
        time.sleep(0.01)


def test_a_full_queue_refuses_before_it_reads(server: ServerProcess) -> None:
    with ThreadPoolExecutor(2) as pool:
        taken = [
            pool.submit(ask, server, "slow:predict", {"instances": [[200.0]]}) for _ in range(2)
        ]
        await_waiting(server, 2)
        refused = server.post("/v1/models/slow:predict", content=b"no JSON")
        assert refused.status_code == 503
        assert refused.headers["Retry-After"]
        assert "waiting" in refused.json()["error"]
        # The second, exactly at the limit, was let in.
        assert all(future.result() for future in taken)
    assert ask(server, "slow:predict", {"instances": [1.0]}) == {"predictions": [1.0]}


def test_a_client_that_hangs_up_leaves_the_queue(server: ServerProcess) -> None:
    body = b'{"instances": [[200.0]]}'
    head = (
        f"POST /v1/models/slow:predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(ask, server, "slow:predict", {"instances": [[200.0]]})
        await_waiting(server, 1)
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(head.encode() + body)
            await_waiting(server, 2)
        await_waiting(server, 1)
        assert running.result() == {"predictions": [[200.0]]}


def test_the_deadline_of_the_card(server: ServerProcess) -> None:
    assert "time" in refusal(server, "hasty:predict", {"instances": [[200.0]]}, 504)
    until = time.monotonic() + 60
    while server.post("/v1/models/hasty:predict", json={"instances": [1]}).status_code != 200:
        assert time.monotonic() < until, "the model is still busy"
