"""Health checks: whether the process lives, and whether it should get traffic."""

from __future__ import annotations

from flask import Blueprint, Response

from app.api.http.access import ModelAccess
from app.api.http.answers import json_response
from app.lifecycle import Lifecycle


def blueprint(access: ModelAccess, lifecycle: Lifecycle) -> Blueprint:
    """Return the routes `/livez` and `/readyz`."""
    routes = Blueprint("health", __name__)

    @routes.get("/livez")
    def livez() -> Response:
        """Answer 503 once a model hangs, which only a restart fixes."""
        if lifecycle.hung is not None:
            return json_response({"alive": False, "reason": lifecycle.hung}, 503)
        return json_response({"alive": True})

    @routes.get("/readyz")
    def readyz() -> Response:
        """Answer 503 while models are loading and while draining.

        A model that failed does not count: restarting or avoiding this process would not fix it.
        With API keys, clients that send none see no models.
        """
        ready = access.loaded and not lifecycle.draining
        states = {entry.name: entry.state for entry in access.entries()}
        body = {
            "ready": ready,
            "draining": lifecycle.draining,
            "stand": lifecycle.stand,
            "process": lifecycle.handover.process,
            "models": states,
        }
        if lifecycle.hung is not None:
            body["reason"] = lifecycle.hung
        return json_response(body, 200 if ready else 503)

    return routes
