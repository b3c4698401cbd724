"""The states and signatures of models in the terms of TensorFlow Serving."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from app.serving.models.model import Model
from app.serving.registry.entry import Entry
from app.serving.signature import TensorSpec

# tensorflow_serving/apis/get_model_status.proto
STATES = {"loading": "LOADING", "ready": "AVAILABLE", "failed": "END"}
# tensorflow/core/framework/types.proto, where a dtype's own name is not in it.
_TYPES = {"float16": "DT_HALF", "float32": "DT_FLOAT", "float64": "DT_DOUBLE"}


def status_of(entries: Iterable[Entry]) -> dict[str, Any]:
    """Return the states of versions: tensorflow_serving/apis/get_model_status.proto as JSON."""
    return {"model_version_status": [_status(entry) for entry in entries]}


def dtype_name(dtype: str) -> str:
    """Return the name of a dtype in tensorflow/core/framework/types.proto."""
    return _TYPES.get(dtype, f"DT_{dtype.upper()}")


def _status(entry: Entry) -> dict[str, Any]:
    failed = entry.state == "failed"
    return {
        "version": str(entry.version),
        "state": STATES[entry.state],
        "status": {
            "error_code": "UNKNOWN" if failed else "OK",
            "error_message": (entry.reason or "") if failed else "",
        },
    }


def metadata_of(model: Model) -> dict[str, Any]:
    """Return the signatures: tensorflow_serving/apis/get_model_metadata.proto as JSON, where int64
    is a text."""
    definitions = {
        name: {
            "inputs": {t.name: _tensor_info(t) for t in signature.inputs},
            "outputs": {t.name: _tensor_info(t) for t in signature.outputs},
            "method_name": signature.method,
            "defaults": {},
        }
        for name, signature in model.signatures.items()
    }
    return {
        "model_spec": {"name": model.name, "signature_name": "", "version": str(model.version)},
        "metadata": {"signature_def": {"signature_def": definitions}},
    }


def _tensor_info(spec: TensorSpec) -> dict[str, Any]:
    sizes = spec.shape or ()
    return {
        "dtype": dtype_name(spec.dtype),
        "tensor_shape": {
            "dim": [{"size": str(-1 if size is None else size), "name": ""} for size in sizes],
            "unknown_rank": spec.shape is None,
        },
        "name": spec.node,
    }
