"""Every kind of input with every kind of output over HTTP: native, v1 and v2 answer what Keras
answers for the same tensors, and the descriptions are true."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import keras
import numpy as np
import pytest
from openapi_schema_validator import OAS31Validator

from tests.drawn import decoded
from tests.kinds_matrix import (
    CASES,
    HEIGHT,
    INPUTS,
    LABELS,
    LEAST,
    MOST,
    NAMES,
    ROWS,
    THINGS,
    WIDTH,
    Case,
    Given,
    givens,
    save,
)
from tests.support import serving

SIDES = ("xmin", "ymin", "xmax", "ymax")
# What v1 and v2 take in another form than the model's tensors.
ENCODED = {"picture", "words", "ids", "audio"}
# Of float32, computed in another order.
CLOSE: dict[str, Any] = {"rtol": 1e-5, "atol": 2e-6}


@dataclass(frozen=True)
class Matrix:
    """A client of the server, the rows, what Keras answers by names of models and outputs, and the
    OpenAPI document."""

    client: httpx.Client
    given: dict[str, Given]
    wanted: dict[str, dict[str, Any]]
    document: dict[str, Any]


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Matrix]:
    keras.utils.set_random_seed(11)
    folder, given, wanted = tmp_path_factory.mktemp("matrix"), givens(), {}
    for case in CASES:
        model = save(folder / "models", case, given)
        tensors = [keras.ops.convert_to_tensor(given[each].tensor) for each in case.inputs]
        found = model(tensors if len(tensors) > 1 else tensors[0], training=False)
        if not isinstance(found, dict):
            found = {f"its_{case.outputs[0]}": found}
        wanted[case.name] = {name: np.asarray(value) for name, value in found.items()}
    with (
        serving(folder / "models", folder) as server,
        httpx.Client(base_url=server.url, timeout=150) as client,
    ):
        document = client.get("/openapi.json").json()
        yield Matrix(client, given, wanted, document)


each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def answered(answer: httpx.Response) -> Any:
    assert answer.status_code == 200, answer.text
    return answer.json()


# --- what a prediction shows of the numbers of a row


def check_classes(shown: Any, row: Any) -> None:
    order = np.argsort(-row)
    assert shown["label"] == LABELS[order[0]]
    assert shown["probability"] == shown["top"][0]["probability"]
    assert [each["label"] for each in shown["top"]] == [LABELS[i] for i in order]
    chances = [each["probability"] for each in shown["top"]]
    assert chances == pytest.approx(row[order], abs=2e-6)
    assert chances == [round(each, 6) for each in chances]


def check_number(shown: Any, row: Any) -> None:
    (number,) = row
    assert shown == pytest.approx(number, abs=0.000501)
    assert shown == round(shown, 3)


def check_numbers(shown: Any, row: Any) -> None:
    np.testing.assert_allclose(shown, row, **CLOSE)


def check_mask(shown: Any, row: Any) -> None:
    least, most = np.sort(row)[..., -2:].T
    assert (most - least).min() > 1e-5, "no pixel is undecided"
    pixels = row.argmax(-1)
    np.testing.assert_array_equal(pixels_of(shown), pixels)
    counts = np.bincount(pixels.ravel(), minlength=len(NAMES))
    assert np.count_nonzero(counts) > 1, "the mask shows something"
    shares = [(each["label"], each["share"]) for each in shown["classes"]]
    assert shares == [
        (name, round(n / pixels.size, 6)) for name, n in zip(NAMES, counts, strict=True)
    ]


def check_picture(shown: Any, row: Any) -> None:
    np.testing.assert_allclose(pixels_of(shown), row * 255, atol=0.51)


def pixels_of(shown: Any) -> Any:
    image = decoded(b64decode(shown["png"].removeprefix("data:image/png;base64,")))
    assert shown["size"] == [image.height, image.width] == [HEIGHT, WIDTH]
    return np.asarray(image)


def check_boxes(shown: Any, row: Any) -> None:
    """row: the raw tensor of this server, for boxes are rounded to hundredths of a pixel."""
    places, scores = row[:, :4].astype(float), row[:, 4:]
    best = scores.max(1)
    corners = np.hstack([places[:, :2] - places[:, 2:] / 2, places[:, :2] + places[:, 2:] / 2])
    sides = np.array([WIDTH, HEIGHT] * 2)
    corners = (corners * sides).clip(0, sides)
    order = [i for i in np.argsort(-best) if best[i] >= LEAST][:MOST]
    assert order, "the picture shows something"
    assert shown == [
        {
            "label": THINGS[scores[i].argmax()],
            "probability": round(float(best[i]), 6),
            "box": dict(zip(SIDES, corners[i].round(2).tolist(), strict=True)),
        }
        for i in order
    ]


CHECKS = {
    "classes": check_classes,
    "number": check_number,
    "vector": check_numbers,
    "tensor": check_numbers,
    "mask": check_mask,
    "picture": check_picture,
    "boxes": check_boxes,
}


# --- native


def ways(case: Case, given: dict[str, Given]) -> list[tuple[dict[str, Any], int]]:
    """Requests for all rows, or for the first, with the number of rows."""
    bodies: list[dict[str, Any]]
    if case.inputs == ("tensor",):
        bodies = [{"json": given["tensor"].values}]
    elif case.inputs == ("fields",):
        bodies = [{"json": given["fields"].values}]
    else:
        objects = [{INPUTS[e]: given[e].values[i] for e in case.inputs} for i in range(ROWS)]
        bodies = [{"json": objects}]
    if len(case.inputs) == 1:
        (alone,) = case.inputs
        firsts = given[alone].firsts
        return [(b, ROWS) for b in [*bodies, *given[alone].bodies]] + [(b, 1) for b in firsts]
    form = [(INPUTS[each], part) for each in case.inputs for part in given[each].parts]
    return [(body, ROWS) for body in [*bodies, {"files": form}]]


@each_case
def test_native(matrix: Matrix, case: Case) -> None:
    wanted = dict(matrix.wanted[case.name])
    if "boxes" in case.outputs:
        wanted["its_boxes"] = v2(matrix, case, encoded=True)["its_boxes"]
    responses = matrix.document["paths"][f"/api/{case.name}"]["post"]["responses"]
    schema = responses["200"]["content"]["application/json"]["schema"]
    validator = OAS31Validator({**schema, "components": matrix.document["components"]})
    for way, rows in ways(case, matrix.given):
        answer = answered(matrix.client.post(f"/api/{case.name}", **way))
        validator.validate(answer)
        assert len(answer["predictions"]) == rows, way
        for i, prediction in enumerate(answer["predictions"]):
            check(
                case, matrix.given, prediction, {name: all_[i] for name, all_ in wanted.items()}, i
            )


def check(case: Case, given: dict[str, Given], shown: Any, wanted: dict[str, Any], i: int) -> None:
    """What is answered for row `i`."""
    if case.outputs == ("tensor",):
        check_numbers(shown, wanted["its_tensor"])
        return
    if "ids" in case.inputs:
        unknown = given["ids"].unknown
        assert unknown is not None
        assert shown.pop("unknown_share") == unknown[i]
    if case.outputs == ("classes",):
        shown = {"its_classes": shown}
    assert [*shown] == [f"its_{head}" for head in case.outputs]
    for head in case.outputs:
        CHECKS[head](shown[f"its_{head}"], wanted[f"its_{head}"])


# --- v1 and v2


def v1_instance(given: Given, i: int, *, encoded: bool) -> Any:
    if encoded and given.files is not None:
        sent = {"b64": b64encode(given.files[i]).decode()}
        # An answer has the dimensions that a request has.
        return [sent] if given.datatype == "BYTES" else sent
    return given.tensor[i].tolist()


def v2_input(name: str, given: Given, *, encoded: bool) -> dict[str, Any]:
    if not encoded or given.files is None or given.datatype == "BYTES":
        shape, data = [*given.tensor.shape], given.tensor.ravel().tolist()
        return {"name": name, "datatype": given.datatype, "shape": shape, "data": data}
    one: dict[str, Any] = {"name": name, "datatype": "BYTES", "shape": [ROWS]}
    if given.kind == "text":
        return one | {"data": [file.decode() for file in given.files]}
    data = [b64encode(file).decode() for file in given.files]
    return one | {"parameters": {"content_type": "base64"}, "data": data}


def v2(matrix: Matrix, case: Case, *, encoded: bool) -> dict[str, Any]:
    """The tensors that v2 answers, by the names of outputs."""
    sent = [v2_input(INPUTS[each], matrix.given[each], encoded=encoded) for each in case.inputs]
    body = {"inputs": sent}
    answer = answered(matrix.client.post(f"/v2/models/{case.name}/infer", json=body))
    return {
        out["name"]: np.array(out["data"], np.float32).reshape(out["shape"])
        for out in answer["outputs"]
    }


def same(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert {*found} == {*wanted}
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, **CLOSE)


@pytest.mark.parametrize(
    ("case", "encoded"),
    [
        pytest.param(case, encoded, id=f"{case.name}-{'encoded' if encoded else 'tensors'}")
        for case in CASES
        for encoded in (False, True)
        if not encoded or ENCODED & {*case.inputs}
    ],
)
def test_v1_and_v2(matrix: Matrix, case: Case, encoded: bool) -> None:
    wanted = matrix.wanted[case.name]
    same(v2(matrix, case, encoded=encoded), wanted)
    instances = [
        {INPUTS[e]: v1_instance(matrix.given[e], i, encoded=encoded) for e in case.inputs}
        for i in range(ROWS)
    ]
    if len(case.inputs) == 1:
        instances = [each[INPUTS[case.inputs[0]]] for each in instances]
    body = json.dumps({"instances": instances})
    answer = answered(matrix.client.post(f"/v1/models/{case.name}:predict", content=body))
    predictions = answer["predictions"]
    if len(wanted) == 1:
        predictions = [{next(iter(wanted)): each} for each in predictions]
    same({name: [each[name] for each in predictions] for name in predictions[0]}, wanted)


# --- descriptions


@each_case
def test_a_model_is_described_as_its_card_has_it(matrix: Matrix, case: Case) -> None:
    about = matrix.client.get(f"/api/models/{case.name}").json()
    assert about["state"] == "ready", about
    inputs = {name: each["kind"] for name, each in about["inputs"].items()}
    assert inputs == {INPUTS[each]: matrix.given[each].kind for each in case.inputs}
    outputs = {name: each["kind"] for name, each in about["outputs"].items()}
    assert outputs == {f"its_{head}": head for head in case.outputs}
    model = matrix.document["components"]["schemas"]["Model"]
    OAS31Validator({**model, "components": matrix.document["components"]}).validate(about)


def test_the_examples_of_the_document_are_answered(matrix: Matrix) -> None:
    for case in CASES:
        content = matrix.document["paths"][f"/api/{case.name}"]["post"]["requestBody"]["content"]
        example = content["application/json"]["example"]
        answered(matrix.client.post(f"/api/{case.name}", json=example))
        for path in ("/v1/models/{name}:predict", "/v2/models/{name}/infer"):
            media = matrix.document["paths"][path]["post"]["requestBody"]["content"]
            example = media["application/json"]["examples"][case.name]["value"]
            answered(matrix.client.post(path.format(name=case.name), json=example))
