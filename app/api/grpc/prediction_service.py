"""TensorFlow Serving's services for gRPC: tensorflow.serving.PredictionService and ModelService.

The protocol: tensorflow_serving/apis/*.proto. Messages of errors are those of `/v1`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
from google.protobuf.json_format import ParseDict

from app.api.grpc.errors import NoSignature, Unsupported
from app.api.grpc.messages import message_class
from app.api.grpc.rpc import Method, Rpc
from app.api.grpc.services import Parts
from app.api.grpc.tensor_proto import WORDING, read_tensor, tensor_message
from app.api.grpc.values import encoded_entry, encoded_field
from app.api.v1.metadata import dtype_name, metadata_of, status_of
from app.api.v1.request import examples_signature
from app.api.v1.response import classes_of, values_of
from app.api.v1.servables import Servable, leased, versions
from app.errors import BadRequest, Detail
from app.serving.arrays import Array
from app.serving.hub_rounds import free_texts
from app.serving.large_bodies import run_large
from app.serving.limits import Limits
from app.serving.models.model import Model
from app.serving.signature import CLASSIFY_METHOD, REGRESS_METHOD, SignatureDef
from app.serving.tasks.base import invalid
from app.serving.tensors import DTYPES
from app.thread_slices import checkpoint

SERVICE = "tensorflow.serving.PredictionService"
MODEL_SERVICE = "tensorflow.serving.ModelService"
NO_RELOAD = "models are loaded from the models folder: add or remove them there"
_RESULTS = {CLASSIFY_METHOD: "classification_result", REGRESS_METHOD: "regression_result"}
# Inputs of one request.
MAX_INPUTS = 1000


def _message(name: str) -> Any:
    return message_class(f"tensorflow.serving.{name}")


class PredictionService:
    """The methods of both services, over the models of `parts`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def methods(self) -> dict[str, Method]:
        """Return the methods by their paths."""
        return {
            f"/{SERVICE}/Predict": self.predict,
            f"/{SERVICE}/Classify": self.classify,
            f"/{SERVICE}/Regress": self.regress,
            f"/{SERVICE}/MultiInference": self.multi_inference,
            f"/{SERVICE}/GetModelMetadata": self.get_model_metadata,
            f"/{MODEL_SERVICE}/GetModelStatus": self.get_model_status,
            f"/{MODEL_SERVICE}/HandleReloadConfigRequest": self.refuse_reload,
        }

    def predict(self, rpc: Rpc) -> bytes:
        """Answer outputs by name, those of `output_filter` or all of them."""
        request, call = self._parts.read(rpc, _message("PredictRequest"))
        with leased(self._parts.access, _servable(request)) as lease:
            model = lease.model
            self._parts.limit(rpc, call, model)
            with model.admission(call) as counted:
                name = request.model_spec.signature_name or model.default_signature
                signature = _predicting(model, name)
                with call.stages.decoding():
                    work = partial(_inputs, request, signature, self._parts.limits)
                    inputs = run_large(request.ByteSize(), work, call)
                outputs = model.infer(
                    inputs,
                    call,
                    counted,
                    signature=name,
                    outputs=_wanted(request),
                    binary=[t.name for t in signature.outputs],
                    wording=WORDING,
                )
                write = partial(_predicted, outputs, model, name)
                message = run_large(_size(outputs), write, call)
                free_texts([*outputs.values(), *inputs.values()])
                return message

    def classify(self, rpc: Rpc) -> bytes:
        """Answer label and score of each class of each example."""
        return self._of_examples(rpc, "Classification", CLASSIFY_METHOD)

    def regress(self, rpc: Rpc) -> bytes:
        """Answer a number for each example."""
        return self._of_examples(rpc, "Regression", REGRESS_METHOD)

    def multi_inference(self, rpc: Rpc) -> bytes:
        """Answer several signatures of one model for the same examples."""
        request, call = self._parts.read(rpc, _message("MultiInferenceRequest"))
        tasks = _checked_tasks(request.tasks)
        with leased(self._parts.access, _servable(tasks[0])) as lease:
            model = lease.model
            self._parts.limit(rpc, call, model)
            with model.admission(call) as counted:
                kind, one = _message("MultiInferenceResponse"), _message("InferenceResult")
                results: list[bytes] = []
                for task in tasks:
                    _check_room(results, self._parts.limits)
                    name = task.model_spec.signature_name or model.default_signature
                    spec = _spec(model, name)
                    result = self._results(
                        request.input, name, task.method_name, model, call, counted
                    )
                    parts = [
                        encoded_field(one, "model_spec", [spec]),
                        encoded_field(one, _RESULTS[task.method_name], [result]),
                    ]
                    results.append(encoded_field(kind, "results", parts))
                return b"".join(results)

    def _of_examples(self, rpc: Rpc, kind: str, method: str) -> bytes:
        request, call = self._parts.read(rpc, _message(f"{kind}Request"))
        with leased(self._parts.access, _servable(request)) as lease:
            model = lease.model
            self._parts.limit(rpc, call, model)
            with model.admission(call) as counted:
                name = request.model_spec.signature_name or model.default_signature
                result = self._results(request.input, name, method, model, call, counted)
                answer = _message(f"{kind}Response")
                return b"".join(
                    [
                        encoded_field(answer, "result", [result]),
                        encoded_field(answer, "model_spec", [_spec(model, name)]),
                    ]
                )

    def _results(
        self, sent: Any, name: str, method: str, model: Model, call: Any, counted: Any
    ) -> bytes:
        """Return the encoded result of a signature for examples."""
        signature = examples_signature(model.signatures, name, method)
        with call.stages.decoding():
            read = partial(_examples, sent, self._parts.limits)
            examples = run_large(sent.ByteSize(), read, call)
        inputs = {signature.inputs[0].name: examples}
        binary = [t.name for t in signature.outputs]
        outputs = model.infer(inputs, call, counted, signature=name, binary=binary, wording=WORDING)
        write = _classified if method == CLASSIFY_METHOD else _regressed
        result = run_large(_size(outputs), partial(write, outputs, len(examples)), call)
        free_texts([*outputs.values(), examples])
        return result

    def get_model_metadata(self, rpc: Rpc) -> bytes:
        """Answer the signatures of a model."""
        request, _ = self._parts.read(rpc, _message("GetModelMetadataRequest"))
        if not request.metadata_field:
            raise BadRequest("GetModelMetadataRequest must specify at least one metadata_field")
        for field in request.metadata_field:
            if field != "signature_def":
                raise BadRequest(f"Metadata field {field[:100]} is not supported")
        with leased(self._parts.access, _servable(request), canary=False) as lease:
            described = metadata_of(lease.model)
        answer = _message("GetModelMetadataResponse")()
        ParseDict(described["model_spec"], answer.model_spec)
        definitions = ParseDict(
            described["metadata"]["signature_def"], _message("SignatureDefMap")()
        )
        answer.metadata["signature_def"].Pack(definitions)
        encoded: bytes = answer.SerializeToString()
        return encoded

    def get_model_status(self, rpc: Rpc) -> bytes:
        """Answer the states of a model's versions."""
        request, _ = self._parts.read(rpc, _message("GetModelStatusRequest"))
        states = status_of(versions(self._parts.access, _servable(request)))
        encoded: bytes = ParseDict(states, _message("GetModelStatusResponse")()).SerializeToString()
        return encoded

    def refuse_reload(self, rpc: Rpc) -> bytes:
        """Refuse to change which models are served."""
        raise Unsupported(NO_RELOAD)


def _servable(request: Any) -> Servable:
    """Return what a request is for. Raises BadRequest."""
    if not request.HasField("model_spec") or not request.model_spec.name:
        raise BadRequest("Missing ModelSpec: expected model_spec with the name of a model")
    spec = request.model_spec
    match spec.WhichOneof("version_choice"):
        case "version":
            return Servable(spec.name, spec.version.value)
        case "version_label":
            return Servable(spec.name, spec.version_label)
        case _:
            return Servable(spec.name)


def _predicting(model: Model, name: str) -> SignatureDef:
    signature = model.signatures.get(name)
    if signature is None:
        raise NoSignature(
            f'Serving signature key "{name[:100]}" not found; the model has: '
            f"{', '.join(model.signatures)}"
        )
    details = [
        Detail(t.name, f"of type {dtype_name(t.dtype)}, which this server does not send")
        for t in signature.outputs
        if t.dtype not in DTYPES
    ]
    if details:
        raise invalid(details)
    return signature


def _inputs(request: Any, signature: SignatureDef, limits: Limits) -> dict[str, Array]:
    """Return the inputs of a request. Raises InvalidInput with all problems at once."""
    if len(request.inputs) > MAX_INPUTS:
        count = len(request.inputs)
        raise invalid([Detail("inputs", f"{count} of them", count, f"at most {MAX_INPUTS}")])
    inputs: dict[str, Array] = {}
    details: list[Detail] = []
    for name, tensor in sorted(request.inputs.items()):
        read = read_tensor(name, tensor, limits, batchable=signature.batchable)
        if isinstance(read, Detail):
            details.append(read)
        else:
            inputs[name] = read
    if details:
        raise invalid(details)
    return inputs


def _wanted(request: Any) -> list[str] | None:
    """Return the outputs that a request filters out, None for all. Raises BadRequest."""
    wanted = [*request.output_filter]
    if len(set(wanted)) < len(wanted):
        twice = next(name for name in wanted if wanted.count(name) > 1)
        raise BadRequest(f"duplicate output tensor alias: {twice[:100]}")
    return wanted or None


def _predicted(outputs: Mapping[str, Array], model: Model, signature: str) -> bytes:
    """Return the encoded PredictResponse."""
    kind = _message("PredictResponse")
    parts = [
        encoded_entry(kind, "outputs", name, tensor_message(array))
        for name, array in outputs.items()
    ]
    return b"".join([*parts, encoded_field(kind, "model_spec", [_spec(model, signature)])])


def _spec(model: Model, signature: str) -> bytes:
    spec = _message("ModelSpec")(name=model.name, signature_name=signature)
    spec.version.value = model.version
    encoded: bytes = spec.SerializeToString()
    return encoded


def _size(outputs: Mapping[str, Array]) -> int:
    """Return about how many bytes of work outputs are."""
    return sum(array.nbytes for array in outputs.values())


def _checked_tasks(tasks: Any) -> Any:
    """Return the tasks of a request. Raises BadRequest for tasks that cannot be done together."""
    if not tasks:
        raise BadRequest("Inference request must have at least one task")
    if len({task.model_spec.name for task in tasks}) > 1:
        raise BadRequest("all tasks of a request must be for the same model")
    first = _servable(tasks[0])
    seen = set()
    for task in tasks:
        if _servable(task) != first:
            raise BadRequest("all tasks of a request must be for the same version of a model")
        if task.method_name not in _RESULTS:
            raise Unsupported(f"Unsupported signature method_name: {task.method_name[:100]}")
        if task.model_spec.signature_name in seen:
            name = task.model_spec.signature_name
            raise BadRequest(f"Duplicate evaluation of signature: {name[:100]}")
        seen.add(task.model_spec.signature_name)
    return tasks


def _check_room(results: list[bytes], limits: Limits) -> None:
    limits.check_answer(sum(map(len, results)), len(results))


def _examples(sent: Any, limits: Limits) -> Array:
    """Return serialised `tf.Example`s (n,). Raises BadRequest, InvalidInput."""
    kind = sent.WhichOneof("kind")
    if kind is None:
        raise BadRequest("Input is empty: expected example_list or example_list_with_context")
    some = getattr(sent, kind)
    if not some.examples:
        raise BadRequest("Input is empty: expected at least one example")
    if excess := limits.excess("examples", len(some.examples)):
        raise invalid(excess)
    # Encoded messages that follow each other are merged: an example's own features count.
    context = some.context.SerializeToString() if kind.endswith("context") else b""
    if len(context) * len(some.examples) > limits.max_body_bytes:
        expected = f"at most {limits.max_body_bytes:,} bytes with the context in each example"
        raise invalid([Detail("input", "too much context", expected=expected)])
    texts = np.empty(len(some.examples), object)
    for i, example in enumerate(some.examples):
        texts[i] = context + example.SerializeToString()
        if i % 100 == 0:
            checkpoint()
    return texts


def _classified(outputs: Mapping[str, Array], count: int) -> bytes:
    """Return the encoded ClassificationResult."""
    labels, scores = classes_of(outputs, count).values()
    result, row_of = _message("ClassificationResult"), _message("Classifications")
    classes = _message("Class")

    def rows() -> Iterator[bytes]:
        for names, numbers in zip(labels, scores, strict=True):
            pairs = zip(names.tolist(), numbers.tolist(), strict=True)
            row = row_of(
                classes=[
                    classes(label=label.decode("utf-8", "replace"), score=score)
                    for label, score in pairs
                ]
            )
            yield encoded_field(result, "classifications", [row.SerializeToString()])
            checkpoint()

    return b"".join(rows())


def _regressed(outputs: Mapping[str, Array], count: int) -> bytes:
    """Return the encoded RegressionResult."""
    values, result = values_of(outputs, count), _message("RegressionResult")
    parts = []
    for at in range(0, len(values), 1000):
        some = values[at : at + 1000].tolist()
        parts.append(result(regressions=[{"value": value} for value in some]).SerializeToString())
        checkpoint()
    return b"".join(parts)
