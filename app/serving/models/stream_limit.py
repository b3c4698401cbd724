"""The limit of texts that are written at once, over all models."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from app.errors import Overloaded


class StreamLimit:
    """At most `most` texts at once. Belongs to the hub's thread."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken = 0

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Hold one of the places within the block. Raises Overloaded if none is free."""
        if self._taken >= self._most:
            raise Overloaded(
                f"{self._most} texts are being written, the limit of this server "
                "(KERAPORT_MAX_STREAMS)"
            )
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1
