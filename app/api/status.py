"""The state of the whole, for pages and for the other replicas."""

from __future__ import annotations

from flask import Blueprint, Response, request

from app.api.access import ModelAccess
from app.api.answers import json_response, request_id
from app.errors import BadRequest
from app.status.board import StatusBoard
from app.status.shape import SelfStatus, Status

OWN = "self"


def blueprint(board: StatusBoard, access: ModelAccess) -> Blueprint:
    """`/api/status`, and with `?replica=self` what this replica alone knows."""
    routes = Blueprint("status", __name__)

    @routes.get("/api/status")
    def status() -> Response:
        """Asks the other replicas unless told not to, so that none asks in a circle."""
        wanted = request.args.get("replica")
        if wanted not in (None, OWN):
            raise BadRequest(f"replica: expected {OWN!r}, or nothing for all replicas")
        answer: SelfStatus | Status = board.own() if wanted else board.whole()
        told = access.of_status(answer)
        response = json_response({"id": request_id(), **told.model_dump()})
        response.headers["Cache-Control"] = "no-store"
        return response

    return routes
