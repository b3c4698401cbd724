"""FastAPI: `uvicorn benchmarks.peers.servers.fastapi_app:app`.

Work that blocks stands in plain functions, which FastAPI runs in its threads. Answers are declared
as types, which pydantic writes as JSON without further steps.
"""

from typing import Any

import numpy as np
from fastapi import FastAPI, Request, Response, UploadFile
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, create_model

from benchmarks.peers.servers.card import fields
from benchmarks.peers.servers.keras_model import Model

model = Model()
app = FastAPI()
columns: dict[str, Any] = dict.fromkeys(fields(), (float, ...))
Row: Any = create_model("Row", **columns)


class Number(BaseModel):
    """What a row gives."""

    prediction: float


class Label(BaseModel):
    """What a picture shows."""

    label: str
    probability: float


@app.post("/row")
def predict_row(row: Row) -> Number:
    """A JSON row to one number."""
    scores = model.run(model.row(row.__dict__)[None])
    return Number(prediction=float(scores[0, 0]))


@app.post("/picture")
def predict_picture(image: UploadFile) -> Label:
    """A picture in a form to a label."""
    scores = model.run(model.picture(image.file.read())[None])
    label, probability = model.label(scores[0])
    return Label(label=label, probability=probability)


@app.post("/tensor")
async def predict_tensor(request: Request) -> Response:
    """A batch of float32 pixels as bytes to the scores as bytes."""
    batch = np.frombuffer(await request.body(), np.float32).reshape(-1, *model.size, 3)
    scores = await run_in_threadpool(model.run, batch)
    return Response(scores.tobytes(), media_type="application/octet-stream")
