"""The number of rows in one run of a model: as many as limits on time and memory allow.

Requests share a model, and most runs cannot be stopped. Short runs let other requests in between,
end soon after the last deadline, and stay far from what the watchdog calls a hang.
"""

from __future__ import annotations

# Most seconds that a run should take, judging by earlier runs.
RUN_S = 2.0
# Most pairs of positions in the longest dimension, over all rows: attention takes memory for each
# of them.
MAX_PAIRS = 2**26
# The part of its distance to a cheaper run that an estimate keeps; a more expensive run counts at
# once.
_KEPT = 0.7


class RunSize:
    """The most rows of a run, by the length of the rows.

    max_rows: of any run. max_bytes: of the outputs of a run. Lengths are distinguished by their
    power of two. A new length is assumed to cost as much as attention does: with the square of the
    length.
    """

    def __init__(self, max_rows: int, max_bytes: int) -> None:
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        # The part of a run's time or memory that one row takes.
        self._share: dict[tuple[str | None, int], float] = {}

    def rows(self, signature: str | None, length: int) -> int:
        """Return the most rows of the next run, at least 1."""
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
        """Return the share of a row; a whole run while no run tells."""
        known = self._share.get((signature, power))
        if known is not None:
            return known
        shorter = [p for s, p in list(self._share) if s == signature and p < power]
        if not shorter:
            return 1.0
        nearest = max(shorter)
        return self._share[signature, nearest] * float(4 ** (power - nearest))
