"""Access to the models that the key of the request allows, noted in the request's record."""

from __future__ import annotations

from app.api.http.current import current_record
from app.errors import Forbidden, ModelUnavailable
from app.serving.registry.entry import Entry, ModelLease
from app.serving.registry.registry import Registry, no_model
from app.status.filter import AnyStatus, filter_status


class ModelAccess:
    """The registry, as views see it. All methods except `sole_entry` need a request.

    keys: whether there are API keys, each of which may be limited to some models.
    """

    def __init__(self, registry: Registry, *, keys: bool = False) -> None:
        self._registry = registry
        self._keys = keys

    @property
    def _visible(self) -> frozenset[str] | None:
        return current_record().visible if self._keys else None

    @property
    def loaded(self) -> bool:
        """Whether every model present at the start is ready or failed."""
        return self._registry.loaded

    def entries(self) -> list[Entry]:
        """Return the entries of the models that the key allows."""
        found, visible = self._registry.entries(), self._visible
        return found if visible is None else [e for e in found if e.name in visible]

    def visible_status(self, status: AnyStatus) -> AnyStatus:
        """Filter a status down to the models that the key allows."""
        visible = self._visible
        return status if visible is None else filter_status(status, visible)

    def entry(self, name: str, version: int | str | None = None) -> Entry:
        """Find an entry, as `Registry.entry` does.

        Raises Forbidden for a model that the key does not allow, whether it exists or not.
        """
        self._check(name)
        return _recorded(self._registry.entry(name, version))

    def leased(
        self, name: str, version: int | str | None = None, *, canary: bool = True
    ) -> ModelLease:
        """Lease a version, as `Registry.leased` does. Raises Forbidden as `entry` does."""
        self._check(name)
        try:
            lease = self._registry.leased(name, version, canary=canary)
        except ModelUnavailable:
            _recorded(self._registry.entry(name, version))
            raise
        _recorded(lease.entry)
        return lease

    def sole_entry(self, name: str, version: int | str | None = None) -> Entry | None:
        """Find the entry that answers; None if it may be a canary. Needs no request, and ignores
        keys."""
        entry = self._registry.entry(name, version)
        return None if version is None and entry.group.policy.canary is not None else entry

    def _check(self, name: str) -> None:
        """Check that the key allows the model. Raises Forbidden or ModelNotFound, because listing
        known models would reveal ones the key may not see."""
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


def _recorded(entry: Entry) -> Entry:
    """Add `entry` to the record of the request, and return it."""
    current_record().entries.append(entry)
    return entry
