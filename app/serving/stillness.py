"""What changes counts once it has stopped changing: a file that is being copied is no model yet."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Stillness(Generic[K, V]):
    """Values under keys, each taken over only when it has been the same for `seconds`. That a key
    is gone is such a change, too. No value may be None."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._settled: dict[K, V] = {}
        # What is there now instead, and since when.
        self._moving: dict[K, tuple[V | None, float]] = {}

    def accept(self, values: Mapping[K, V]) -> Mapping[K, V]:
        """Take all of it as it is."""
        self._settled = dict(values)
        self._moving.clear()
        return dict(self._settled)

    def settle(self, values: Mapping[K, V], now: float) -> Mapping[K, V]:
        """What holds, after `values` were seen at the moment `now`, in seconds."""
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
