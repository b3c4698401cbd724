"""What a run of the fuzzer is given, and what it has seen."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz.request import Find
from tests.fuzz.state import Held


@dataclass(frozen=True, slots=True)
class Options:
    """What a run is given. share: of the limit on bodies, that the largest requests may have.
    percent: by which memory may grow after warming up. only: what the addresses of the valid
    requests contain from which all others are made; None for everything there is."""

    seconds: float = 120
    seed: int = 0
    clients: int = 8
    share: float = 1.0
    pause_s: float = 2.0
    patience_s: float = 45.0
    percent: float = 5.0
    corpus: Path | None = None
    finds: Path | None = None
    only: str | None = None


@dataclass
class Report:
    """What a run has seen."""

    requests: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    origins: Counter[str] = field(default_factory=Counter)
    finds: list[Find] = field(default_factory=list)
    repeated: Counter[str] = field(default_factory=Counter)
    warm: Held | None = None
    rest: Held | None = None
    longest_pause_s: float = 0
    restarts: int = 0
    corpus: int = 0
