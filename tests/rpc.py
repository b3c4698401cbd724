"""Clients of gRPC: TensorFlow Serving's own stubs, and calls of any method."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
import tritonclient.grpc as triton
from numpy.typing import NDArray
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from app.api.grpc.messages import message_class

Array = NDArray[Any]
CHECK = "/grpc.health.v1.Health/Check"
WATCH = "/grpc.health.v1.Health/Watch"
PREDICT = "/tensorflow.serving.PredictionService/Predict"
STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"
INFER = "/inference.GRPCInferenceService/ModelInfer"
Asked = message_class("grpc.health.v1.HealthCheckRequest")
State = message_class("grpc.health.v1.HealthCheckResponse")
# Seconds that no answer of a test takes.
PATIENCE_S = 150


class Serving:
    """TensorFlow Serving's clients for the server at an address."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.channel = channel
        self.prediction = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        self.model = model_service_pb2_grpc.ModelServiceStub(channel)

    def predict(self, model: str, **inputs: Any) -> dict[str, Array]:
        """The outputs by name. inputs: arrays, or `TensorProto`s, and what `predict_request` takes
        besides."""
        answer = self.prediction.Predict(predict_request(model, **inputs), timeout=PATIENCE_S)
        return {name: tf.make_ndarray(tensor) for name, tensor in answer.outputs.items()}

    def metadata(self, model: str, *fields: str, **spec: Any) -> Any:
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
        set_spec(request, model, **spec)
        return self.prediction.GetModelMetadata(request)

    def signatures(self, model: str, **spec: Any) -> dict[str, Any]:
        """The definitions of a model's signatures."""
        found = get_model_metadata_pb2.SignatureDefMap()
        self.metadata(model, "signature_def", **spec).metadata["signature_def"].Unpack(found)
        return dict(found.signature_def)

    def metadata_inputs(self, model: str, **spec: Any) -> list[str]:
        """The names of the inputs of the signature by default."""
        return list(self.signatures(model, **spec)["serving_default"].inputs)

    def status(self, model: str, **spec: Any) -> Any:
        request = get_model_status_pb2.GetModelStatusRequest()
        set_spec(request, model, **spec)
        return self.model.GetModelStatus(request)

    def classify(self, model: str, sent: Any, signature: str = "") -> Any:
        request = classification_pb2.ClassificationRequest(input=sent)
        set_spec(request, model, signature=signature)
        return self.prediction.Classify(request)

    def regress(self, model: str, sent: Any, signature: str = "") -> Any:
        request = regression_pb2.RegressionRequest(input=sent)
        set_spec(request, model, signature=signature)
        return self.prediction.Regress(request)

    def multi(self, sent: Any, *tasks: tuple[str, str, str]) -> Any:
        """tasks: model, signature and method of each."""
        request = inference_pb2.MultiInferenceRequest(input=sent)
        for model, signature, method in tasks:
            task = request.tasks.add(method_name=method)
            set_spec(task, model, signature=signature)
        return self.prediction.MultiInference(request)


def set_spec(
    request: Any,
    model: str,
    *,
    version: int | None = None,
    label: str | None = None,
    signature: str = "",
) -> None:
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    if version is not None:
        request.model_spec.version.value = version
    if label is not None:
        request.model_spec.version_label = label


def predict_request(
    model: str,
    *,
    version: int | None = None,
    label: str | None = None,
    signature: str = "",
    only: tuple[str, ...] = (),
    **inputs: Any,
) -> Any:
    request = predict_pb2.PredictRequest(output_filter=only)
    set_spec(request, model, version=version, label=label, signature=signature)
    for name, value in inputs.items():
        tensor = tf.make_tensor_proto(value) if isinstance(value, np.ndarray) else value
        request.inputs[name].CopyFrom(tensor)
    return request


@contextmanager
def serving_stubs(address: str, **options: Any) -> Iterator[Serving]:
    with grpc.insecure_channel(address, **options) as channel:
        yield Serving(channel)


@contextmanager
def triton_client(address: str) -> Iterator[Any]:
    with triton.InferenceServerClient(address) as client:
        yield client


def call(
    channel: grpc.Channel, path: str, data: bytes = b"", timeout: float = PATIENCE_S, **options: Any
) -> bytes:
    """The answer to any method, both encoded."""
    answer: bytes = channel.unary_unary(path)(data, timeout=timeout, **options)
    return answer


def fed(name: str, array: Array, datatype: str) -> Any:
    """An input for Triton's client."""
    sent = triton.InferInput(name, list(array.shape), datatype)
    return sent.set_data_from_numpy(array)


def code_and_details(caught: Any) -> tuple[str, str]:
    """Of an error of a client, `NOT_FOUND` and what it says."""
    error = caught.value
    if isinstance(error, grpc.RpcError):
        return error.code().name, error.details()
    return error.status().removeprefix("StatusCode."), error.message()


def state(channel: grpc.Channel, service: str = "", **options: Any) -> str:
    encoded = call(channel, CHECK, Asked(service=service).SerializeToString(), **options)
    return name_of(encoded)


def name_of(encoded: bytes) -> str:
    status = State.FromString(encoded).status
    name: str = State.DESCRIPTOR.enum_types_by_name["ServingStatus"].values_by_number[status].name
    return name


def waiting_for(over: threading.Event) -> Iterator[bytes]:
    """No message, until then."""
    over.wait()
    yield from ()


def refusal(channel: grpc.Channel, path: str, data: bytes = b"", **options: Any) -> Any:
    with pytest.raises(grpc.RpcError) as caught:
        call(channel, path, data, **options)
    return caught.value
