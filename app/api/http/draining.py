"""The refusal of requests that arrive over open connections after the port is closed."""

from __future__ import annotations

from flask import Blueprint, request

from app.errors import Draining
from app.lifecycle import Lifecycle


def check_draining(lifecycle: Lifecycle) -> None:
    """Raise Draining once `lifecycle.refusing` is set."""
    if lifecycle.refusing:
        raise Draining("this server is shutting down: send the request again")


def refuse_while_draining(
    routes: Blueprint, lifecycle: Lifecycle, health_prefix: str | None = None
) -> None:
    """Answer 503 `draining` to every request of `routes` once `lifecycle.refusing` is set.

    health_prefix: the prefix of paths that are still answered.
    """

    @routes.before_request
    def _refuse_while_draining() -> None:
        if health_prefix is None or not request.path.startswith(health_prefix):
            check_draining(lifecycle)
