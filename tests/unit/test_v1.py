"""TensorFlow Serving's REST API: its values, and its answers while no model is ready."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st

from app.api.v1.request import (
    V1Request,
    read_predict,
)
from app.api.v1.response import write_classes, write_predictions, write_values
from app.errors import BadRequest, Detail, InvalidInput
from app.factory import create_app
from app.lifecycle import Lifecycle
from app.serving.registry.registry import Registry
from app.serving.signature import SignatureDef
from app.serving.tasks.base import Limits
from app.serving.tensors import from_nested, numpy_dtype
from app.settings import Settings
from tests.registries import found
from tests.unit.signatures import spec


def client_of(folder: Path, registry: Registry, lifecycle: Lifecycle | None = None) -> FlaskClient:
    chosen = Settings(models_dir=folder, uploads_dir=folder)
    return create_app(chosen, registry, lifecycle).test_client()


# --- while models load, and when the server ends --------------------------------------------------


def test_a_model_that_loads(tmp_path: Path) -> None:
    (tmp_path / "later" / "7").mkdir(parents=True)
    client = client_of(tmp_path, found(tmp_path))
    (status,) = client.get("/v1/models/later").get_json()["model_version_status"]
    assert status == {
        "version": "7",
        "state": "LOADING",
        "status": {"error_code": "OK", "error_message": ""},
    }
    answer = client.post("/v1/models/later:predict", json={"instances": [1]})
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert "still loading" in answer.get_json()["error"]
    assert client.get("/v1/models/later/metadata").status_code == 503


def test_a_server_that_ends_refuses(tmp_path: Path) -> None:
    lifecycle = Lifecycle()
    client = client_of(tmp_path, Registry(), lifecycle)
    assert client.get("/v1/models").get_json() == {"models": []}
    lifecycle.refusing = True
    answer = client.get("/v1/models")
    assert answer.status_code == 503
    assert "shutting down" in answer.get_json()["error"]


# --- values --------------------------------------------------------------------------------------

FLOATS = st.floats(width=32)


def joined(pieces: Iterator[bytes]) -> bytes:
    return b"".join(pieces)


@given(st.lists(FLOATS, min_size=1, max_size=6))
def test_numbers_come_back_as_they_were(values: list[float]) -> None:
    body = json.dumps({"instances": values}).encode()
    signatures = {"s": SignatureDef((spec(shape=(None,)),), (spec("y"),))}
    asked = read_predict(body, signatures, "s", Limits())
    assert asked.inputs["x"].dtype == np.float32
    back = json.loads(joined(write_predictions(asked.inputs, asked)))["predictions"]
    assert np.array_equal(np.array(back, "float32"), np.array(values, "float32"), equal_nan=True)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 0), (2, 1, 2)])
@pytest.mark.parametrize("strange", [False, True])
def test_outputs_of_every_shape(dtype: str, shape: tuple[int, ...], strange: bool) -> None:
    kind = numpy_dtype(dtype)
    array = np.linspace(0.1, 0.9, math.prod(shape)).astype(kind).reshape(shape)
    if strange and array.size:
        array.reshape(-1)[-1] = -np.inf
        array.reshape(-1)[0] = np.nan
    text = joined(write_predictions({"y": array}, V1Request("s", {})))
    back = np.array(json.loads(text)["outputs"]).astype(kind)
    assert np.array_equal(back.reshape(shape), array, equal_nan=True)
    both = json.loads(joined(write_predictions({"y": array, "z": array}, V1Request("s", {}))))[
        "outputs"
    ]
    assert np.array_equal(np.array(both["z"]).astype(kind).reshape(shape), array, equal_nan=True)
    if shape:
        rows = json.loads(
            joined(write_predictions({"y": array, "z": array}, V1Request("s", {}, rows=True)))
        )
        assert [row["y"] for row in rows["predictions"]] == json.loads(text)["outputs"] or strange
        assert len(rows["predictions"]) == shape[0]


def test_single_precision_is_written_as_short_as_it_is() -> None:
    for array in (np.array([0.1, 1e20, 3], np.float32), np.array(0.1, np.float32)):
        text = joined(write_predictions({"y": array}, V1Request("s", {}))).decode()
        assert text in ('{"outputs":[0.1,1e+20,3.0]}\n', '{"outputs":0.1}\n')


@pytest.mark.parametrize(
    "outputs",
    [
        {"y": np.float32(1).reshape(())},
        {"y": np.zeros(2), "z": np.zeros(3)},
        {"y": np.zeros(2), "z": np.zeros(())},
    ],
)
def test_outputs_without_rows_cannot_answer_rows(outputs: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="inconsistent batch size"):
        joined(write_predictions(outputs, V1Request("s", {}, rows=True)))
    assert joined(write_predictions(outputs, V1Request("s", {})))


TWO = V1Request("s", {"inputs": np.array([b"", b""], object)})


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        ({"y": np.zeros((2, 1))}, "Expected classification signature outputs"),
        ({"scores": np.zeros(2)}, "Expected Tensor shape"),
        ({"scores": np.zeros((3, 1))}, "Expected Tensor shape"),
        ({"scores": np.zeros((2, 1, 1))}, "Expected Tensor shape"),
        ({"scores": np.zeros((2, 1)), "classes": np.full((2, 2), b"", object)}, "Tensor shape"),
        ({"scores": np.zeros((2, 1), int)}, "Expected scores Tensor of DT_FLOAT"),
        ({"classes": np.zeros((2, 1))}, "Expected classes Tensor of DT_STRING"),
    ],
)
def test_outputs_that_are_no_classes(outputs: dict[str, Any], words: str) -> None:
    with pytest.raises(BadRequest, match=words):
        joined(write_classes(outputs, TWO))


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        ({"y": np.zeros(2)}, "No regression outputs found in SignatureDef"),
        ({"outputs": np.zeros(3)}, "Expected output Tensor shape"),
        ({"outputs": np.zeros((2, 2))}, "Expected output Tensor shape"),
        ({"outputs": np.zeros(2, int)}, "Expected output Tensor of DT_FLOAT"),
        ({"outputs": np.full(2, b"", object)}, "Expected output Tensor of DT_FLOAT"),
    ],
)
def test_outputs_that_are_no_values(outputs: dict[str, Any], words: str) -> None:
    with pytest.raises(BadRequest, match=words):
        joined(write_values(outputs, TWO))
    for good in (np.zeros(2), np.zeros((2, 1))):
        assert joined(write_values({"outputs": good}, TWO)) == b'{"results":[0.0,0.0]}\n'


def test_a_column_may_be_sent_flat_and_comes_back_flat() -> None:
    def read(value: Any, *shape: int | None) -> V1Request:
        signatures = {"s": SignatureDef((spec(shape=shape),), (spec("y"),))}
        return read_predict(json.dumps({"inputs": value}).encode(), signatures, "s", Limits())

    assert read([1, 2], None, 1).inputs["x"].tolist() == [[1], [2]]
    outputs = {"y": np.zeros((2, 1)), "z": np.zeros((2, 3)), "n": np.zeros(2)}
    written = json.loads(joined(write_predictions(outputs, read([1, 2], None, 1))))["outputs"]
    assert written == {"y": [0, 0], "z": [[0] * 3] * 2, "n": [0, 0]}
    written = json.loads(joined(write_predictions(outputs, read([[1], [2]], None, 1))))["outputs"]
    assert written["y"] == [[0], [0]]
    # Only a column: a picture without its channel is another thing.
    for value, shape in (([1, 2], (None, 2)), ([[1, 2]], (None, 2, 1)), (1, (None, 1))):
        with pytest.raises(InvalidInput, match="wrong shape"):
            read(value, *shape)


@pytest.mark.parametrize("finite", [True, False])
def test_numbers_that_the_type_cannot_hold(finite: bool) -> None:
    for dtype, inside, outside in (
        ("float16", 65504, 65536),
        ("float32", 3.4e38, 3.5e38),
        ("float64", 1.7e308, 10**309),
        ("int8", 127, 128),
        ("uint8", 0, -1),
        ("int64", 2**63 - 1, 2**63),
        ("uint64", 2**64 - 1, 2**64),
    ):
        array = from_nested([inside], spec(dtype=dtype, shape=(None,)), finite=finite)
        assert isinstance(array, np.ndarray)
        found = from_nested([outside], spec(dtype=dtype, shape=(None,)), finite=finite)
        assert isinstance(found, Detail), dtype
        assert found.problem == "out of range"
    infinite = from_nested([math.inf], spec(shape=(None,)), finite=finite)
    assert isinstance(infinite, Detail) is finite


def test_deep_nests_are_refused_and_shallow_ones_read() -> None:
    signatures = {"s": SignatureDef((spec(dtype="string", shape=None),), (spec("y"),))}

    def read(depth: int) -> V1Request:
        body = b'{"inputs": %s"a"%s}' % (b"[" * depth, b"]" * depth)
        return read_predict(body, signatures, "s", Limits(max_json_depth=200))

    assert read(64).inputs["x"].shape == (1,) * 64
    with pytest.raises(InvalidInput):
        read(65)
    with pytest.raises(InvalidInput):
        read(199)
    with pytest.raises(BadRequest, match="more than 200 levels"):
        read(200)
