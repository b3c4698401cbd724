"""Requests worth changing further: those whose answers say something that none said before."""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Sequence
from pathlib import Path

from tests.fuzz.connection import Answer
from tests.fuzz.request import Find, Request, load, save

MOST = 1000
# Larger ones are `floods`.
MOST_BYTES = 20_000
# What differs from one answer to the next without being another kind of answer.
_CHANGING = re.compile(rb"[0-9a-f]{32}|[-+]?[0-9]+(?:\.[0-9]+)?|'[^']*'|\"id\":\"[^\"]*\"")


class Corpus:
    """The seeds, and what was found on the way. Several threads use it."""

    def __init__(self, seeds: Sequence[Request], folder: Path | None = None) -> None:
        """folder: where it is kept from one run to the next, if anywhere."""
        self._folder = folder
        self._requests = list(seeds)
        self._seen: set[object] = set()
        self._lock = threading.Lock()
        if folder is not None and folder.is_dir():
            self._requests += [load(file).request for file in sorted(folder.glob("*.json"))]

    def __len__(self) -> int:
        return len(self._requests)

    def pick(self, rng: random.Random) -> Request:
        """One of them."""
        with self._lock:
            return rng.choice(self._requests)

    def offer(self, request: Request, answer: Answer) -> None:
        """Keep a request if its answer is of a new kind."""
        kind = _CHANGING.sub(b"#", answer.body[:400])[:120]
        seen = (request.path[:30], answer.status, kind if answer.status != 200 else b"")
        with self._lock:
            if seen in self._seen or len(self._seen) >= MOST or not request.strict:
                return
            self._seen.add(seen)
            if sum(len(piece.data) * piece.times for piece in request.body) > MOST_BYTES:
                return
            self._requests.append(request)
            if self._folder is not None:
                self._folder.mkdir(parents=True, exist_ok=True)
                file = self._folder / f"{len(self._requests):04}.json"
                save(Find("corpus", f"{answer.status}", request), file)
