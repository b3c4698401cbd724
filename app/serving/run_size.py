"""How many rows one run of a model takes: as many as a bounded time and memory allow.

Requests share a model, and a run cannot be stopped in general: many short runs let others in
between, end soon after the last deadline, and stay far from what the watchdog calls a hang.
"""

from __future__ import annotations

# Seconds that a run should take at most, by what runs have taken so far.
RUN_S = 2.0
# Of the longest dimension with itself, over all rows: attention takes memory for each of them.
MAX_PAIRS = 2**26
# How much of its distance to a cheaper run an estimate keeps; a dearer run counts at once.
_KEPT = 0.7


class RunSize:
    """Rows of a run, by the length of what is in them.

    max_rows: of any run. max_bytes: of the arrays that a run answers. Lengths are told apart by
    their power of two. One that was not seen yet is taken to cost as attention does: with the
    square of the length.
    """

    def __init__(self, max_rows: int, max_bytes: int) -> None:
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        # Which part of a run's time or memory one row takes.
        self._share: dict[tuple[str | None, int], float] = {}

    def rows(self, signature: str | None, length: int) -> int:
        """The most rows of the next run, at least one."""
        share = self._estimate(signature, length.bit_length())
        most = min(self._max_rows, MAX_PAIRS // max(1, length * length))
        return max(1, min(most, int(1 / share))) if share else max(1, most)

    def count(self, signature: str | None, length: int, rows: int, ns: int, size: int) -> None:
        """Learn from a run. ns: nanoseconds that it took. size: bytes of its outputs."""
        key = (signature, length.bit_length())
        share = max(ns / (RUN_S * 1e9), size / self._max_bytes) / max(1, rows)
        before = self._share.get(key, share)
        self._share[key] = max(share, _KEPT * before + (1 - _KEPT) * share)

    def _estimate(self, signature: str | None, power: int) -> float:
        """The share of a row. A whole run where no run tells."""
        known = self._share.get((signature, power))
        if known is not None:
            return known
        shorter = [p for s, p in list(self._share) if s == signature and p < power]
        if not shorter:
            return 1.0
        nearest = max(shorter)
        return self._share[signature, nearest] * float(4 ** (power - nearest))
