"""What a batch of tensors costs without HTTP: our session, in a process of its own.

    python -m benchmarks.batch MODEL_FOLDER

reads lines from stdin, each a number of seconds, and answers each with batches per second.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from app.serving.cards.read import read_card
from app.serving.engine.sessions.session import ModelSession
from app.serving.reading.model_files import find_model
from app.serving.reading.process import ReaderProcess
from benchmarks.tensors import pixels


class Batch:
    """Runs one batch over and over."""

    def __init__(self, folder: Path) -> None:
        card = read_card(folder)
        assert card is not None, "the caller has written it"
        reader = ReaderProcess()
        try:
            with reader.convert(find_model(folder, card), trusted=False) as converted:
                self._session = ModelSession(converted, card.runtime)
        finally:
            reader.close()
        self._pixels = pixels()

    def rate(self, seconds: float) -> float:
        """Batches per second, over about `seconds`."""
        count = 0
        start = time.perf_counter()
        while time.perf_counter() - start < seconds:
            self._session.run([self._pixels])
            count += 1
        return count / (time.perf_counter() - start)


def main() -> None:
    """Answer until stdin ends."""
    batch = Batch(Path(sys.argv[1]))
    print("ready", flush=True)
    for line in sys.stdin:
        print(batch.rate(float(line)), flush=True)


if __name__ == "__main__":
    main()
