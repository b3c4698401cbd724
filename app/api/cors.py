"""Cross-origin resource sharing (WHATWG Fetch, section 3.2): pages of the origins that the settings
name may use the APIs."""

from __future__ import annotations

import re

from flask import Flask, Response, request
from flask_cors import CORS

from app.api.http.answers import REQUEST_ID_HEADER
from app.api.v2.request import HEADER_LENGTH
from app.settings import Settings

# nginx/entrypoint.sh has the same, for nginx's own errors.
_PATHS = re.compile(r"/(api|predict|v1|v2)(/|\Z)")
_MAX_AGE_S = 600


def install(app: Flask, settings: Settings) -> None:
    """Let pages of `settings.cors_origins` read what the APIs answer, errors included. Install it
    before all other hooks: a preflight request has no key."""
    if not settings.cors_origins:
        return

    @app.before_request
    def _preflight() -> Response | None:
        asks = "Origin" in request.headers and "Access-Control-Request-Method" in request.headers
        if request.method == "OPTIONS" and asks and _PATHS.match(request.path):
            return Response(status=204)
        return None

    @app.after_request
    def _vary(response: Response) -> Response:
        # Also where the answer is none for another origin: a cache must not mix them up.
        if _PATHS.match(request.path):
            response.vary.add("Origin")
        return response

    CORS(
        app,
        resources={_PATHS: {}},
        # As patterns, for brackets in the text of an IPv6 origin would be taken for one.
        origins=[re.compile(re.escape(origin) + r"\Z") for origin in settings.cors_origins],
        methods=["GET", "POST"],
        allow_headers=[
            *("Accept", "Authorization", "Content-Encoding", "Content-Type", "X-API-Key"),
            *("traceparent", "tracestate", HEADER_LENGTH),
        ],
        expose_headers=[REQUEST_ID_HEADER, HEADER_LENGTH, "Retry-After"],
        max_age=_MAX_AGE_S,
        supports_credentials=False,
        # What is above does this, for requests without an origin as well.
        vary_header=False,
        # Nothing of origins to those who have none.
        always_send=False,
        # Errors are answers here, which pass through `after_request`.
        intercept_exceptions=False,
    )
