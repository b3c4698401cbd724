"""Detectors, and models of a picture with fields beside it, over HTTP: native, v1, v2, the page,
OpenAPI, the command line. What they answer is compared with the model's raw tensors."""

from __future__ import annotations

import csv
import io
import json
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import validate

from tests.answers import predictions
from tests.command_line import CommandLine
from tests.detectors import Box, drawing, overlap, save_detectors
from tests.kinds import grey
from tests.support import ServerProcess, serving

RED: tuple[Box, str] = ((0.25, 0.2, 0.5, 0.5), "red")
BLUE: tuple[Box, str] = ((0.6, 0.1, 0.9, 0.9), "blue")
SIDES = ("xmin", "ymin", "xmax", "ymax")
# Three sizes: as it is, on its side, and one that is reduced for the model.
SIZES = [(400, 100), (100, 400), (3000, 1000)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_detectors(tmp_path_factory.mktemp("detectors") / "models")


@pytest.fixture(scope="module")
def server(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with serving(folder, tmp_path_factory.mktemp("detectors-uploads")) as found:
        yield found


def check(found: list[dict[str, Any]], size: tuple[int, int], *drawn: tuple[Box, str]) -> None:
    """What the model that finds red and blue answers to a drawing."""
    labels = {"red": ("1", 0.75), "blue": ("2", 0.625)}
    assert [(each["label"], each["score"]) for each in found] == [labels[c] for _, c in drawn]
    # Of a picture that is reduced, edges are as coarse as its pixels.
    coarse = 0.01 + 1.5 * max(0, max(size) / 1024 - 1)
    for each, (box, _) in zip(found, drawn, strict=True):
        wanted = np.multiply(box, [*size, *size])
        assert [each["box"][side] for side in SIDES] == pytest.approx(wanted.tolist(), abs=coarse)


# --- the layouts


@pytest.mark.parametrize("size", SIZES)
def test_a_detector_without_a_card_answers_in_pixels_of_the_picture(
    server: ServerProcess, size: tuple[int, int]
) -> None:
    for drawn in ([RED, BLUE], [BLUE], []):
        (found,) = predictions(server.post("/api/ssd", content=drawing(size, *drawn)))
        check(found["boxes"], size, *drawn)


def test_pictures_of_different_sizes_in_one_request(server: ServerProcess) -> None:
    drawn = [[RED], [BLUE], [RED, BLUE]]
    pictures = [drawing(size, *boxes) for size, boxes in zip(SIZES, drawn, strict=True)]
    body = [{"image": b64encode(data).decode()} for data in pictures]
    files = [("image", (f"{i}.png", data)) for i, data in enumerate(pictures)]
    for answer in (server.post("/api/ssd", json=body), server.post("/api/ssd", files=files)):
        for found, size, boxes in zip(predictions(answer), SIZES, drawn, strict=True):
            check(found["boxes"], size, *boxes)


def test_a_dictionary_of_boxes_and_its_raw_tensors(server: ServerProcess) -> None:
    """In pixels of an input of 64 x 32, from pictures of another size."""
    size = (200, 300)
    data = drawing(size, ((0, 0, 1, 0.5), "white"), ((0.5, 0.5, 1, 1), "blue"))
    raw = v2_raw(server, "dictionary", "images", data)
    (found,) = predictions(server.post("/api/dictionary", content=data))
    expected = []
    for box, score, number in zip(
        raw["boxes"][0], raw["confidence"][0], raw["classes"][0], strict=True
    ):
        corners = (box * np.tile([200 / 64, 300 / 32], 2)).clip(0, [*size, *size])
        if score >= 0.5 and corners[2] > corners[0] and corners[3] > corners[1]:
            expected.append((str(int(number)), float(score), corners))
    expected.sort(key=lambda each: -each[1])
    assert expected, "the picture shows something"
    compare(found["boxes"], expected, "score")


def test_one_tensor_of_boxes_and_its_raw_numbers(server: ServerProcess) -> None:
    """Centres and sizes relative to an input of 64 x 64, in whose middle the picture lies."""
    size = (400, 100)
    data = drawing(size, RED, BLUE)
    (raw,) = v2_raw(server, "grid", "picture", data).values()
    sure = 1 / (1 + np.exp(-raw[0, :, 4:].astype(np.float64)))
    scores = sure[:, :1] * sure[:, 1:]
    best: list[tuple[str, float, Any]] = []
    for i in np.argsort(-scores.max(1), kind="stable"):
        x, y, width, height = raw[0, i, :4].astype(np.float64) * 64
        corners = np.array([x - width / 2, y - height / 2, x + width / 2, y + height / 2])
        label = ["cat", "dog"][int(scores[i].argmax())]
        if scores[i].max() >= 0.4 and all(
            other != label or overlap(corners, box) <= 0.3 for other, _, box in best
        ):
            best.append((label, float(scores[i].max()), corners))
    # The picture fills the rows from 24 to 40.
    moved = [
        (label, score, ((box - [0, 24, 0, 24]) * (400 / 64)).clip(0, [*size, *size]))
        for label, score, box in best
    ]
    expected = [each for each in moved if (each[2][2:] > each[2][:2]).all()][:5]
    assert len(expected) > 1, "the picture shows something"
    (found,) = predictions(server.post("/api/grid", content=data))
    compare(found["things"], expected, "probability")


def compare(found: list[dict[str, Any]], expected: list[tuple[str, float, Any]], key: str) -> None:
    assert [each["label"] for each in found] == [label for label, _, _ in expected]
    for each, (_, score, corners) in zip(found, expected, strict=True):
        assert each[key] == pytest.approx(score, abs=2e-6)
        assert [each["box"][side] for side in SIDES] == pytest.approx(corners.tolist(), abs=0.02)


def v2_raw(server: ServerProcess, model: str, name: str, data: bytes) -> dict[str, Any]:
    """The tensors that a model answers to an encoded picture."""
    one: dict[str, Any] = {"name": name, "datatype": "BYTES", "shape": [1]}
    one |= {"parameters": {"content_type": "base64"}, "data": [b64encode(data).decode()]}
    answer = server.post(f"/v2/models/{model}/infer", json={"inputs": [one]})
    assert answer.status_code == 200, answer.text
    return {
        out["name"]: np.array(out["data"], float).reshape(out["shape"])
        for out in answer.json()["outputs"]
    }


# --- the standard protocols


@pytest.mark.parametrize("form", ["encoded", "tensor"])
def test_v1_and_v2_answer_the_raw_tensors(server: ServerProcess, form: str) -> None:
    data = drawing((40, 10), RED, BLUE)
    pixels = np.zeros((1, 10, 40, 3), int)
    pixels[0, 2:5, 10:20, 0] = 255
    pixels[0, 1:9, 24:36, 2] = 255
    value: Any = [{"b64": b64encode(data).decode()}] if form == "encoded" else pixels.tolist()
    answer = server.post("/v1/models/ssd:predict", json={"inputs": {"input_tensor": value}})
    assert answer.status_code == 200, answer.text
    outputs = answer.json()["outputs"]
    boxes = [[0.2, 0.25, 0.5, 0.5], [0.1, 0.6, 0.9, 0.9]]
    np.testing.assert_allclose(outputs["detection_boxes"][0][:2], boxes, rtol=1e-6)
    assert outputs["detection_scores"][0][:3] == [0.75, 0.625, 0.0]
    assert outputs["detection_classes"][0][:2] == [1.0, 2.0]
    assert outputs["num_detections"] == [2.0]
    assert {*outputs} > {"raw_detection_boxes"}
    if form == "encoded":
        raw = v2_raw(server, "ssd", "input_tensor", data)
    else:
        one = {"name": "input_tensor", "datatype": "UINT8", "shape": [1, 10, 40, 3]}
        body = {"inputs": [{**one, "data": pixels.tolist()}]}
        found = server.post("/v2/models/ssd/infer", json=body).json()["outputs"]
        raw = {out["name"]: np.reshape(np.array(out["data"], float), out["shape"]) for out in found}
    for name, array in raw.items():
        wanted = np.array(outputs[name], float)
        np.testing.assert_array_equal(array, wanted)


def test_pictures_of_different_sizes_are_no_one_tensor(server: ServerProcess) -> None:
    data = [b64encode(drawing(size)).decode() for size in SIZES]
    one: dict[str, Any] = {"name": "input_tensor", "datatype": "BYTES", "shape": [3], "data": data}
    one["parameters"] = {"content_type": "base64"}
    answer = server.post("/v2/models/ssd/infer", json={"inputs": [one]})
    assert answer.status_code == 400
    assert "pictures of different sizes need a request each" in answer.json()["error"]
    # Of one size, each is a run of its own.
    same = [b64encode(drawing((40, 10), boxes)).decode() for boxes in (RED, BLUE)]
    one |= {"shape": [2], "data": same}
    wanted = [{"name": "detection_classes"}, {"name": "num_detections"}]
    answer = server.post("/v2/models/ssd/infer", json={"inputs": [one], "outputs": wanted})
    classes, count = answer.json()["outputs"]
    assert [classes["data"][0], classes["data"][10]] == [1, 2]
    assert count["data"] == [1, 1]


# --- descriptions


def test_a_detector_is_described_by_its_kinds(server: ServerProcess) -> None:
    about = server.get("/api/models/ssd").json()
    assert about["task"] is None
    assert about["inputs"] == {
        "input_tensor": {
            "kind": "picture",
            "size": "own",
            "max_side": 1024,
            "color": "rgb",
            "scale": "none",
            "resize": "stretch",
        }
    }
    assert about["outputs"] == {
        "boxes": {
            "kind": "boxes",
            "labels": None,
            "number": "score",
            "threshold": 0.5,
            "top": 100,
            "overlap": None,
            "format": "yxyx",
            "relative": True,
            "picture": "input_tensor",
        }
    }


def test_the_document_is_valid_and_true(server: ServerProcess) -> None:
    document = server.get("/openapi.json").json()
    validate(document)
    schemas = document["components"]["schemas"]

    def fits(value: Any, schema: dict[str, Any]) -> None:
        OAS31Validator({**schema, "components": document["components"]}).validate(value)

    for name in ("ssd", "dictionary", "grid"):
        answer = server.post(f"/api/{name}", content=drawing((400, 100), RED, BLUE))
        operation = document["paths"][f"/api/{name}"]["post"]
        fits(
            answer.json(),
            operation["responses"]["200"]["content"]["application/json"]["schema"],
        )
        fits(server.get(f"/api/models/{name}").json(), schemas["Model"])


# --- the page without scripts, and the command line


def test_the_page_lists_the_boxes(server: ServerProcess) -> None:
    files = {"image": ("a.png", drawing((400, 100), RED, BLUE))}
    page = server.post("/models/ssd", files=files)
    assert page.status_code == 200
    for words in ("0.75", "100, 20 to 200, 50", "240, 10 to 360, 90"):
        assert words in page.text
    files = {"image": ("a.png", drawing((400, 100)))}
    assert "No boxes" in server.post("/models/ssd", files=files).text


def test_predict_prints_the_boxes(command_line: CommandLine, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(drawing((400, 100), RED, BLUE))
    run = command_line.run(folder, "predict", "ssd", str(tmp_path / "a.png"), "--json")
    assert run.returncode == 0, run.stderr
    (found,) = json.loads(run.stdout)["predictions"]
    check(found["boxes"], (400, 100), RED, BLUE)
    run = command_line.run(folder, "predict", "ssd", str(tmp_path / "a.png"), "--csv")
    (line,) = csv.DictReader(io.StringIO(run.stdout))
    assert line["boxes"] == "1 0.75 (100, 20 to 200, 50); 2 0.625 (240, 10 to 360, 90)"


# --- fields beside a picture

FACE = grey(51)
FACTS = {"height": 170, "smoker": "yes"}


def check_person(prediction: dict[str, Any], height: float = 170, smoker: int = 1) -> None:
    assert [*prediction] == ["age", "gender"]
    assert prediction["age"] == pytest.approx(100 * 0.2 + height, abs=0.051)
    male = 1 / (1 + np.exp(height - 150 - smoker))
    chances = {top["label"]: top["probability"] for top in prediction["gender"]["top"]}
    assert chances["male"] == pytest.approx(male, abs=1e-5)


def test_a_picture_and_fields_in_json(server: ServerProcess) -> None:
    face = b64encode(FACE).decode()
    row = {"face": face, "person": FACTS}
    other = {"face": f"data:image/png;base64,{face}", "person": {"height": 150, "smoker": 0}}
    first, second = predictions(server.post("/api/person", json=[row, other]))
    check_person(first)
    check_person(second, 150, 0)


@pytest.mark.parametrize(
    "texts",
    [
        [("person", json.dumps(FACTS))],
        [("height", "170"), ("smoker", "yes")],
        [("smoker", "1"), ("height", " 1.7e2 ")],
    ],
)
def test_a_picture_and_fields_in_a_form(server: ServerProcess, texts: list[Any]) -> None:
    """A part for the fields, or for each of them."""
    files = [("face", ("a.png", FACE)), *((name, (None, text)) for name, text in texts)]
    (prediction,) = predictions(server.post("/api/person", files=files))
    check_person(prediction)


def test_rows_of_a_form_are_in_order(server: ServerProcess) -> None:
    files: list[Any] = [("face", ("a.png", FACE)), ("face", ("b.png", FACE))]
    files += [("height", (None, "170")), ("smoker", (None, "yes"))]
    files += [("height", (None, "150")), ("smoker", (None, "no"))]
    first, second = predictions(server.post("/api/person", files=files))
    check_person(first)
    check_person(second, 150, 0)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([("height", "300"), ("smoker", "")], {"height": "out of range", "smoker": "missing"}),
        ([("height", "tall"), ("smoker", "maybe")],
         {"height": "wrong type", "smoker": "not one of the choices"}),
        ([("height", "1"), ("weight", "2")], {"weight": "unexpected", "smoker": "missing"}),
        ([("height", "1"), ("person", json.dumps(FACTS))],
         {"person": "unexpected", "smoker": "missing"}),
        ([("height", "1"), ("smoker", "1"), ("height", "2")], {"[1].smoker": "missing"}),
    ],
)  # fmt: skip
def test_problems_of_fields_in_a_form(
    server: ServerProcess, texts: list[Any], expected: dict[str, str]
) -> None:
    files = [("face", ("a.png", FACE)), *((name, (None, text)) for name, text in texts)]
    answer = server.post("/api/person", files=files)
    assert answer.status_code == 422, answer.text
    details = answer.json()["error"]["details"]
    found = {d["field"]: d["problem"] for d in details if d["field"] != "body"}
    assert found == expected


def test_a_bare_file_of_a_picture_and_numbers(server: ServerProcess) -> None:
    about = server.get("/api/models/scalars").json()
    assert {name: each["kind"] for name, each in about["inputs"].items()} == {
        "face": "picture",
        "row": "fields",
    }
    face = b64encode(FACE).decode()
    body = {"face": face, "row": {"height": 170, "weight": 70}}
    for answer in (
        server.post("/api/scalars", json=body),
        server.post(
            "/api/scalars",
            files=[("face", ("a.png", FACE)), ("height", (None, "170")), ("weight", (None, "70"))],
        ),
    ):
        (prediction,) = predictions(answer)
        # Pixels are 0..1 by a guess, which may be replaced.
        assert prediction == {"sum": pytest.approx(240.2, abs=1e-4)}
    tried = server.post("/api/scalars?scale=none", json=body)
    assert predictions(tried) == [{"sum": pytest.approx(291, abs=1e-3)}]


def test_boxes_beside_fields_in_a_picture_that_is_cropped(server: ServerProcess) -> None:
    """Of 400 x 100 pixels, the model sees the 100 x 100 in the middle as 8 x 8."""
    face = b64encode(drawing((400, 100))).decode()
    rows = [{"scene": face, "corner": {"x": x, "y": 1}} for x in (4, 7, 9)]
    first, second, third = predictions(server.post("/api/pointer", json=rows))
    box = {"xmin": 200.0, "ymin": 12.5, "xmax": 225.0, "ymax": 37.5}
    assert first == {"there": [{"label": "here", "probability": 0.75, "box": box}]}
    # What the picture has beside the part that was seen is still within it.
    assert second["there"][0]["box"] == {**box, "xmin": 237.5, "xmax": 262.5}
    assert third["there"][0]["box"] == {**box, "xmin": 262.5, "xmax": 287.5}


def test_v1_and_v2_take_the_picture_and_the_columns(server: ServerProcess) -> None:
    face = b64encode(FACE).decode()
    row = {"face": {"b64": face}, "person": [170, 1]}
    (found,) = predictions(server.post("/v1/models/person:predict", json={"instances": [row]}))
    assert found["age"] == pytest.approx([190], abs=1e-3)
    inputs = [
        {"name": "face", "datatype": "BYTES", "shape": [1], "data": [face],
         "parameters": {"content_type": "base64"}},
        {"name": "person", "datatype": "FP32", "shape": [1, 2], "data": [170, 1]},
    ]  # fmt: skip
    answer = server.post("/v2/models/person/infer", json={"inputs": inputs})
    outputs = {out["name"]: out["data"] for out in answer.json()["outputs"]}
    assert outputs["age"] == pytest.approx([190], abs=1e-3)
    assert outputs["gender"] == pytest.approx(found["gender"])


def test_the_document_of_fields_beside_a_picture(server: ServerProcess) -> None:
    document = server.get("/openapi.json").json()
    content = document["paths"]["/api/person"]["post"]["requestBody"]["content"]
    form = OAS31Validator(content["multipart/form-data"]["schema"])
    assert form.is_valid({"face": ["…"], "person": ["{}"]})
    assert form.is_valid({"face": ["…"], "height": ["1"], "smoker": ["no"]})
    assert not form.is_valid({"face": ["…"], "height": ["1"]})
    assert not form.is_valid({"face": ["…"], "person": ["{}"], "height": ["1"], "smoker": ["no"]})
    answer = server.post("/api/person", json=content["application/json"]["example"])
    assert answer.status_code == 200, answer.text


def test_the_page_of_a_picture_and_fields(server: ServerProcess) -> None:
    files = {"input0": ("a.png", FACE), "input1_0": (None, "170"), "input1_1": (None, "1")}
    answer = server.post("/models/person", files=files)
    assert answer.status_code == 200
    for words in ("190.0", "years", "female", "100.0 %"):
        assert words in answer.text
