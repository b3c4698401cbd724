"""Calls of gRPC over TLS for the steady load, on a connection of its own for each client."""

from __future__ import annotations

import grpc
import numpy as np

from app.api.grpc.messages import message_class
from tests.stack.certificates import AUTHORITY_PEM
from tests.stack.compose import SELF_SIGNED, Stack
from tests.support import CAR

PREDICT = "/tensorflow.serving.PredictionService/Predict"
INFER = "/inference.GRPCInferenceService/ModelInfer"
CAR_ROW = np.array([list(CAR.values())], np.float32)
# Channels of a process would share their connections. No service config: nothing but what has never
# been sent, or what a server says it has not read, is sent again by the client itself.
OPTIONS = [("grpc.use_local_subchannel_pool", 1)]


def credentials(stack: Stack) -> grpc.ChannelCredentials:
    """Take the certificates that the stack has made for itself, and those of the tests."""
    own = stack.exec("nginx", "cat", SELF_SIGNED)
    return grpc.ssl_channel_credentials((own + AUTHORITY_PEM).encode())


def connect(port: int, trusted: grpc.ChannelCredentials, *, retries: bool = True) -> grpc.Channel:
    """A channel to the stack, which connects with the first call. retries: whether it sends calls
    again by itself."""
    options = [*OPTIONS, ("grpc.enable_retries", int(retries))]
    return grpc.secure_channel(f"localhost:{port}", trusted, options)


def infer_request(model: str = "mpg") -> bytes:
    request = message_class("inference.ModelInferRequest")(model_name=model)
    request.inputs.add(name="car", datatype="FP32", shape=CAR_ROW.shape)
    request.raw_input_contents.append(CAR_ROW.tobytes())
    encoded: bytes = request.SerializeToString()
    return encoded


def predict_request() -> bytes:
    request = message_class("tensorflow.serving.PredictRequest")()
    request.model_spec.name = "mpg"
    tensor = request.inputs["car"]
    tensor.dtype = 1  # DT_FLOAT
    for size in CAR_ROW.shape:
        tensor.tensor_shape.dim.add(size=size)
    tensor.tensor_content = CAR_ROW.tobytes()
    encoded: bytes = request.SerializeToString()
    return encoded


REQUESTS = [(PREDICT, predict_request()), (INFER, infer_request())]


def ask(channel: grpc.Channel, number: int) -> tuple[str, str]:
    """The path of a call, and what is wrong with its answer."""
    path, body = REQUESTS[number % len(REQUESTS)]
    try:
        answer = channel.unary_unary(path)(body, timeout=60)
    except grpc.RpcError as error:
        return path, f"{error.code().name} {error.details()}"
    return path, "" if answer else "an empty answer"
