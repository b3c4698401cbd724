"""The models and versions that requests of TensorFlow Serving's API name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.api.http.access import ModelAccess
from app.errors import BadRequest, ModelNotFound
from app.serving.registry.entry import Entry, ModelLease


@dataclass(frozen=True, slots=True)
class Servable:
    """The model and version in an address. version: a number, a label, or None for the default."""

    name: str
    version: int | str | None = None

    def __str__(self) -> str:
        version = self.version
        return f"Latest({self.name})" if version is None else f"Specific({self.name}, {version})"


def servable_of(text: str) -> Servable:
    """Return the parts of NAME, NAME/versions/N or NAME/labels/L."""
    name, _, rest = text.partition("/")
    kind, _, version = rest.partition("/")
    return Servable(name, int(version) if kind == "versions" else version or None)


def versions(access: ModelAccess, servable: Servable) -> Sequence[Entry]:
    """Return the versions that an address names, the latest first. Raises ModelNotFound,
    or BadRequest for an unknown label."""
    try:
        entry = access.entry(servable.name, servable.version)
    except ModelNotFound:
        what = "any versions" if servable.version is None else f"version {servable.version}"
        message = f"Could not find {what} of model {servable.name[:100]}"
        raise _not_found(servable, message) from None
    if servable.version is not None:
        return [entry]
    return list(entry.group.versions.values())[::-1]


def leased(access: ModelAccess, servable: Servable, *, canary: bool = True) -> ModelLease:
    """Lease the model of an address. canary: whether the canary may answer if no version is named.

    Raises ModelNotFound, BadRequest for an unknown label, or ModelUnavailable.
    """
    try:
        return access.leased(servable.name, servable.version, canary=canary)
    except ModelNotFound:
        message = f"Servable not found for request: {servable}"
        raise _not_found(servable, message) from None


def _not_found(servable: Servable, message: str) -> BadRequest | ModelNotFound:
    if isinstance(servable.version, str):
        return BadRequest(f"Unrecognized servable version label: {servable.version[:100]}")
    return ModelNotFound(message)
