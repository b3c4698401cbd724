"""TensorFlow Serving's gRPC API, through its own stubs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import get_model_metadata_pb2, input_pb2, model_management_pb2

from app.serving.signature import CLASSIFY_METHOD, PREDICT_METHOD, REGRESS_METHOD
from tests.rpc import Serving, code_and_details, predict_request, serving_stubs
from tests.support import ServerProcess, picture
from tests.v1 import LIMIT_MB, ask, b64

HALF = pytest.mark.parametrize("half", ["half_plus_two", "own"])
COLUMN = np.array([[1], [2], [5]], np.float32)


@pytest.fixture(scope="module")
def tfs(v1: ServerProcess) -> Iterator[Serving]:
    with serving_stubs(v1.grpc) as serving:
        yield serving


def refused(tfs: Serving, code: str, model: str, **request: Any) -> str:
    """The message of the refusal of a prediction."""
    with pytest.raises(grpc.RpcError) as caught:
        tfs.predict(model, **request)
    found, details = code_and_details(caught)
    assert found == code, details
    return details


def examples(*rows: dict[str, Any], context: dict[str, Any] | None = None) -> Any:
    made = [example(row) for row in rows]
    if context is None:
        return input_pb2.Input(example_list=input_pb2.ExampleList(examples=made))
    both = input_pb2.ExampleListWithContext(examples=made, context=example(context))
    return input_pb2.Input(example_list_with_context=both)


def example(row: dict[str, Any]) -> Any:
    made = tf.train.Example()
    for name, value in row.items():
        if isinstance(value, bytes):
            made.features.feature[name].bytes_list.value.append(value)
        else:
            made.features.feature[name].float_list.value.append(value)
    return made


# --- Predict --------------------------------------------------------------------------------------


@HALF
@pytest.mark.parametrize("version", [None, 123])
def test_predict(tfs: Serving, half: str, version: int | None) -> None:
    answer = tfs.prediction.Predict(predict_request(half, version=version, x=COLUMN))
    assert list(answer.outputs) == ["y"]
    # As the real server answers, and many clients read.
    assert list(answer.outputs["y"].float_val) == [2.5, 3.0, 4.5]
    assert tf.make_ndarray(answer.outputs["y"]).tolist() == [[2.5], [3.0], [4.5]]
    spec = answer.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == (half, 123, "serving_default")


def test_predict_answers_as_v1(v1: ServerProcess, tfs: Serving) -> None:
    column = np.linspace(-3, 3, 50, dtype=np.float32)[:, None]
    (found,) = tfs.predict("own", x=column).values()
    wanted = ask(v1, "own:predict", {"instances": column.tolist()})["predictions"]
    assert np.array_equal(found, np.array(wanted, np.float32))


def test_typed_values_and_one_for_all(tfs: Serving) -> None:
    tensor = tf.make_tensor_proto(COLUMN)
    typed = type(tensor)(dtype=tensor.dtype, tensor_shape=tensor.tensor_shape, float_val=[1, 2, 5])
    assert tfs.predict("own", x=typed)["y"].tolist() == [[2.5], [3.0], [4.5]]
    one = type(tensor)(dtype=tensor.dtype, tensor_shape=tensor.tensor_shape, float_val=[4])
    assert tfs.predict("own", x=one)["y"].tolist() == [[4.0], [4.0], [4.0]]


def test_nan_and_infinity(tfs: Serving) -> None:
    sent = np.array([[np.nan], [np.inf], [-np.inf]], np.float32)
    found = tfs.predict("own", x=sent)["y"]
    assert np.array_equal(found, sent, equal_nan=True)


def test_versions_and_labels(tfs: Serving) -> None:
    x = np.zeros((1, 1), np.float32)

    def answer(**spec: Any) -> set[float]:
        (name,) = tfs.metadata_inputs("numbered", **spec)
        (found,) = tfs.predict("numbered", **{name: x}, **spec).values()
        return set(found.ravel().tolist())

    assert answer() == answer(version=2) == {2.0}
    assert answer(version=1) == answer(label="stable") == {1.0}
    missing = refused(tfs, "NOT_FOUND", "numbered", version=9, x=x)
    assert missing == "Servable not found for request: Specific(numbered, 9)"
    assert refused(tfs, "NOT_FOUND", "nobody", x=x) == (
        "Servable not found for request: Latest(nobody)"
    )
    label = refused(tfs, "INVALID_ARGUMENT", "numbered", label="gone", x=x)
    assert label == "Unrecognized servable version label: gone"
    assert "failed to load" in refused(tfs, "UNAVAILABLE", "numbered", version=3, x=x)
    for version in (-1, 2**63 - 1):
        assert refused(tfs, "NOT_FOUND", "own", version=version, x=x)


def test_signatures_and_filters(tfs: Serving) -> None:
    metadata = tfs.signatures("tagged")
    assert len(metadata) > 1
    for name, signature in metadata.items():
        arrays = {key: sample(info) for key, info in signature.inputs.items()}
        if any(info.dtype == tf.complex64.as_datatype_enum for info in signature.inputs.values()):
            details = refused(tfs, "INVALID_ARGUMENT", "tagged", signature=name, **arrays)
            assert "DT_COMPLEX64" in details
            continue
        found = tfs.predict("tagged", signature=name, **arrays)
        assert set(found) == set(signature.outputs)
        for key, info in signature.outputs.items():
            assert found[key].dtype == tf.dtypes.as_dtype(info.dtype).as_numpy_dtype
    x = COLUMN
    assert set(tfs.predict("own", only=("y",), x=x)) == {"y"}
    unknown = refused(tfs, "INVALID_ARGUMENT", "own", only=("z",), x=x)
    assert "z: no such output, expected one of y" in unknown
    twice = refused(tfs, "INVALID_ARGUMENT", "own", only=("y", "y"), x=x)
    assert twice == "duplicate output tensor alias: y"
    gone = refused(tfs, "FAILED_PRECONDITION", "own", signature="gone", x=x)
    assert gone.startswith('Serving signature key "gone" not found; the model has: ')


def sample(info: Any) -> Any:
    """An array for an input."""
    shape = [max(1, dim.size) for dim in info.tensor_shape.dim]
    dtype = tf.dtypes.as_dtype(info.dtype)
    if dtype == tf.string:
        return np.full(shape, b"text", object)
    return np.ones(shape, dtype.as_numpy_dtype)


def test_all_problems_at_once(tfs: Serving) -> None:
    details = refused(
        tfs, "INVALID_ARGUMENT", "own", x=np.ones((1, 2), np.float64), z=np.ones((1, 1), np.int64)
    )
    assert "2 problems" in details
    assert (
        "x: wrong dtype: sent DT_DOUBLE, expected numbers (DT_FLOAT) of shape [any, 1]" in details
    )
    assert "z: unexpected, expected one of x" in details
    complex_ = refused(tfs, "INVALID_ARGUMENT", "own", x=np.ones((1, 1), np.complex64))
    assert "DT_COMPLEX64" in complex_
    assert "x: missing" in refused(tfs, "INVALID_ARGUMENT", "own")
    empty = refused(tfs, "INVALID_ARGUMENT", "own", x=np.ones((0, 1), np.float32))
    assert "no rows" in empty
    assert "Missing ModelSpec" in refused(tfs, "INVALID_ARGUMENT", "", x=COLUMN)


def test_a_long_list_of_problems_is_cut_to_what_metadata_holds(tfs: Serving) -> None:
    inputs = {f"ünbekannt{i}": np.ones((1, 1), np.float32) for i in range(200)}
    details = refused(tfs, "INVALID_ARGUMENT", "own", **inputs)
    assert details.endswith("…")
    assert "the input has 201 problems, of which the first 100 are listed" in details
    many = {f"i{i}": np.ones(1, np.float32) for i in range(1001)}
    assert "at most 1000" in refused(tfs, "INVALID_ARGUMENT", "own", **many)


def test_encoded_pictures(v1: ServerProcess, tfs: Serving) -> None:
    files = [picture(seed) for seed in range(3)]
    (name,) = tfs.metadata_inputs("pictures")
    (found,) = tfs.predict("pictures", **{name: np.array(files, object)}).values()
    wanted = ask(v1, "pictures:predict", {"instances": [b64(file) for file in files]})
    assert np.allclose(found, wanted["predictions"], rtol=1e-6)
    broken = refused(tfs, "INVALID_ARGUMENT", "pictures", **{name: np.array([b"no"], object)})
    assert "[0]: not a picture" in broken


def test_texts(v1: ServerProcess, tfs: Serving) -> None:
    (name,) = tfs.metadata_inputs("words")
    info = tfs.signatures("words")["serving_default"].inputs[name]
    shape = [2] + [1] * (len(info.tensor_shape.dim) - 1)
    sent = np.array([b"\xff\xfe no utf-8", b"word"], object).reshape(shape)
    assert tfs.predict("words", **{name: sent})


def test_the_largest_message(v1: ServerProcess, tfs: Serving) -> None:
    def send(size: int) -> tuple[str, str]:
        """What becomes of a message of so many bytes, most of them the name of a filter."""
        request = predict_request("own", x=COLUMN, only=("",))
        request.output_filter[0] = "z" * (size - request.ByteSize() - 3)
        assert request.ByteSize() == size
        with pytest.raises(grpc.RpcError) as caught:
            tfs.prediction.Predict(request)
        return code_and_details(caught)

    limit = LIMIT_MB * 1_000_000
    code, details = send(limit)
    assert (code, "no such output" in details) == ("INVALID_ARGUMENT", True)
    code, details = send(limit + 1)
    assert (code, "larger than max" in details) == ("RESOURCE_EXHAUSTED", True)
    rows = np.ones((100_000, 1), np.float32)
    assert (tfs.predict("own", x=rows)["y"] == 2.5).all()
    more = refused(tfs, "INVALID_ARGUMENT", "own", x=np.ones((100_001, 1), np.float32))
    assert "KERAPORT_MAX_ROWS" in more


# --- examples -------------------------------------------------------------------------------------


@HALF
def test_classify_and_regress(tfs: Serving, half: str) -> None:
    answer = tfs.regress(half, examples({"x": 1.0}, {"x": 2.0}), "regress_x_to_y")
    assert [each.value for each in answer.result.regressions] == [2.5, 3.0]
    assert answer.model_spec.signature_name == "regress_x_to_y"
    shared = examples({}, {"x": 2.0}, context={"x": 8.0})
    answer = tfs.regress(half, shared, "regress_x_to_y")
    assert [each.value for each in answer.result.regressions] == [6.0, 3.0]
    answer = tfs.classify(half, examples({"x": 20.0}, {"x": 10.0}), "classify_x_to_y")
    found = [
        [(one.label, one.score) for one in row.classes] for row in answer.result.classifications
    ]
    assert found == [[("", 12.0)], [("", 7.0)]]


@HALF
def test_multi_inference(tfs: Serving, half: str) -> None:
    answer = tfs.multi(
        examples({"x": 20.0}),
        (half, "regress_x_to_y", REGRESS_METHOD),
        (half, "classify_x_to_y", CLASSIFY_METHOD),
    )
    first, second = answer.results
    assert [each.value for each in first.regression_result.regressions] == [12.0]
    assert second.classification_result.classifications[0].classes[0].score == 12.0
    assert second.model_spec.signature_name == "classify_x_to_y"
    assert second.model_spec.version.value == 123


@pytest.mark.parametrize(
    ("tasks", "code", "message"),
    [
        ([], "INVALID_ARGUMENT", "at least one task"),
        (
            [("own", "a", REGRESS_METHOD), ("numbered", "a", REGRESS_METHOD)],
            "INVALID_ARGUMENT",
            "same model",
        ),
        (
            [("own", "a", REGRESS_METHOD)] * 2,
            "INVALID_ARGUMENT",
            "Duplicate evaluation of signature: a",
        ),
        ([("own", "a", PREDICT_METHOD)], "UNIMPLEMENTED", "Unsupported signature method_name"),
        (
            [("own", "a", REGRESS_METHOD)],
            "INVALID_ARGUMENT",
            "No signature was found with the name: a",
        ),
        (
            [("own", "classify_x_to_y", REGRESS_METHOD)],
            "INVALID_ARGUMENT",
            "Expected regression signature",
        ),
    ],
)
def test_tasks_that_cannot_be_done(tfs: Serving, tasks: Any, code: str, message: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        tfs.multi(examples({"x": 1.0}), *tasks)
    found, details = code_and_details(caught)
    assert found == code
    assert message in details


def test_no_examples(tfs: Serving) -> None:
    for sent in (input_pb2.Input(), examples()):
        with pytest.raises(grpc.RpcError) as caught:
            tfs.regress("own", sent, "regress_x_to_y")
        code, details = code_and_details(caught)
        assert (code, details.partition(":")[0]) == ("INVALID_ARGUMENT", "Input is empty")


def test_a_context_must_not_multiply_the_request(tfs: Serving) -> None:
    sent = examples(*[{}] * 2000, context={"a": bytes(10_000)})
    with pytest.raises(grpc.RpcError) as caught:
        tfs.regress("own", sent, "regress_x_to_y")
    assert "too much context" in code_and_details(caught)[1]


# --- metadata and states --------------------------------------------------------------------------


@HALF
def test_metadata(tfs: Serving, half: str) -> None:
    answer = tfs.metadata(half, "signature_def")
    assert (answer.model_spec.name, answer.model_spec.version.value) == (half, 123)
    found = tfs.signatures(half)
    serving = found["serving_default"]
    assert serving.method_name == PREDICT_METHOD
    assert serving.inputs["x"].dtype == tf.float32.as_datatype_enum
    assert [dim.size for dim in serving.inputs["x"].tensor_shape.dim] == [-1, 1]
    assert found["regress_x_to_y"].inputs["inputs"].dtype == tf.string.as_datatype_enum


def test_metadata_that_is_not_there(tfs: Serving) -> None:
    for fields, message in (
        ((), "GetModelMetadataRequest must specify at least one metadata_field"),
        (("tree",), "Metadata field tree is not supported"),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            tfs.metadata("own", *fields)
        assert code_and_details(caught) == ("INVALID_ARGUMENT", message)


def test_status(tfs: Serving) -> None:
    (state,) = tfs.status("own").model_version_status
    assert (state.version, state.state, state.status.error_code) == (123, 30, 0)
    states = tfs.status("numbered").model_version_status
    assert [(each.version, each.state) for each in states] == [(3, 50), (2, 30), (1, 30)]
    assert states[0].status.error_message
    (one,) = tfs.status("numbered", label="stable").model_version_status
    assert one.version == 1
    with pytest.raises(grpc.RpcError) as caught:
        tfs.status("nobody")
    assert code_and_details(caught) == ("NOT_FOUND", "Could not find any versions of model nobody")


def test_a_change_of_the_configuration_is_refused(tfs: Serving) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        tfs.model.HandleReloadConfigRequest(model_management_pb2.ReloadConfigRequest())
    code, details = code_and_details(caught)
    assert (code, "models folder" in details) == ("UNIMPLEMENTED", True)


def test_the_messages_of_metadata_unpack(tfs: Serving) -> None:
    packed = tfs.metadata("own", "signature_def").metadata["signature_def"]
    assert packed.Unpack(get_model_metadata_pb2.SignatureDefMap())
