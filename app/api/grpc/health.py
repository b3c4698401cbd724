"""Health checks over gRPC, of the server and of each model: grpc.health.v1.Health.

The protocol: github.com/grpc/grpc, doc/health-checking.md.
"""

from __future__ import annotations

from typing import Any

from app.api.grpc import inference_service, prediction_service
from app.api.grpc.messages import message_class, parsed
from app.api.grpc.rpc import Method, Rpc
from app.api.grpc.services import Parts
from app.api.http.gate import presented_key
from app.errors import ModelNotFound, ModelUnavailable
from app.serving.cards.versions import version_number

SERVICE = "grpc.health.v1.Health"
CHECK = f"/{SERVICE}/Check"
WATCH = f"/{SERVICE}/Watch"
# Services that answer as the server as a whole.
_SERVER = frozenset(
    {
        "",
        SERVICE,
        inference_service.SERVICE,
        prediction_service.SERVICE,
        prediction_service.MODEL_SERVICE,
    }
)


class Health:
    """The states of the server and of its models; that of the server needs no key."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def methods(self) -> dict[str, Method]:
        """Return the methods by their paths; `Watch` sends what `status` returns."""
        return {CHECK: self.check}

    def check(self, rpc: Rpc) -> bytes:
        """Answer the state of a service: a server's, or the name of a model, or NAME/VERSION.
        Raises ModelNotFound."""
        return encoded_status(self.status(rpc))

    def status(self, rpc: Rpc, *, first: bool = True) -> str:
        """Return the name of the state that a request asks for. first: whether its key has not been
        checked yet. Raises ModelNotFound."""
        service: str = parsed(_message("Request"), rpc.data).service
        if service in _SERVER:
            return "SERVING" if self._parts.ready else "NOT_SERVING"
        if self._parts.gate is not None and first:
            self._parts.gate.admit(presented_key(rpc.environ), rpc.record)
        name, _, version = service.partition("/")
        number = version_number(version)
        wanted = (version or None) if number is None else number
        try:
            with self._parts.access.leased(name, wanted, canary=False):
                return "NOT_SERVING" if self._parts.lifecycle.draining else "SERVING"
        except ModelUnavailable:
            return "NOT_SERVING"


def encoded_status(status: str) -> bytes:
    """Return an encoded HealthCheckResponse."""
    encoded: bytes = _message("Response")(status=status).SerializeToString()
    return encoded


def watched_status(health: Health, rpc: Rpc, *, first: bool) -> str:
    """Return the state to report to a client that watches: that of an unknown service may
    change."""
    try:
        return health.status(rpc, first=first)
    except ModelNotFound:
        return "SERVICE_UNKNOWN"


def _message(name: str) -> Any:
    return message_class(f"grpc.health.v1.HealthCheck{name}")
