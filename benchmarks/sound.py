"""A model of spoken words with random weights, and a recording as its example.

python -m benchmarks.sound MODEL_FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import keras
import numpy as np
import soundfile

SEED = 7
RATE, SOURCE_RATE = 16_000, 44_100
WORDS = 12
CARD = f"""\
inputs:
  wave: {{kind: audio, rate: {RATE}}}
outputs:
  word: {{kind: classes, labels: [{", ".join(f"word {i}" for i in range(WORDS))}]}}
examples: [second.wav]
"""


def main() -> None:
    """Save both."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True)
    keras.utils.set_random_seed(SEED)
    x = inputs = keras.layers.Input((RATE,), name="wave")
    x = keras.layers.Reshape((RATE, 1))(x)
    for width, size, stride in ((32, 400, 160), (64, 5, 2), (64, 5, 2)):
        x = keras.layers.Conv1D(width, size, stride, activation="relu")(x)
    x = keras.layers.GlobalAveragePooling1D()(x)
    outputs = keras.layers.Dense(WORDS, "softmax", name="word")(x)
    keras.Model(inputs, outputs).save(folder / "model.keras")
    (folder / "model.yaml").write_text(CARD)
    # A second of stereo, as a phone records it.
    wave = np.random.default_rng(SEED).normal(0, 0.1, (SOURCE_RATE, 2))
    soundfile.write(folder / "second.wav", wave, SOURCE_RATE, "PCM_16")


if __name__ == "__main__":
    main()
