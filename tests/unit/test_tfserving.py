"""TensorFlow Serving's REST API whatever is sent to it, and while models load."""

from __future__ import annotations

import json
import math
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from hypothesis import given, settings
from hypothesis import strategies as st

from app.api.tfserving_answer import write_classes, write_predictions, write_values
from app.api.tfserving_json import (
    Question,
    read_predict,
)
from app.errors import BadRequest, Detail, InvalidInput
from app.factory import create_app
from app.lifecycle import Lifecycle
from app.serving.examples import serialised
from app.serving.registry import Registry
from app.serving.signature import SignatureDef
from app.serving.tasks.base import Limits
from app.serving.tensors import from_nested, numpy_dtype
from app.settings import Settings
from tests.models import (
    save_caption_model,
    save_half_plus_two,
    save_picture_model,
    save_tagged_model,
)
from tests.support import picture
from tests.unit.signatures import spec

PICTURE = {"b64": b64encode(picture(size=(8, 8))).decode()}
# A good question to each model, and its answer where it is the same every time.
GOOD: dict[str, tuple[dict[str, Any], Any]] = {
    "half:predict": ({"instances": [1.0, 2.0]}, {"predictions": [2.5, 3.0]}),
    "half:regress": (
        {"signature_name": "regress_x_to_y", "examples": [{"x": 1.0}], "context": {}},
        {"results": [2.5]},
    ),
    "half:classify": (
        {"signature_name": "classify_x_to_y", "examples": [{"x": 1.0}]},
        {"results": [[["", 2.5]]]},
    ),
    "captions:classify": (
        {"examples": [{"image": {"b64": "YQ=="}, "caption": "b"}]},
        {"results": [[["a", 0.5], ["b", 0.5]]]},
    ),
    "tagged:predict": (
        {"inputs": {"tag": ["a"], "signal": [[1] * 5], "sensor": [[[1, 2], [3, 4]]]}},
        None,
    ),
    "pictures:predict": ({"instances": [PICTURE]}, None),
}


def client_of(folder: Path, registry: Registry, lifecycle: Lifecycle | None = None) -> FlaskClient:
    chosen = Settings(models_dir=folder, uploads_dir=folder)
    return create_app(chosen, registry, lifecycle).test_client()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    folder = tmp_path_factory.mktemp("models")
    save_half_plus_two(folder / "half")
    save_tagged_model(folder / "tagged")
    save_caption_model(folder / "captions")
    save_picture_model(folder / "pictures.keras", rescales=False)
    registry = Registry(folder, Limits())
    registry.load()
    assert [entry.reason for entry in registry.entries()] == [None] * 4
    yield client_of(folder, registry)
    registry.close()


# --- whatever is sent ----------------------------------------------------------------------------

# Words and values that mean something somewhere, in places where they mean nothing.
_NAMES = st.text(max_size=5) | st.sampled_from(
    [
        "instances",
        "inputs",
        "examples",
        "context",
        "signature_name",
        "b64",
        "x",
        "tag",
        "signal",
        "sensor",
        "image",
        "caption",
    ]
)
_LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["serving_default", "regress_x_to_y", "YQ==", "classify_x_to_y", 1.0, 1]),
    st.just(PICTURE),
)
_VALUES = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_NAMES, inner, max_size=4),
    max_leaves=12,
)


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from _paths(value[key], (*path, key))


def _with(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copied = value.copy()
    copied[path[0]] = _with(value[path[0]], path[1:], new)
    return copied


@st.composite
def _bodies(draw: st.DrawFn, good: dict[str, Any]) -> bytes:
    """A good body with something else in one of its places, anything at all, or cut off."""
    kind = draw(st.sampled_from(["changed", "other", "cut", "bytes"]))
    if kind == "bytes":
        return draw(st.binary(max_size=50))
    if kind == "other":
        return json.dumps(draw(_VALUES)).encode()
    body = json.dumps(good).encode()
    if kind == "cut":
        return body[: draw(st.integers(0, len(body) - 1))]
    path = draw(st.sampled_from(list(_paths(good))))
    return json.dumps(_with(good, path, draw(_VALUES))).encode()


@pytest.mark.parametrize("what", GOOD)
@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_whatever_is_sent_gets_an_answer(
    client: FlaskClient, what: str, data: st.DataObject
) -> None:
    body = data.draw(_bodies(GOOD[what][0]))
    answer = client.post(f"/v1/models/{what}", data=body)
    assert answer.status_code in (200, 400), answer.text
    if answer.status_code == 400:
        told = answer.get_json()
        assert told.keys() == {"error"}
        assert isinstance(told["error"], str)
        assert told["error"]
    question, expected = GOOD[what]
    after = client.post(f"/v1/models/{what}", json=question)
    assert after.status_code == 200, after.text
    if expected is not None:
        assert after.get_json() == expected


@given(st.text(alphabet="models/:predictversions0123labelhf%\n é", max_size=30))
@settings(deadline=None)
def test_whatever_address_is_asked(client: FlaskClient, rest: str) -> None:
    path = f"/v1/{rest}"
    for answer in (client.get(path), client.post(path, json={"instances": [1]})):
        if 300 <= answer.status_code < 400:  # two slashes: the address is mended
            continue
        assert answer.status_code in (200, 400, 404), answer.text
        if answer.status_code != 200:
            assert isinstance(answer.get_json()["error"], str)


# --- while models load, and when the server ends --------------------------------------------------


def test_a_model_that_loads(tmp_path: Path) -> None:
    (tmp_path / "later" / "7").mkdir(parents=True)
    registry = Registry(tmp_path, Limits())
    registry.find()
    client = client_of(tmp_path, registry)
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
    client = client_of(tmp_path, Registry(tmp_path, Limits()), lifecycle)
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
    question = read_predict(body, signatures, "s", Limits())
    assert question.inputs["x"].dtype == np.float32
    back = json.loads(joined(write_predictions(question.inputs, question)))["predictions"]
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
    text = joined(write_predictions({"y": array}, Question("s", {})))
    back = np.array(json.loads(text)["outputs"]).astype(kind)
    assert np.array_equal(back.reshape(shape), array, equal_nan=True)
    both = json.loads(joined(write_predictions({"y": array, "z": array}, Question("s", {}))))[
        "outputs"
    ]
    assert np.array_equal(np.array(both["z"]).astype(kind).reshape(shape), array, equal_nan=True)
    if shape:
        rows = json.loads(
            joined(write_predictions({"y": array, "z": array}, Question("s", {}, rows=True)))
        )
        assert [row["y"] for row in rows["predictions"]] == json.loads(text)["outputs"] or strange
        assert len(rows["predictions"]) == shape[0]


def test_single_precision_is_written_as_short_as_it_is() -> None:
    for array in (np.array([0.1, 1e20, 3], np.float32), np.array(0.1, np.float32)):
        text = joined(write_predictions({"y": array}, Question("s", {}))).decode()
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
        joined(write_predictions(outputs, Question("s", {}, rows=True)))
    assert joined(write_predictions(outputs, Question("s", {})))


TWO = Question("s", {"inputs": np.array([b"", b""], object)})


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
    def read(value: Any, *shape: int | None) -> Question:
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

    def read(depth: int) -> Question:
        body = b'{"inputs": %s"a"%s}' % (b"[" * depth, b"]" * depth)
        return read_predict(body, signatures, "s", Limits(max_json_depth=200))

    assert read(64).inputs["x"].shape == (1,) * 64
    with pytest.raises(InvalidInput):
        read(65)
    with pytest.raises(InvalidInput):
        read(199)
    with pytest.raises(BadRequest, match="more than 200 levels"):
        read(200)


def test_examples_hold_what_the_features_say() -> None:
    from tensorflow.core.example.example_pb2 import Example

    features = {"a": [1, True], "b": 0.5, "c": ["é", b"\xff"], "d": []}
    texts = serialised([features, {}])
    assert isinstance(texts, np.ndarray)
    first, second = (Example.FromString(text) for text in texts)
    found = first.features.feature
    assert list(found["a"].int64_list.value) == [1, 1]
    assert list(found["b"].float_list.value) == [0.5]
    assert list(found["c"].bytes_list.value) == ["é".encode(), b"\xff"]
    assert found["d"].WhichOneof("kind") is None
    assert not second.features.feature
    problems = serialised([{"a": None, "b": [1, 1.0]}, {"a": [2**63]}])
    assert isinstance(problems, list)
    assert [d.field for d in problems] == ["examples[0].a", "examples[0].b", "examples[1].a"]
