"""What one request of a kind costs without HTTP, in a process of its own: its body is read, our
session runs, and the answer is written as JSON. The body is the first example of the card.

    python -m benchmarks.request MODEL_FOLDER [explain]

reads lines from stdin, each a number of seconds, and answers each with requests per second. With
`explain`, a request is read and run, and then as many rows like it as an explanation has.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from app.api.native.examples import example_body
from app.json_body import write_json
from app.serving.arrays import Array
from app.serving.call import Call
from app.serving.cards.inference.infer import completed
from app.serving.cards.read import read_card
from app.serving.engine.engine import BACKGROUND_ROWS
from app.serving.models.explanation import MOST_PARTS
from app.serving.models.statistics import Statistics
from app.serving.models.tensor_model import TensorModel
from app.serving.reading.model_files import find_model
from app.serving.reading.process import ReaderProcess
from app.serving.tasks import Limits, Payload

CALL_S = 60


class InProcess:
    """Answers one request over and over."""

    def __init__(self, folder: Path) -> None:
        card = read_card(folder)
        assert card is not None, "the caller has looked"
        reader, limits = ReaderProcess(), Limits()
        try:
            with reader.convert(find_model(folder, card), trusted=card.trusted) as converted:
                card, _ = completed(card, converted.signature, [folder])
                model = TensorModel("own", 1, card, converted, limits, Statistics(), folder)
        finally:
            reader.close()
        self._task = model.task
        (self._session,) = model.sessions
        self._payload = Payload("json", write_json(example_body(model, None)))

    def answer(self) -> bytes:
        """Read, run and write one request."""
        task, call = self._task, Call(time.monotonic() + CALL_S)
        try:
            rows = task.decode(task.parse(self._payload), call)
            outputs = self._run(rows.arrays)[: len(task.signature.outputs)]
            if task.drawn:
                outputs = task.draw(outputs, rows.placed, self._payload.drawing, call, reduced=True)
            return write_json({"predictions": task.answer([*outputs, *rows.shares])})
        finally:
            call.give_back()

    def explain(self) -> None:
        """Read one request, and run it and the rows that explain it, so many at once as there."""
        rows = self._task.decode(self._task.parse(self._payload)).arrays
        self._run(rows)
        several = [np.repeat(array, BACKGROUND_ROWS, axis=0) for array in rows]
        for _ in range(MOST_PARTS // BACKGROUND_ROWS):
            self._run(several)

    def _run(self, rows: list[Array]) -> list[Array]:
        found: list[Array] = self._session.run(rows)  # type: ignore[attr-defined]
        return found


def rate(work: Callable[[], Any], seconds: float) -> float:
    """Requests per second, one after the other, over about `seconds`."""
    count = 0
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        work()
        count += 1
    return count / (time.perf_counter() - start)


def main() -> None:
    """Answer until stdin ends."""
    made = InProcess(Path(sys.argv[1]))
    work = made.explain if sys.argv[2:] == ["explain"] else made.answer
    print("ready", flush=True)
    for line in sys.stdin:
        print(rate(work, float(line)), flush=True)


if __name__ == "__main__":
    main()
