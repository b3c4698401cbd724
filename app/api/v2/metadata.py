"""The metadata of models in the terms of the Open Inference Protocol and Triton's extensions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from app.api.v2.tensors import DATATYPES
from app.serving.models.model import Model
from app.serving.models.statistics import Timing
from app.serving.registry.entry import Entry
from app.serving.signature import TensorSpec

# Every model is converted to this, whatever its file was.
PLATFORM = "tensorflow_savedmodel"
STATES = {"ready": "READY", "loading": "LOADING", "failed": "UNAVAILABLE"}


def metadata(model: Model, versions: Iterable[Entry]) -> dict[str, Any]:
    """Return the protocol's model metadata. -1 stands for any size; if even the number of
    dimensions is open, [-1] stands for all of them."""
    signature = model.signatures[model.default_signature]
    return {
        "name": model.name,
        "versions": [str(entry.version) for entry in versions if entry.state == "ready"],
        "platform": PLATFORM,
        "inputs": [_tensor(spec) for spec in signature.inputs],
        "outputs": [_tensor(spec) for spec in signature.outputs],
    }


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": DATATYPES[spec.dtype], "shape": _sizes(spec.shape)}


def _sizes(shape: tuple[int | None, ...] | None) -> list[int]:
    return [-1] if shape is None else [-1 if size is None else size for size in shape]


def config(model: Model) -> dict[str, Any]:
    """Return Triton's model configuration (model_config.proto), as far as it is known here. If
    there are batches, shapes leave out their dimension."""
    signature = model.signatures[model.default_signature]
    batches = signature.batchable
    return {
        "name": model.name,
        "platform": PLATFORM,
        "backend": "tensorflow",
        "max_batch_size": model.card.runtime.max_batch_size if batches else 0,
        "input": [_config_tensor(spec, batches) for spec in signature.inputs],
        "output": [_config_tensor(spec, batches) for spec in signature.outputs],
    }


def _config_tensor(spec: TensorSpec, batches: bool) -> dict[str, Any]:
    datatype = "STRING" if spec.dtype == "string" else DATATYPES[spec.dtype]
    shape = spec.row_shape if batches and spec.shape is not None else spec.shape
    return {"name": spec.name, "data_type": f"TYPE_{datatype}", "dims": _sizes(shape)}


def index(entries: Iterable[Entry], ready: bool) -> list[dict[str, str]]:
    """Return Triton's repository index. ready: whether to leave out all others."""
    return [
        {
            "name": entry.name,
            "version": str(entry.version),
            "state": STATES[entry.state],
            "reason": entry.reason or "",
        }
        for entry in entries
        if entry.state == "ready" or not ready
    ]


def statistics(model: Model) -> dict[str, Any]:
    """Return Triton's statistics (docs/protocol/extension_statistics.md), of requests over all
    protocols. Runs are counted, not the requests in them; `compute_infer` includes the time to move
    data in and out, and there is no cache."""
    totals = model.statistics.totals()
    none = Timing()
    return {
        "name": model.name,
        "version": str(model.version),
        "last_inference": int(totals.last * 1000),
        "inference_count": totals.rows,
        "execution_count": totals.runs.count,
        "inference_stats": {
            key: asdict(spent)
            for key, spent in {
                "success": totals.answered,
                "fail": totals.failed,
                "queue": totals.waited,
                "compute_input": none,
                "compute_infer": totals.runs,
                "compute_output": none,
                "cache_hit": none,
                "cache_miss": none,
            }.items()
        },
        "batch_stats": [],
    }
