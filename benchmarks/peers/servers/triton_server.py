"""Triton: `python -m benchmarks.peers.servers.triton_server KIND PORT WORKSPACE [GRPC_PORT]`.

PyTriton starts the Triton server of its wheel, whose HTTP and batching are C++, and runs the model
in this process.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path

import numpy as np
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

from benchmarks.peers.servers.card import MAX_BATCH, fields
from benchmarks.peers.servers.keras_model import Array, Model

model = Model()


@batch
def predict_rows(row: Array) -> dict[str, Array]:
    """float32 (batch, fields) to one number each."""
    return {"prediction": model.run(row)}


@batch
def predict_pictures(image: Array) -> dict[str, Array]:
    """Files (batch, 1) to labels."""
    scores = model.run(np.stack([model.picture(file) for file in image[:, 0]]))
    labels, probabilities = zip(*map(model.label, scores), strict=True)
    return {
        "label": np.char.encode(np.array(labels)[:, None], "utf-8"),
        "probability": np.array(probabilities, np.float32)[:, None],
    }


@batch
def predict_tensors(tensor: Array) -> dict[str, Array]:
    """float32 (batch, height, width, 3) to the scores."""
    return {"scores": model.run(tensor)}


def main() -> None:
    """Serve until the process is ended."""
    kind, port, workspace = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    grpc_port = int(sys.argv[4]) if len(sys.argv) > 4 else None
    infer, inputs, outputs = {
        "row": (
            predict_rows,
            [Tensor(name="row", dtype=np.float32, shape=(len(fields()),))],
            [Tensor(name="prediction", dtype=np.float32, shape=(1,))],
        ),
        "picture": (
            predict_pictures,
            [Tensor(name="image", dtype=bytes, shape=(1,))],
            [
                Tensor(name="label", dtype=bytes, shape=(1,)),
                Tensor(name="probability", dtype=np.float32, shape=(1,)),
            ],
        ),
        "tensor": (
            predict_tensors,
            [Tensor(name="tensor", dtype=np.float32, shape=(*model.size, 3))],
            [Tensor(name="scores", dtype=np.float32, shape=(-1,))],
        ),
    }[kind]
    # Triton's Python backend takes the first libpython that the linker finds, which must be that of
    # this interpreter's standard library.
    os.environ["LD_LIBRARY_PATH"] = str(sysconfig.get_config_var("LIBDIR"))
    config = TritonConfig(
        http_address="127.0.0.1",
        http_port=port,
        allow_grpc=grpc_port is not None,
        grpc_address="127.0.0.1",
        grpc_port=grpc_port,
        allow_metrics=False,
    )
    with Triton(config=config, workspace=workspace) as triton:
        triton.bind(
            model_name=kind,
            # One instance a core: while one decodes pictures, another runs the model.
            infer_func=[infer] * (os.cpu_count() or 1),
            inputs=inputs,
            outputs=outputs,
            config=ModelConfig(max_batch_size=MAX_BATCH, batcher=DynamicBatcher()),
        )
        triton.serve()


if __name__ == "__main__":
    main()
