"""A model of keras.applications with random weights, which cost what trained ones do.

python -m benchmarks.applications ARCHITECTURE TASK MODEL_FOLDER
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
from PIL import Image

from benchmarks.picture import jpeg

SEED = 7
SIZE = 224
CROPS = 16
# The deviation of the scores of a picture over the classes: the softmax has a clear favourite.
SPREAD = 4.0
# How the pixels of each are scaled, in the words of a card.
SCALES = {"MobileNet": "-1..1", "ResNet50": "caffe", "EfficientNetB0": "none"}
MODES = {"-1..1": "tf", "caffe": "caffe"}


def make(architecture: str) -> Any:
    """The model.

    As it is initialized, a signal dies within it, and a processor may take longer or shorter for
    zeros. So its normalizations get the statistics that pictures have there, as by training.
    """
    keras.utils.set_random_seed(SEED)
    model = getattr(keras.applications, architecture)(weights=None)
    pixels = _crops()
    if mode := MODES.get(SCALES[architecture]):
        pixels = keras.applications.imagenet_utils.preprocess_input(pixels, mode=mode)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    model(pixels, training=True)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.99
    scores = np.log(np.asarray(model(pixels, training=False)) + 1e-30)
    # The last layer that has weights.
    last = next(layer for layer in reversed(model.layers) if layer.weights)
    last.kernel.assign(last.kernel * SPREAD / scores.std(axis=1).mean())
    return model


def _crops() -> Any:
    """float32 (CROPS, SIZE, SIZE, 3) of 0..255."""
    picture = Image.open(io.BytesIO(jpeg())).convert("RGB")
    random = np.random.default_rng(SEED)
    crops = []
    for _ in range(CROPS):
        side = int(random.integers(SIZE, picture.height + 1))
        left = int(random.integers(0, picture.width - side + 1))
        top = int(random.integers(0, picture.height - side + 1))
        crop = picture.crop((left, top, left + side, top + side))
        crops.append(np.asarray(crop.resize((SIZE, SIZE)), np.float32))
    return np.stack(crops)


def main() -> None:
    """Save it, with a card, into the folder."""
    architecture, task, name = sys.argv[1:]
    folder = Path(name)
    folder.mkdir(parents=True)
    make(architecture).save(folder / "model.keras")
    card = f"task: {task}\n"
    if task == "image-classification":
        card += f'input: {{size: [{SIZE}, {SIZE}], color: rgb, scale: "{SCALES[architecture]}"}}\n'
        card += f"labels: {[f'class {number}' for number in range(1000)]}\n"
    (folder / "model.yaml").write_text(card)


if __name__ == "__main__":
    main()
