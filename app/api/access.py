"""The models as the request at hand may see them; whom it asks goes into its record."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from flask import request

from app.api.record import record_of
from app.serving.entry import Entry
from app.serving.registry import Registry

if TYPE_CHECKING:
    from app.serving.model import Model


class ModelAccess:
    """The registry, for views. Everything here needs a request."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    @property
    def loaded(self) -> bool:
        """Whether every model that was there at the start is ready or failed."""
        return self._registry.loaded

    def entries(self) -> list[Entry]:
        """As `Registry.entries`."""
        return self._registry.entries()

    def entry(self, name: str, version: int | str | None = None) -> Entry:
        """As `Registry.entry`."""
        entry = self._registry.entry(name, version)
        record_of(request.environ).entries.append(entry)
        return entry

    @contextmanager
    def using(self, name: str, version: int | str | None = None) -> Iterator[Model]:
        """As `Registry.using`."""
        with self.leased(name, version) as entry:
            yield entry.ready_model()

    @contextmanager
    def leased(
        self, name: str, version: int | str | None = None, *, canary: bool = True
    ) -> Iterator[Entry]:
        """As `Registry.leased`."""
        # Also where it is not ready, which raises.
        asked = self.entry(name, version)
        with self._registry.leased(name, version, canary=canary) as entry:
            if entry is not asked:
                record_of(request.environ).entries[-1] = entry
            yield entry
