"""Every kind of input with every kind of output: native, v1, v2 and both protocols of gRPC answer
what Keras answers for the same tensors, and the descriptions are true. The same for models whose
batch has a fixed size, which answer any number of rows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import keras
import numpy as np
import pytest
from openapi_schema_validator import OAS31Validator

from tests.drawn import decoded
from tests.kinds_matrix import (
    CASES,
    FIXED_CASES,
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
from tests.protocols import Protocols
from tests.support import ROOT, serving

SIDES = ("xmin", "ymin", "xmax", "ymax")
# What v1 and v2 take in another form than the model's tensors.
ENCODED = {"picture", "words", "ids", "audio"}
# Of float32, computed in another order.
CLOSE: dict[str, Any] = {"rtol": 1e-5, "atol": 2e-6}


@dataclass(frozen=True)
class Matrix:
    """The folder with the models, a client of the server, those of all protocols, the rows, what
    Keras answers by names of models and outputs, the OpenAPI document, and the size of the models'
    batch, if it is fixed."""

    folder: Path
    client: httpx.Client
    protocols: Protocols
    given: dict[str, Given]
    wanted: dict[str, dict[str, Any]]
    document: dict[str, Any]
    batch: int | None

    @property
    def rows(self) -> int:
        """Rows of a request that carries the model's own tensors."""
        return self.batch or ROWS


def of_keras(model: keras.Model, case: Case, tensors: list[Any]) -> dict[str, Any]:
    """The outputs by name."""
    fed = [keras.ops.convert_to_tensor(tensor) for tensor in tensors]
    found = model(fed if len(fed) > 1 else fed[0], training=False)
    if not isinstance(found, dict):
        found = {f"its_{case.outputs[0]}": found}
    return {name: np.asarray(value) for name, value in found.items()}


@pytest.fixture(scope="module")
def matrices(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[int | None], Matrix]]:
    with ExitStack() as stack:
        yield cache(lambda batch: made(tmp_path_factory.mktemp("matrix"), batch, stack))


@pytest.fixture
def matrix(matrices: Callable[[int | None], Matrix], request: pytest.FixtureRequest) -> Matrix:
    return matrices(request.param)


def made(folder: Path, batch: int | None, stack: ExitStack) -> Matrix:
    """Serve the models of all cases until `stack` ends."""
    keras.utils.set_random_seed(11)
    given, wanted = givens(), {}
    for case in FIXED_CASES if batch else CASES:
        model = save(folder / "models", case, given, batch)
        tensors = [given[each].tensor for each in case.inputs]
        if batch is None:
            wanted[case.name] = of_keras(model, case, tensors)
            continue
        # A batch of each row, for Keras takes no other number of them.
        batches = [[np.repeat(each[i : i + 1], batch, axis=0) for each in tensors] for i in (0, 1)]
        found = [of_keras(model, case, each) for each in batches]
        wanted[case.name] = {n: np.stack([each[n][0] for each in found]) for n in found[0]}
    server = stack.enter_context(serving(folder / "models", folder, grpc_port=0))
    protocols = stack.enter_context(closing(Protocols(server)))
    client = protocols.http
    document = client.get("/openapi.json").json()
    return Matrix(folder, client, protocols, given, wanted, document, batch)


EVERY = [(batch, case) for batch in (None, 1, 4) for case in (FIXED_CASES if batch else CASES)]


def named(batch: int | None, case: Case, *more: str) -> str:
    """The name of a test."""
    return "-".join([case.name, *([f"batch{batch}"] if batch else []), *more])


each_case = pytest.mark.parametrize(
    ("matrix", "case"),
    [pytest.param(batch, case, id=named(batch, case)) for batch, case in EVERY],
    indirect=["matrix"],
)


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


def in_json(case: Case, given: dict[str, Given], rows: int) -> Any:
    """A body for so many rows: all there are, again and again."""
    if case.inputs in (("tensor",), ("fields",)):
        return [given[case.inputs[0]].values[i % ROWS] for i in range(rows)]
    return [{INPUTS[e]: given[e].values[i % ROWS] for e in case.inputs} for i in range(rows)]


def ways(case: Case, given: dict[str, Given]) -> list[tuple[dict[str, Any], int]]:
    """Requests for all rows, or for the first, with the number of rows."""
    bodies = [{"json": in_json(case, given, ROWS)}]
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
        batches = [[i] * (matrix.batch or 1) for i in range(ROWS)]
        found = [v2(matrix, case, at, encoded=True)["its_boxes"][:1] for at in batches]
        wanted["its_boxes"] = np.concatenate(found)
    responses = matrix.document["paths"][f"/api/{case.name}"]["post"]["responses"]
    schema = responses["200"]["content"]["application/json"]["schema"]
    validator = OAS31Validator({**schema, "components": matrix.document["components"]})
    every = [*ways(case, matrix.given), ({"json": in_json(case, matrix.given, 7)}, 7)]
    if matrix.batch and case == Case(("tensor",), ("tensor",)):
        # Of which no dimension need count rows.
        every = []
    for way, rows in every:
        answer = answered(matrix.client.post(f"/api/{case.name}", **way))
        validator.validate(answer)
        assert len(answer["predictions"]) == rows, way
        for i, prediction in enumerate(answer["predictions"]):
            own = {name: all_[i % ROWS] for name, all_ in wanted.items()}
            check(case, matrix.given, prediction, own, i % ROWS)


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


# --- v1, v2 and gRPC


def v1_instance(given: Given, i: int, *, encoded: bool) -> Any:
    if encoded and given.files is not None:
        sent = {"b64": b64encode(given.files[i]).decode()}
        # An answer has the dimensions that a request has.
        return [sent] if given.datatype == "BYTES" else sent
    return given.tensor[i].tolist()


def v2_input(name: str, given: Given, at: Sequence[int], *, encoded: bool) -> dict[str, Any]:
    if not encoded or given.files is None or given.datatype == "BYTES":
        tensor = given.tensor[[*at]]
        shape, data = [*tensor.shape], tensor.ravel().tolist()
        return {"name": name, "datatype": given.datatype, "shape": shape, "data": data}
    one: dict[str, Any] = {"name": name, "datatype": "BYTES", "shape": [len(at)]}
    files = [given.files[i] for i in at]
    if given.kind == "text":
        return one | {"data": [file.decode() for file in files]}
    data = [b64encode(file).decode() for file in files]
    return one | {"parameters": {"content_type": "base64"}, "data": data}


def v2(matrix: Matrix, case: Case, at: Sequence[int], *, encoded: bool) -> dict[str, Any]:
    """The tensors that v2 answers to the rows at these places, by the names of outputs."""
    sent = [v2_input(INPUTS[e], matrix.given[e], at, encoded=encoded) for e in case.inputs]
    body = {"inputs": sent}
    answer = answered(matrix.client.post(f"/v2/models/{case.name}/infer", json=body))
    return {
        out["name"]: np.array(out["data"], np.float32).reshape(out["shape"])
        for out in answer["outputs"]
    }


def same(found: dict[str, Any], wanted: dict[str, Any], rows: int) -> None:
    assert {*found} == {*wanted}
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value[[i % ROWS for i in range(rows)]], **CLOSE)


@pytest.mark.parametrize(
    ("matrix", "case", "encoded"),
    [
        pytest.param(
            batch, case, encoded, id=named(batch, case, "encoded" if encoded else "tensors")
        )
        for batch, case in EVERY
        for encoded in (False, True)
        if not encoded or ENCODED & {*case.inputs}
    ],
    indirect=["matrix"],
)
def test_v1_v2_and_grpc(matrix: Matrix, case: Case, encoded: bool) -> None:
    wanted = matrix.wanted[case.name]
    rows = matrix.rows
    same(v2(matrix, case, [i % ROWS for i in range(rows)], encoded=encoded), wanted, rows)
    instances = [
        {INPUTS[e]: v1_instance(matrix.given[e], i % ROWS, encoded=encoded) for e in case.inputs}
        for i in range(rows)
    ]
    if len(case.inputs) == 1:
        instances = [each[INPUTS[case.inputs[0]]] for each in instances]
    body = json.dumps({"instances": instances})
    answer = answered(matrix.client.post(f"/v1/models/{case.name}:predict", content=body))
    predictions = answer["predictions"]
    if len(wanted) == 1:
        predictions = [{next(iter(wanted)): each} for each in predictions]
    same({name: [each[name] for each in predictions] for name in predictions[0]}, wanted, rows)
    at = [i % ROWS for i in range(rows)]
    arrays = {INPUTS[e]: matrix.given[e].array(at, encoded=encoded) for e in case.inputs}
    for ask in (matrix.protocols.tfs, matrix.protocols.v2_grpc):
        same(ask(case.name, arrays), wanted, rows)


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


@pytest.mark.parametrize("matrix", [None, 1, 4], indirect=True)
def test_the_examples_of_the_document_are_answered(matrix: Matrix) -> None:
    for case in FIXED_CASES if matrix.batch else CASES:
        content = matrix.document["paths"][f"/api/{case.name}"]["post"]["requestBody"]["content"]
        example = content["application/json"]["example"]
        answered(matrix.client.post(f"/api/{case.name}", json=example))
        for path in ("/v1/models/{name}:predict", "/v2/models/{name}/infer"):
            media = matrix.document["paths"][path]["post"]["requestBody"]["content"]
            example = media["application/json"]["examples"][case.name]["value"]
            answered(matrix.client.post(path.format(name=case.name), json=example))


@pytest.mark.parametrize("matrix", [4], indirect=True)
def test_the_page_and_the_command_line_answer_each_row(matrix: Matrix) -> None:
    """Of a model of a fixed batch: more pictures than there are in one."""
    files = matrix.given["picture"].files
    assert files is not None
    uploads = [("image", (f"{i}.png", files[i % ROWS])) for i in range(5)]
    page = matrix.client.post("/models/picture-tensor", files=uploads).text
    paths = []
    for i, (_, (name, file)) in enumerate(uploads):
        (matrix.folder / name).write_bytes(file)
        paths.append(str(matrix.folder / name))
        assert f"{i}.png" in page
    done = subprocess.run(
        [sys.executable, "-m", "app", "predict", "picture-tensor", "--json", *paths],
        env={**os.environ, "KERAPORT_MODELS_DIR": str(matrix.folder / "models")},
        capture_output=True,
        text=True,
        timeout=150,
        cwd=ROOT,
        check=True,
    )
    wanted = matrix.wanted["picture-tensor"]["its_tensor"]
    shown = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(shown) == len(uploads)
    for i, answer in enumerate(shown):
        (prediction,) = answer["predictions"]
        check_numbers(prediction, wanted[i % ROWS])
        # As many digits as the page shows.
        assert str(prediction[0][0]) in page.partition(f"{i}.png")[2].partition(f"{i + 1}.png")[0]
