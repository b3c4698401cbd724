"""What the gRPC services share: the server's parts, and the way of a request to a model."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from app.api.grpc.messages import parsed
from app.api.grpc.rpc import Rpc
from app.api.http.access import ModelAccess
from app.api.http.gate import Gate
from app.api.http.requests import time_limit_s
from app.api.http.users import UserRates
from app.lifecycle import Lifecycle
from app.serving.call import Call
from app.serving.large_bodies import run_large
from app.serving.limits import Limits
from app.serving.models.model import Model
from app.settings import Settings


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a server that its gRPC services use. gate: where there are API keys. users:
    where they have a rate."""

    settings: Settings
    access: ModelAccess
    lifecycle: Lifecycle
    gate: Gate | None
    users: UserRates | None = None

    @property
    def limits(self) -> Limits:
        """The limits of a request."""
        return Limits.of(self.settings)

    @property
    def ready(self) -> bool:
        """Whether this process should get traffic."""
        return self.access.loaded and not self.lifecycle.draining

    def read(self, rpc: Rpc, kind: Any) -> tuple[Any, Call]:
        """Return the request as a message of class `kind`, and the call that it begins. Blocks the
        greenlet. Raises BadRequest, Overloaded where other requests leave no room for it."""
        call = rpc.start_call(self.settings.request_timeout_s)
        size = len(rpc.data)
        rpc.lease.acquire(size, call.remaining)
        rpc.has_room()
        with call.stages.decoding():
            request = run_large(size, partial(parsed, kind, rpc.data), call)
        rpc.data = b""
        return request, call

    def limit(self, rpc: Rpc, call: Call, model: Model) -> None:
        """Set the deadline of a call to what the model allows."""
        seconds = time_limit_s(model, self.settings.request_timeout_s)
        call.deadline = min(call.deadline, rpc.began + seconds)
