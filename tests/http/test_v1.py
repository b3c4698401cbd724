"""TensorFlow Serving's REST API: the examples of its documentation, and further signatures."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import numpy as np
import pytest

from tests.support import ServerProcess, picture
from tests.v1 import REAL_HALF, ask, b64, got, refusal

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
def test_status(v1: ServerProcess, half: str, version: str) -> None:
    assert got(v1, f"/v1/models/{half}{version}") == AVAILABLE


@HALF
@pytest.mark.parametrize("version", ["", "/versions/123"])
def test_predict(v1: ServerProcess, half: str, version: str) -> None:
    rows = {"instances": [1.0, 2.0, 5.0]}
    assert ask(v1, f"{half}{version}:predict", rows) == {"predictions": [2.5, 3.0, 4.5]}
    column = {"inputs": [1.0, 2.0, 5.0]}
    assert ask(v1, f"{half}{version}:predict", column) == {"outputs": [2.5, 3.0, 4.5]}


@HALF
def test_predict_in_the_shape_of_the_signature(v1: ServerProcess, half: str) -> None:
    predict = f"{half}:predict"
    answer = {"predictions": [[2.5], [3.0]]}
    assert ask(v1, predict, {"instances": [[1], [2.0]]}) == answer
    assert ask(v1, predict, {"instances": [{"x": [1]}, {"x": [2]}]}) == answer
    assert ask(v1, predict, {"instances": [{"x": 1}]}) == {"predictions": [2.5]}
    columns = {"signature_name": "serving_default", "inputs": {"x": [[1], [2]]}}
    assert ask(v1, predict, columns) == {"outputs": [[2.5], [3.0]]}


@HALF
def test_regress(v1: ServerProcess, half: str) -> None:
    body = {"signature_name": "regress_x_to_y", "examples": [{"x": 1.0}, {"x": 2.0}]}
    assert ask(v1, f"{half}:regress", body) == {"results": [2.5, 3.0]}
    body = {"signature_name": "regress_x_to_y2", "examples": [{"x": [80.0]}]}
    assert ask(v1, f"{half}/versions/123:regress", body) == {"results": [43.0]}


@HALF
def test_classify(v1: ServerProcess, half: str) -> None:
    body = {"signature_name": "classify_x_to_y", "examples": [{"x": 20.0}, {"x": 10.0}]}
    assert ask(v1, f"{half}:classify", body) == {"results": [[["", 12.0]], [["", 7.0]]]}


@HALF
def test_context_is_part_of_every_example(v1: ServerProcess, half: str) -> None:
    body = {
        "signature_name": "regress_x_to_y",
        "context": {"x": 8.0},
        "examples": [{}, {"x": 2.0}, {"other": "text"}],
    }
    assert ask(v1, f"{half}:regress", body) == {"results": [6.0, 3.0, 6.0]}


@HALF
def test_metadata(v1: ServerProcess, half: str) -> None:
    answer = got(v1, f"/v1/models/{half}/metadata")
    assert answer == got(v1, f"/v1/models/{half}/versions/123/metadata")
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
    v1: ServerProcess, address: str, servable: str
) -> None:
    error = refusal(v1, address, {"instances": [1.0, 5.0]}, 404)
    assert error == f"Servable not found for request: {servable}"
    metadata = got(v1, f"/v1/models/{address.removesuffix(':predict')}/metadata", 404)
    assert metadata == {"error": error}


def test_the_status_of_what_is_not_there(v1: ServerProcess) -> None:
    error = {"error": "Could not find any versions of model half"}
    assert got(v1, "/v1/models/half", 404) == error
    error = {"error": "Could not find version 7 of model own"}
    assert got(v1, "/v1/models/own/versions/7", 404) == error


def test_a_list_of_scalars(v1: ServerProcess) -> None:
    assert ask(v1, "words:predict", {"instances": ["plum", "apple"]}) == {"predictions": [2, 0]}
    objects: list[Any] = [b64(b"plum"), {"words": "apple"}]
    assert "wrong type" in refusal(v1, "words:predict", {"instances": objects})
    objects[0] = {"words": b64(b"plum")}
    assert ask(v1, "words:predict", {"instances": objects}) == {"predictions": [2, 0]}


def test_three_inputs_and_four_outputs(v1: ServerProcess) -> None:
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
    assert ask(v1, "tagged:predict", {"instances": rows}) == {"predictions": answers}
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    outputs = {name: [answer[name] for answer in answers] for name in answers[0]}
    assert ask(v1, "tagged:predict", {"inputs": columns}) == {"outputs": outputs}
    # The real server looks for no others either.
    assert ask(v1, "tagged:predict", {"inputs": {**columns, "more": 1}}) == {"outputs": outputs}


def test_images_and_captions(v1: ServerProcess) -> None:
    body = {
        "signature_name": "classify_objects",
        "examples": [
            {"image": b64(b"image bytes"), "caption": "seaside"},
            {"image": b64(b"awesome image bytes"), "caption": ["mountains"]},
        ],
    }
    assert ask(v1, "captions:classify", body) == {
        "results": [
            [["image bytes", 5.5], ["seaside", 3.5]],
            [["awesome image bytes", 9.5], ["mountains", 4.5]],
        ]
    }
    body = {"signature_name": "labels_only", "examples": [{"image": "é", "caption": "b"}]}
    assert ask(v1, "captions:classify", body) == {"results": [[["é", 0.0], ["b", 0.0]]]}


def test_not_a_number_and_infinity(v1: ServerProcess) -> None:
    body = b'{"instances": [NaN, Infinity, -Infinity, 1.0, -0.2]}'
    answer = v1.post("/v1/models/own:predict", content=body)
    assert answer.text == '{"predictions":[NaN,Infinity,-Infinity,2.5,1.9]}\n'
    column = v1.post("/v1/models/own:predict", content=body.replace(b"instances", b"inputs"))
    assert column.text == '{"outputs":[NaN,Infinity,-Infinity,2.5,1.9]}\n'
    body = b'{"signature_name": "regress_x_to_y", "examples": [{"x": NaN}, {"x": -Infinity}]}'
    answer = v1.post("/v1/models/own:regress", content=body)
    assert answer.text == '{"results":[NaN,-Infinity]}\n'
    body = body.replace(b"regress_x", b"classify_x")
    answer = v1.post("/v1/models/own:classify", content=body)
    assert answer.text == '{"results":[[["",NaN]],[["",-Infinity]]]}\n'
    one = {"tag": 'NaN \\"Infinity', "signal": [math.nan] * 5, "sensor": [[1, 2], [3, 4]]}
    (row,) = ask(v1, "tagged:predict", {"instances": [one]})["predictions"]
    assert row["loud"] == 'NAN \\"INFINITY'
    assert math.isnan(row["total"])
    own = ask(v1, "nan:predict", {"instances": [[-1.0]]})
    assert not np.isfinite(own["predictions"]).all()


def test_signatures_that_count_no_rows(v1: ServerProcess) -> None:
    body: dict[str, Any] = {"signature_name": "scale", "inputs": {"factor": 0.5, "pair": [3, -4]}}
    answer = {"factor": 0.5, "scaled": [1.5, -2.0]}
    assert ask(v1, "tagged:predict", body) == {"outputs": answer}
    body["inputs"]["factor"] = math.nan
    outputs = ask(v1, "tagged:predict", body)["outputs"]
    assert math.isnan(outputs["factor"])
    body["instances"] = [body.pop("inputs")]
    assert "factor: wrong shape" in refusal(v1, "tagged:predict", body)
    turn: dict[str, Any] = {"signature_name": "turn", "instances": [[1, 2], [3, 4]]}
    assert ask(v1, "tagged:predict", turn) == {"predictions": [[1, 3], [2, 4]]}
    turn["instances"].append([5, 6])
    assert "wrong shape" in refusal(v1, "tagged:predict", turn)
    wave = {"signature_name": "wave", "instances": [1]}
    assert "wave: of type complex64, which JSON cannot carry" in refusal(v1, "tagged:predict", wave)


def test_integers_keep_to_their_type(v1: ServerProcess) -> None:
    turn = {"signature_name": "turn"}
    for square in ([[0, 255], [1, 2]], [[1, 1], [1, 1]]):
        answer = ask(v1, "tagged:predict", {**turn, "inputs": square})
        assert answer == {"outputs": [list(row) for row in zip(*square, strict=True)]}
    for value in (256, -1, 2**70):
        error = refusal(v1, "tagged:predict", {**turn, "inputs": [[value, 1], [1, 1]]})
        assert re.match(r"square(: out of range|\[0\]\[0\]: wrong type)", error)
    for wrong in (1.0, True, "1", None):
        error = refusal(v1, "tagged:predict", {**turn, "inputs": [[wrong, 1], [1, 1]]})
        assert "square[0][0]: wrong type" in error


def test_pictures(v1: ServerProcess) -> None:
    (status,) = got(v1, "/v1/models/pictures")["model_version_status"]
    assert status["state"] == "AVAILABLE"
    metadata = got(v1, "/v1/models/pictures/metadata")["metadata"]["signature_def"]
    ((name, info),) = metadata["signature_def"]["serving_default"]["inputs"].items()
    assert [d["size"] for d in info["tensor_shape"]["dim"]] == ["-1", "8", "8", "3"]
    files = [picture(i, size=(8, 8), format="PNG") for i in range(2)]
    encoded = ask(v1, "pictures:predict", {"instances": [b64(file) for file in files]})
    assert len(encoded["predictions"]) == 2
    named = {"instances": [{name: b64(file)} for file in files]}
    assert ask(v1, "pictures:predict", named) == encoded
    column = {"inputs": {name: [b64(file) for file in files]}}
    assert ask(v1, "pictures:predict", column) == {"outputs": encoded["predictions"]}
    urls = [f"data:image/png;base64,{b64(file)['b64']}" for file in files]
    for instances in (urls, [{name: url} for url in urls], [{"b64": urls[0]}, urls[1]]):
        assert ask(v1, "pictures:predict", {"instances": instances}) == encoded
    assert ask(v1, "pictures:predict", {"inputs": urls}) == {"outputs": encoded["predictions"]}
    error = refusal(v1, "pictures:predict", {"instances": ["data:image/png,a"]})
    assert error == f"{name}: a data URL is not base64"
    error = refusal(v1, "pictures:predict", {"instances": [b64(files[0]), b64(b"none")]})
    assert error.startswith(f"{name}[1]: not a picture")
    # The error lists what it takes, whatever was wrong.
    for wrong in ("cat.jpg", [1.0], {name: [["a"]]}, [[b64(files[0])]]):
        error = refusal(v1, "pictures:predict", {"instances": [wrong]})
        assert ', or encoded pictures: {"b64": …} or "data:…" each' in error
    assert "pictures" not in refusal(v1, "own:predict", {"instances": ["cat.jpg"]})
    mixed = {"instances": [b64(files[0]), np.zeros((8, 8, 3)).tolist()]}
    assert refusal(v1, "pictures:predict", mixed)


def test_pictures_as_numbers(v1: ServerProcess) -> None:
    rows = np.random.default_rng(1).random((32, 8, 8, 3)).astype(np.float32)
    body = {"instances": rows.tolist()}
    assert len(json.dumps(body)) > 64 * 1024, "read in a native thread"
    many = ask(v1, "pictures:predict", body)["predictions"]
    assert len(many) == 32
    one = ask(v1, "pictures:predict", {"instances": rows[:1].tolist()})["predictions"]
    assert one[0] == pytest.approx(many[0], abs=1e-6)
    body["instances"][31][7][7][2] = True
    name = got(v1, "/v2/models/pictures")["inputs"][0]["name"]
    assert f"{name}[31][7][7][2]: wrong type" in refusal(v1, "pictures:predict", body)
    body["instances"][31][7][7] = [1.0]
    assert "rows of different lengths" in refusal(v1, "pictures:predict", body)


def test_texts_as_tokens(v1: ServerProcess) -> None:
    answer = ask(v1, "text:predict", {"instances": [[1, 2, 3], [4, 5, 6]]})
    assert np.sum(answer["predictions"], axis=-1) == pytest.approx(1, abs=1e-5)
    error = refusal(v1, "text:predict", {"instances": [[1, 2, 100_000]]})
    assert "the model refuses this input" in error
