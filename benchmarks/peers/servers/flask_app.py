"""Flask: `gunicorn --worker-class gthread --threads 8 benchmarks.peers.servers.flask_app:app`."""

from __future__ import annotations

import numpy as np
from flask import Flask, jsonify, request
from flask.typing import ResponseReturnValue

from benchmarks.peers.servers.keras_model import Model

model = Model()
app = Flask(__name__)


@app.post("/row")
def predict_row() -> ResponseReturnValue:
    """A JSON row to one number."""
    scores = model.run(model.row(request.get_json())[None])
    return jsonify(prediction=float(scores[0, 0]))


@app.post("/picture")
def predict_picture() -> ResponseReturnValue:
    """A picture in a form to a label."""
    scores = model.run(model.picture(request.files["image"].read())[None])
    label, probability = model.label(scores[0])
    return jsonify(label=label, probability=probability)


@app.post("/tensor")
def predict_tensor() -> ResponseReturnValue:
    """A batch of float32 pixels as bytes to the scores as bytes."""
    batch = np.frombuffer(request.get_data(), np.float32).reshape(-1, *model.size, 3)
    return app.response_class(model.run(batch).tobytes(), mimetype="application/octet-stream")
