"""Error responses: one JSON shape for every exception, or a page for browsers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from flask import Flask, Response
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from app.api.http.answers import json_response, request_id
from app.api.http.current import current_request
from app.api.telemetry.protocols import speaks_protocol
from app.api.telemetry.record import record_of
from app.errors import (
    KeraportError,
    Overloaded,
    TooLarge,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    UnsupportedCoding,
)
from app.logs import kind, trace
from app.settings import Settings

log = logging.getLogger(__name__)

STATUS = {
    "bad_request": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "model_not_found": 404,
    "not_found": 404,
    "method_not_allowed": 405,
    "too_large": 413,
    "unsupported_media_type": 415,
    "invalid_input": 422,
    "too_many_requests": 429,
    # nginx's status for a client that has disconnected; only the log reads it.
    "client_disconnected": 499,
    "internal": 500,
    "non_finite_output": 500,
    "overloaded": 503,
    "model_unavailable": 503,
    "draining": 503,
    "deadline_exceeded": 504,
}
_CODE_OF_STATUS = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "unsupported_media_type",
}
# Set by nginx when it can ask another replica: nginx/conf.d/proxy.conf.
FALLBACK_HEADER = "X-Keraport-Fallback"
# RFC 6750: sent to clients without a key.
CHALLENGE = 'Bearer realm="keraport"'


def error_body(code: str, message: str, details: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the one shape of an error, without the request's id."""
    return {"code": code, "message": message, "details": details}


def in_one_line(body: dict[str, Any]) -> str:
    """Return an error as one line of text: its message, and its problems if the message only counts
    them."""
    message: str = body["message"]
    if len(body["details"]) < 2:
        return message
    problems = (
        f"{d['field']}: {d['problem']}" + (f", expected {d['expected']}" if "expected" in d else "")
        for d in body["details"]
    )
    return f"{message}: " + "; ".join(problems)


def describe(error: KeraportError) -> dict[str, Any]:
    """Return the native API's JSON for a domain error."""
    return error_body(error.code, error.message, [d.as_dict() for d in error.details])


# Paths for programs: their errors are JSON whatever the client accepts.
_API = ("/api/", "/predict", "/livez", "/readyz", "/static/", "/v1/", "/v2/")


def wants_page() -> bool:
    """Whether a browser asked for a page, judged by the path and the Accept header."""
    request = current_request()
    if f"{request.path}/".startswith(_API):
        return False
    best = request.accept_mimetypes.best_match(["application/json", "text/html"])
    return best == "text/html"


def too_large(settings: Settings) -> TooLarge:
    """Return the error for a body over the limit."""
    return TooLarge(
        f"the body is larger than {settings.max_body_mb:g} MB, the limit of this server "
        "(KERAPORT_MAX_BODY_MB)"
    )


def fallback(offered: str | None, code: str | None, restarting: Callable[[], bool]) -> str | None:
    """Return what nginx should do with a request that this process cannot answer for now: ask the
    `other` replica, or, if it has asked that one, `hold` the request until one is ready.

    If this one is full, the other will be too, and would get twice as many requests. offered: what
    nginx can do. code: of the error. restarting: whether this process is starting or ending.
    """
    if code == Overloaded.code:
        return None
    if offered == "other":
        return "other"
    return "hold" if offered == "hold" and restarting() else None


class ErrorAnswers:
    """Answers every exception of a request.

    page: makes a page from a status and the body of an error. restarting: whether this process is
    starting or ending, so that requests should wait for another one.
    """

    def __init__(
        self,
        settings: Settings,
        page: Callable[[int, dict[str, Any]], Response],
        restarting: Callable[[], bool] = lambda: False,
    ) -> None:
        self._settings = settings
        self._page = page
        self._restarting = restarting

    def install(self, app: Flask) -> None:
        """Answer the exceptions of `app`."""
        app.register_error_handler(Exception, self.answer)
        app.after_request(self.offer_fallback)

    def answer(self, error: Exception) -> Response:
        """Return the response to an exception."""
        if isinstance(error, KeraportError):
            return self._domain(error)
        if isinstance(error, RequestEntityTooLarge):
            return self._domain(too_large(self._settings))
        if isinstance(error, HTTPException):
            return self._http(error)
        return self._unexpected(error)

    def offer_fallback(self, response: Response) -> Response:
        """Let nginx ask the other replica, or hold the request: see `fallback`."""
        if response.status_code != 503:
            return response
        request = current_request()
        offered = request.headers.get(FALLBACK_HEADER)
        where = fallback(offered, record_of(request.environ).code, self._restarting)
        if where is not None:
            response.headers["X-Accel-Redirect"] = f"@{where}"
        return response

    def _respond(self, status: int, body: dict[str, Any]) -> Response:
        request = current_request()
        record_of(request.environ).code = body["code"]
        if speaks_protocol(request.path):
            # The protocols v1 and v2 have no 422.
            return json_response({"error": in_one_line(body)}, 400 if status == 422 else status)
        if wants_page():
            return self._page(status, body)
        return json_response({"id": request_id(), "error": body}, status)

    def _domain(self, error: KeraportError) -> Response:
        status = STATUS[error.code]
        if status == 500:
            # Its message may quote the request; only the answer contains it.
            cause = error.__context__
            problem = kind(error) if cause is None else f"{kind(error)} ({kind(cause)})"
            log.error("a request failed: %s", problem, extra=_log_context())
        # 499 is for the log only: a client that has merely finished sending, too early, reads this.
        response = self._respond(400 if status == 499 else status, describe(error))
        if isinstance(error, Unavailable | TooManyRequests):
            response.headers["Retry-After"] = str(error.retry_after)
        if isinstance(error, UnsupportedCoding):  # RFC 9110, section 15.5.16
            response.headers["Accept-Encoding"] = ", ".join(error.codings)
        if isinstance(error, Unauthorized):
            response.headers["WWW-Authenticate"] = CHALLENGE
        return response

    def _http(self, error: HTTPException) -> Response:
        status = error.code or 500
        code = _CODE_OF_STATUS.get(status, "bad_request" if status < 500 else "internal")
        body = error_body(code, _message(error, status), [])
        response = self._respond(status, body)
        for name, value in error.get_headers():
            if name in ("Allow", "Location"):
                response.headers[name] = value
        return response

    def _unexpected(self, error: Exception) -> Response:
        log.error(
            "a request failed: %s", kind(error), extra=_log_context() | {"exception": trace(error)}
        )
        body = error_body(
            "internal", "the server failed on this request; its log says why, under this id", []
        )
        return self._respond(500, body)


def _log_context() -> dict[str, Any]:
    """Return the keys that link a log line to that of its request."""
    record = record_of(current_request().environ)
    model = {"model": record.entries[-1].name} if record.entries else {}
    return {"id": request_id(), **model}


def _message(error: HTTPException, status: int) -> str:
    request = current_request()
    if status == 404:
        return f"there is nothing at {request.path[:200]}"
    if status == 405:
        allowed = ", ".join(sorted(getattr(error, "valid_methods", None) or []))
        return f"{request.path[:200]} does not take {request.method}; it takes {allowed}"
    return error.description or error.name
