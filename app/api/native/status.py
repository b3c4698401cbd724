"""The status of all replicas, for pages and for the other replicas."""

from __future__ import annotations

from flask import Blueprint, Response, request

from app.api.http.access import ModelAccess
from app.api.http.answers import json_response, request_id
from app.errors import BadRequest
from app.status.board import StatusBoard
from app.status.schema import SelfStatus, Status

OWN = "self"


def blueprint(board: StatusBoard, access: ModelAccess) -> Blueprint:
    """`/api/status`, and with `?replica=self` what this replica alone knows."""
    routes = Blueprint("status", __name__)

    @routes.get("/api/status")
    def status() -> Response:
        """Answer for all replicas; for this one alone, as replicas ask each other; or for this
        process alone, as its workers ask each other."""
        for name in ("replica", "worker"):
            if request.args.get(name) not in (None, OWN):
                raise BadRequest(f"{name}: expected {OWN!r}, or nothing for all replicas")
        answer: SelfStatus | Status
        if "worker" in request.args:
            answer = board.alone()
        else:
            answer = board.own() if "replica" in request.args else board.combined()
        visible = access.visible_status(answer)
        response = json_response({"id": request_id(), **visible.model_dump()})
        response.headers["Cache-Control"] = "no-store"
        return response

    return routes
