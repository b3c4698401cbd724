"""Delays changes until they have stopped: a file that is being copied is no model yet."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Stillness(Generic[K, V]):
    """Values by key, each accepted once unchanged for `seconds`; removing a key is delayed in the
    same way. No value may be None."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._settled: dict[K, V] = {}
        # What is there now instead, and since when.
        self._moving: dict[K, tuple[V | None, float]] = {}

    def accept(self, values: Mapping[K, V]) -> Mapping[K, V]:
        """Accept all values as they are."""
        self._settled = dict(values)
        self._moving.clear()
        return dict(self._settled)

    def settle(self, values: Mapping[K, V], now: float) -> Mapping[K, V]:
        """Return the accepted values, after `values` were seen at the moment `now`, in seconds."""
        for key in {**values, **self._settled, **self._moving}:
            value = values.get(key)
            if value == self._settled.get(key):
                self._moving.pop(key, None)
                continue
            before, since = self._moving.get(key, (None, now))
            if key not in self._moving or before != value:
                self._moving[key] = value, now
            elif now - since >= self._seconds:
                del self._moving[key]
                if value is None:
                    del self._settled[key]
                else:
                    self._settled[key] = value
        return dict(self._settled)
