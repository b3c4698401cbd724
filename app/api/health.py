"""Whether the process lives, and whether it should get traffic."""

from __future__ import annotations

from flask import Blueprint, Response

from app.api.access import ModelAccess
from app.api.answers import json_response
from app.lifecycle import Lifecycle


def blueprint(access: ModelAccess, lifecycle: Lifecycle) -> Blueprint:
    """`/livez` and `/readyz`."""
    routes = Blueprint("health", __name__)

    @routes.get("/livez")
    def livez() -> Response:
        """503 once a model hangs, which only a restart mends."""
        if lifecycle.hung is not None:
            return json_response({"alive": False, "reason": lifecycle.hung}, 503)
        return json_response({"alive": True})

    @routes.get("/readyz")
    def readyz() -> Response:
        """503 while models are loading and while draining. A model that failed does not count:
        restarting or avoiding this process would not mend it. Where there are API keys, who sends
        none sees no models."""
        ready = access.loaded and not lifecycle.draining
        states = {entry.name: entry.state for entry in access.entries()}
        body = {"ready": ready, "draining": lifecycle.draining, "models": states}
        if lifecycle.hung is not None:
            body["reason"] = lifecycle.hung
        return json_response(body, 200 if ready else 503)

    return routes
