"""The Open Inference Protocol over gRPC: inference.GRPCInferenceService.

The protocol: github.com/kserve/open-inference-protocol, with Triton's extensions for
configuration, statistics and the index of models. Answers carry their tensors as
`raw_output_contents`, as Triton's do.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from app import __version__
from app.api.grpc.errors import Unsupported
from app.api.grpc.infer_request import read_infer_request
from app.api.grpc.messages import message_class
from app.api.grpc.rpc import Method, Rpc
from app.api.grpc.services import Parts
from app.api.grpc.texts import asks_for_text, write_text
from app.api.grpc.values import encoded_field
from app.api.v2 import metadata
from app.api.v2.request import InferRequest, RequestedOutput
from app.api.v2.response import answered_array
from app.api.v2.routes import (
    EXTENSIONS,
    NO_LOADING,
    NO_LOGGING,
    NO_SHARED_MEMORY,
    NO_TRACING,
    all_versions,
    version_of,
)
from app.api.v2.tensors import BINARY, binary_pieces, datatype_of
from app.errors import ModelNotFound, ModelUnavailable
from app.serving.arrays import Array
from app.serving.hub_rounds import free_texts, spread
from app.serving.large_bodies import run_large
from app.serving.limits import Limits
from app.serving.models.model import Model
from app.serving.registry.entry import ModelLease
from app.thread_slices import checkpoint

SERVICE = "inference.GRPCInferenceService"
STREAM = f"/{SERVICE}/ModelStreamInfer"
# What Triton has besides, and why it is refused.
REFUSED = {
    "RepositoryModelLoad": NO_LOADING,
    "RepositoryModelUnload": NO_LOADING,
    "SystemSharedMemoryStatus": NO_SHARED_MEMORY,
    "SystemSharedMemoryRegister": NO_SHARED_MEMORY,
    "SystemSharedMemoryUnregister": NO_SHARED_MEMORY,
    "CudaSharedMemoryStatus": NO_SHARED_MEMORY,
    "CudaSharedMemoryRegister": NO_SHARED_MEMORY,
    "CudaSharedMemoryUnregister": NO_SHARED_MEMORY,
    "TraceSetting": NO_TRACING,
    "LogSettings": NO_LOGGING,
}


def _message(name: str) -> Any:
    return message_class(f"inference.{name}")


class InferenceService:
    """The methods of the service, over the models of `parts`. `ModelStreamInfer` answers each
    request of a stream as `ModelInfer` does."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def methods(self) -> dict[str, Method]:
        """Return the methods by their paths."""
        own: dict[str, Method] = {
            "ServerLive": self.server_live,
            "ServerReady": self.server_ready,
            "ModelReady": self.model_ready,
            "ServerMetadata": self.server_metadata,
            "ModelMetadata": self.model_metadata,
            "ModelInfer": self.model_infer,
            "ModelStreamInfer": self.model_infer,
            "ModelConfig": self.model_config,
            "ModelStatistics": self.model_statistics,
            "RepositoryIndex": self.repository_index,
            **{name: partial(_refuse, reason) for name, reason in REFUSED.items()},
        }
        return {f"/{SERVICE}/{name}": method for name, method in own.items()}

    def server_live(self, rpc: Rpc) -> bytes:
        """Answer whether no model hangs."""
        return _encoded("ServerLiveResponse", live=self._parts.lifecycle.hung is None)

    def server_ready(self, rpc: Rpc) -> bytes:
        """Answer whether this process should get traffic."""
        return _encoded("ServerReadyResponse", ready=self._parts.ready)

    def model_ready(self, rpc: Rpc) -> bytes:
        """Answer whether a model can be asked; false for one that does not exist, as Triton."""
        request, _ = self._parts.read(rpc, _message("ModelReadyRequest"))
        try:
            with self._shown(request):
                return _encoded("ModelReadyResponse", ready=True)
        except (ModelNotFound, ModelUnavailable):
            return _encoded("ModelReadyResponse", ready=False)

    def server_metadata(self, rpc: Rpc) -> bytes:
        """Answer name and version of this server."""
        about = {"name": "keraport", "version": __version__, "extensions": EXTENSIONS}
        return _encoded("ServerMetadataResponse", **about)

    def model_metadata(self, rpc: Rpc) -> bytes:
        """Answer the inputs and outputs of a model."""
        request, _ = self._parts.read(rpc, _message("ModelMetadataRequest"))
        with self._shown(request) as lease:
            found = all_versions(self._parts.access, request.name)
            return _encoded("ModelMetadataResponse", **metadata.metadata(lease.model, found))

    def model_config(self, rpc: Rpc) -> bytes:
        """Answer a model's configuration in Triton's terms."""
        request, _ = self._parts.read(rpc, _message("ModelConfigRequest"))
        with self._shown(request) as lease:
            return _encoded("ModelConfigResponse", config=metadata.config(lease.model))

    def model_statistics(self, rpc: Rpc) -> bytes:
        """Answer the statistics of a model's versions, or of all models."""
        request, _ = self._parts.read(rpc, _message("ModelStatisticsRequest"))
        access = self._parts.access
        if request.version:
            with self._shown(request) as lease:
                models: list[Model | None] = [lease.model]
        else:
            names = [request.name] if request.name else [e.name for e in access.entries()]
            models = [entry.model for name in names for entry in all_versions(access, name)]
        found = [metadata.statistics(model) for model in spread(models) if model is not None]
        return _encoded("ModelStatisticsResponse", model_stats=found)

    def repository_index(self, rpc: Rpc) -> bytes:
        """Answer all models with their states."""
        request, _ = self._parts.read(rpc, _message("RepositoryIndexRequest"))
        access = self._parts.access
        names = [entry.name for entry in access.entries()]
        entries = [entry for name in names for entry in all_versions(access, name)]
        return _encoded("RepositoryIndexResponse", models=metadata.index(entries, request.ready))

    def model_infer(self, rpc: Rpc) -> bytes:
        """Answer the outputs of a model for the inputs of a request."""
        request, call = self._parts.read(rpc, _message("ModelInferRequest"))
        limits = self._parts.limits
        version = version_of(request.model_version or None)
        with self._parts.access.leased(request.model_name, version) as lease:
            model = lease.model
            self._parts.limit(rpc, call, model)
            if asks_for_text(request, model):
                return write_text(rpc, request, model, call)
            with model.admission(call) as counted:
                signature = model.signatures[model.default_signature]
                size = request.ByteSize()
                with call.stages.decoding():
                    read = partial(
                        read_infer_request, request, size, limits, batchable=signature.batchable
                    )
                    asked = run_large(size, read, call)
                if asked.timeout_s is not None:
                    call.deadline = min(call.deadline, rpc.began + asked.timeout_s)
                outputs = model.infer(
                    asked.inputs,
                    call,
                    counted,
                    outputs=None if asked.outputs is None else [o.name for o in asked.outputs],
                    binary=[t.name for t in signature.outputs],
                    wording=BINARY,
                )
                work = partial(_inferred, outputs, asked, model, limits)
                message = run_large(sum(a.nbytes for a in outputs.values()), work, call)
                free_texts([*outputs.values(), *asked.inputs.values()])
                return message

    def _shown(self, request: Any) -> ModelLease:
        """Lease a model to show it: its default version unless another is named."""
        version = version_of(request.version or None)
        return self._parts.access.leased(request.name, version, canary=False)


def stream_answer(message: bytes) -> bytes:
    """Return the encoded answer on a stream that holds an encoded ModelInferResponse."""
    return encoded_field(_message("ModelStreamInferResponse"), "infer_response", [message])


def stream_error(details: str, id: str) -> bytes:
    """Return the encoded answer on a stream to the request of this id that failed."""
    answer = _message("ModelStreamInferResponse")(error_message=details)
    answer.infer_response.id = id
    encoded: bytes = answer.SerializeToString()
    return encoded


def _inferred(
    outputs: dict[str, Array], asked: InferRequest, model: Model, limits: Limits
) -> bytes:
    """Return the encoded ModelInferResponse."""
    answer = _message("ModelInferResponse")(
        model_name=model.name, model_version=str(model.version), id=asked.id or ""
    )
    wanted = asked.outputs or [RequestedOutput(name, binary=True) for name in outputs]
    labels = model.task.labels()
    raw: list[bytes] = []
    for want in wanted:
        array = answered_array(want, outputs[want.name], labels, limits)
        answer.outputs.add(name=want.name, datatype=datatype_of(array), shape=array.shape)
        pieces = _checked(binary_pieces(array))
        raw.append(encoded_field(type(answer), "raw_output_contents", pieces))
    return b"".join([answer.SerializeToString(), *raw])


def _checked(pieces: Iterator[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        checkpoint()
        yield piece


def _encoded(kind: str, /, **fields: Any) -> bytes:
    encoded: bytes = _message(kind)(**fields).SerializeToString()
    return encoded


def _refuse(reason: str, rpc: Rpc) -> bytes:
    raise Unsupported(reason)
