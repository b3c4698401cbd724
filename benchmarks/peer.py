"""The peer: the script that people write to serve two Keras models with Flask, done well.

Models are loaded once, calls go through a `tf.function` that is traced once, pictures are read as
`keras.utils.load_img` reads them. `gunicorn -k gthread --threads 8 benchmarks.peer:app` runs it.
It shares nothing with Keraport but the model files and their cards.
"""

import io
import os
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import yaml
from flask import Flask, jsonify, request
from flask.typing import ResponseReturnValue

MODELS = Path(os.environ["BENCHMARK_MODELS"])
SCALES = {"none": (1.0, 0.0), "0..1": (1 / 255, 0.0), "-1..1": (2 / 255, -1.0)}

app = Flask(__name__)


def load(name: str) -> tuple[Any, dict[str, Any]]:
    """The model in `MODELS/NAME` and its card."""
    card = yaml.safe_load((MODELS / name / "model.yaml").read_text())
    (file,) = (p for p in (MODELS / name).iterdir() if p.suffix in (".keras", ".h5", ".hdf5"))
    return keras.models.load_model(file, compile=False), card


mpg, mpg_card = load("mpg")
cats_dogs, cats_dogs_card = load("cats-dogs")
FIELDS = [field["name"] for field in mpg_card["fields"]]
LABELS = cats_dogs_card["labels"]
HEIGHT, WIDTH = cats_dogs.input_shape[1:3]
FACTOR, OFFSET = SCALES[cats_dogs_card.get("input", {}).get("scale", "none")]
LOGITS = getattr(cats_dogs.layers[-1], "activation", None) is keras.activations.linear


@tf.function(input_signature=[tf.TensorSpec((None, len(FIELDS)), tf.float32)])  # type: ignore[untyped-decorator]
def run_mpg(rows: Any) -> Any:
    """float32 (rows, fields) to (rows, 1)."""
    return mpg(rows, training=False)


@tf.function(input_signature=[tf.TensorSpec((None, HEIGHT, WIDTH, 3), tf.float32)])  # type: ignore[untyped-decorator]
def run_cats_dogs(pictures: Any) -> Any:
    """float32 (pictures, height, width, 3) of 0..255 to the probability (pictures, 1)."""
    scores = cats_dogs(pictures * FACTOR + OFFSET, training=False)
    return tf.sigmoid(scores) if LOGITS else scores


@app.post("/mpg")
def predict_mpg() -> ResponseReturnValue:
    """A JSON row to one number."""
    row = request.get_json()
    rows = np.array([[row[name] for name in FIELDS]], np.float32)
    return jsonify(prediction=float(run_mpg(tf.constant(rows))[0, 0]))


@app.post("/cats-dogs")
def predict_cats_dogs() -> ResponseReturnValue:
    """A picture to a label."""
    file = io.BytesIO(request.files["image"].read())
    picture = keras.utils.load_img(file, target_size=(HEIGHT, WIDTH))
    pixels = keras.utils.img_to_array(picture)
    dog = float(run_cats_dogs(tf.constant(pixels[None]))[0, 0])
    label, probability = (LABELS[1], dog) if dog >= 0.5 else (LABELS[0], 1 - dog)
    return jsonify(label=label, probability=probability)
