"""BentoML: `bentoml serve benchmarks.peers.servers.bentoml_service:Predictor`.

An API with adaptive batching takes one list; a request brings a list of one.
"""

import os
from pathlib import Path
from typing import Annotated, Any

import bentoml
import numpy as np
from bentoml.validators import ContentType
from pydantic import BaseModel, create_model

from benchmarks.peers.servers.card import MAX_BATCH, TIMEOUT_S, fields

columns: dict[str, Any] = dict.fromkeys(fields(), (float, ...))
Row: Any = create_model("Row", **columns)


class Number(BaseModel):
    """What a row gives."""

    prediction: float


class Label(BaseModel):
    """What a picture shows."""

    label: str
    probability: float


@bentoml.service(
    workers=int(os.environ["BENCHMARK_WORKERS"]),
    traffic={"timeout": TIMEOUT_S},
    logging={"access": {"enabled": False}},
)
class Predictor:
    """The model behind three APIs, of which the benchmark asks the one that fits it."""

    def __init__(self) -> None:
        # TensorFlow: the process that starts the workers does without.
        from benchmarks.peers.servers.keras_model import Model

        self.model = Model()

    @bentoml.api(batchable=True, max_batch_size=MAX_BATCH, max_latency_ms=TIMEOUT_S * 1000)
    def row(self, rows: list[Row]) -> list[Number]:
        """JSON rows to numbers."""
        scores = self.model.run(np.stack([self.model.row(row.__dict__) for row in rows]))
        return [Number(prediction=float(row[0])) for row in scores]

    @bentoml.api(batchable=True, max_batch_size=MAX_BATCH, max_latency_ms=TIMEOUT_S * 1000)
    def picture(self, images: list[Path]) -> list[Label]:
        """Pictures in a form to labels."""
        scores = self.model.run(
            np.stack([self.model.picture(image.read_bytes()) for image in images])
        )
        found = map(self.model.label, scores)
        return [Label(label=label, probability=probability) for label, probability in found]

    @bentoml.api
    def tensor(
        self, pixels: Annotated[Path, ContentType("application/octet-stream")], /
    ) -> Annotated[bytes, ContentType("application/octet-stream")]:
        """A batch of float32 pixels as bytes to the scores as bytes."""
        batch = np.frombuffer(pixels.read_bytes(), np.float32).reshape(-1, *self.model.size, 3)
        return self.model.run(batch).tobytes()
