"""How the scripts that people copy write text: `model.predict` on the window, once a word.

    python -m benchmarks.predict_loop MODEL_FOLDER

reads lines from stdin, each a number of seconds, and answers each with words per second.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np

WINDOW = 50
DIVERSITY = 0.8


class Loop:
    """Writes one text without end."""

    def __init__(self, folder: Path) -> None:
        self._model: Any = keras.models.load_model(folder / "model.keras", compile=False)
        self._words = [2] * WINDOW
        self._random = np.random.default_rng(0)

    def rate(self, seconds: float) -> float:
        """Words per second, over about `seconds`."""
        count = 0
        start = time.perf_counter()
        while time.perf_counter() - start < seconds:
            self._write()
            count += 1
        return count / (time.perf_counter() - start)

    def _write(self) -> None:
        window = np.array([self._words[-WINDOW:]], np.int32)
        probabilities = self._model.predict(window, verbose=0)[0].astype(np.float64)
        scaled = np.exp(np.log(np.maximum(probabilities, 1e-30)) / DIVERSITY)
        self._words.append(int(self._random.choice(len(scaled), p=scaled / scaled.sum())))


def main() -> None:
    """Answer until stdin ends."""
    loop = Loop(Path(sys.argv[1]))
    print("ready", flush=True)
    for line in sys.stdin:
        print(loop.rate(float(line)), flush=True)


if __name__ == "__main__":
    main()
