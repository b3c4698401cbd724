"""The models as the request at hand may see them; whom it asks goes into its record."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from flask import request

from app.api.gate import visible_models
from app.api.record import record_of
from app.errors import Forbidden, ModelUnavailable
from app.serving.entry import Entry
from app.serving.registry import Registry, no_model
from app.status.narrow import Told, narrow

if TYPE_CHECKING:
    from app.serving.model import Model


class ModelAccess:
    """The registry, for views. All but `only` needs a request. keys: whether there are API keys,
    each of which may be for some models only."""

    def __init__(self, registry: Registry, *, keys: bool = False) -> None:
        self._registry = registry
        self._keys = keys

    @property
    def _visible(self) -> frozenset[str] | None:
        return visible_models() if self._keys else None

    @property
    def loaded(self) -> bool:
        """Whether every model that was there at the start is ready or failed."""
        return self._registry.loaded

    def entries(self) -> list[Entry]:
        """As `Registry.entries`, of the models that the key is for."""
        found, visible = self._registry.entries(), self._visible
        return found if visible is None else [e for e in found if e.name in visible]

    def of_status(self, status: Told) -> Told:
        """What is told of the models that the key is for, and of no other."""
        visible = self._visible
        return status if visible is None else narrow(status, visible)

    def entry(self, name: str, version: int | str | None = None) -> Entry:
        """As `Registry.entry`. Raises Forbidden for a model that the key is not for, whether it is
        there or not."""
        self._check(name)
        return _noted(self._registry.entry(name, version))

    @contextmanager
    def using(self, name: str, version: int | str | None = None) -> Iterator[Model]:
        """As `Registry.using`, and raises Forbidden as `entry` does."""
        with self.leased(name, version) as entry:
            yield entry.ready_model()

    @contextmanager
    def leased(
        self, name: str, version: int | str | None = None, *, canary: bool = True
    ) -> Iterator[Entry]:
        """As `Registry.leased`, and raises Forbidden as `entry` does."""
        self._check(name)
        with ExitStack() as lease:
            try:
                entry = lease.enter_context(self._registry.leased(name, version, canary=canary))
            except ModelUnavailable:
                _noted(self._registry.entry(name, version))
                raise
            yield _noted(entry)

    def only(self, name: str, version: int | str | None = None) -> Entry | None:
        """As `Registry.entry`, where no other version can have to answer instead; needs no request,
        and knows nothing of keys."""
        entry = self._registry.entry(name, version)
        return None if version is None and entry.group.policy.canary is not None else entry

    def _check(self, name: str) -> None:
        """Whether the key is for the model of that name. Raises Forbidden, or ModelNotFound where
        naming the others would tell of those that it is not for."""
        visible = self._visible
        if visible is None:
            return
        if name not in visible:
            known = ", ".join(sorted(visible)) or "none"
            raise Forbidden(
                f"your key is not for the model {name[:100]!r}; the models it is for: {known}"
            )
        seen = [entry.name for entry in self.entries()]
        if name not in seen:
            raise no_model(name, seen)


def _noted(entry: Entry) -> Entry:
    """`entry`, which is what the request has asked."""
    record_of(request.environ).entries.append(entry)
    return entry
