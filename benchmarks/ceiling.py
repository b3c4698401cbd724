"""The ceiling: Keraport's own decoder and session without HTTP, in a process of their own.

Batches of `max_batch_size` run one after the other; while one runs, the pictures of the next are
decoded in a pool of as many native threads as there are cores. Both cores are always busy. Other
arrangements were tried on the shipped CNN (decode and run in turns; two or three threads that each
decode and run their own batch; pools of 1 and 3; batches of 4 to 16): none was faster by more than
the spread between rounds.

    python -m benchmarks.ceiling MODEL_FOLDER

reads lines from stdin, each a number of seconds, and answers each with pictures per second.
"""

from __future__ import annotations

import io
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.resources.container import usable_cores
from app.serving.cards.read import read_card
from app.serving.engine.sessions.session import ModelSession
from app.serving.reading.model_files import find_model
from app.serving.reading.process import ReaderProcess
from app.serving.tasks import RowTask
from app.serving.tasks.base import Limits
from app.serving.tasks.files.pictures import decode
from app.serving.tasks.inputs.picture import Picture
from benchmarks.picture import jpeg

Pictures = list[Future[NDArray[np.uint8]]]


class Ceiling:
    """Decodes one picture over and over and classifies it in batches."""

    def __init__(self, folder: Path) -> None:
        card = read_card(folder)
        assert card is not None, "the caller has looked"
        limits = Limits()
        reader = ReaderProcess()
        try:
            with reader.convert(find_model(folder, card), trusted=card.trusted) as converted:
                task = RowTask(card, converted.signature, limits)
                (taker,) = task.inputs
                assert isinstance(taker, Picture)
                self._spec = taker.spec
                self._session = ModelSession(converted, card.runtime, task.pictures)
        finally:
            reader.close()
        self._rows = card.runtime.max_batch_size
        self._jpeg = jpeg()
        self._pool = ThreadPoolExecutor(usable_cores())

    def rate(self, seconds: float) -> float:
        """Pictures per second, over about `seconds`."""
        following = self._decoding()
        count = 0
        start = time.perf_counter()
        while time.perf_counter() - start < seconds:
            # Decoding of the batch after this one begins before this one is waited for, so that
            # the pool never runs dry between two batches.
            current, following = following, self._decoding()
            self._session.run([np.stack([picture.result() for picture in current])])
            count += self._rows
        elapsed = time.perf_counter() - start
        for picture in following:
            picture.cancel()
        return count / elapsed

    def _decoding(self) -> Pictures:
        """The pictures of a batch, on their way."""
        return [self._pool.submit(self._decode) for _ in range(self._rows)]

    def _decode(self) -> NDArray[np.uint8]:
        return decode(io.BytesIO(self._jpeg), self._spec)


def main() -> None:
    """Answer until stdin ends."""
    ceiling = Ceiling(Path(sys.argv[1]))
    print("ready", flush=True)
    for line in sys.stdin:
        print(ceiling.rate(float(line)), flush=True)


if __name__ == "__main__":
    main()
