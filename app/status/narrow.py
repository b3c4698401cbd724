"""The state of the whole for who may see some models only."""

from __future__ import annotations

from typing import Any, TypeVar

from app.status.shape import LostReplica, ReplicaStatus, SelfStatus, Status
from app.status.summary import summarise

Told = TypeVar("Told", Status, SelfStatus, SelfStatus | Status)


def narrow(status: Told, names: frozenset[str]) -> Told:
    """`status` without the models that are not among `names`, and without their events."""
    replicas = [_narrow(replica, names) for replica in status.replicas]
    # An event names the version as well: `flowers (version 3)`.
    events = [
        event
        for event in status.events
        if event.model is None or event.model.partition(" (version ")[0] in names
    ]
    changes: dict[str, Any] = {"replicas": replicas, "events": events}
    if isinstance(status, Status):
        changes["summary"] = summarise(replicas)
    return status.model_copy(update=changes)


def _narrow(
    replica: ReplicaStatus | LostReplica, names: frozenset[str]
) -> ReplicaStatus | LostReplica:
    if isinstance(replica, LostReplica):
        return replica
    models = [model for model in replica.models if model.name in names]
    return replica.model_copy(update={"models": models})
