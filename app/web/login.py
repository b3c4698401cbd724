"""The login: if the server has API keys, a page asks people for one, once."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from flask import Blueprint, Response, make_response, redirect, render_template, request
from limits import parse

from app.api.http.draining import refuse_while_draining
from app.api.http.gate import COOKIE, from_own_page, local_path
from app.api.http.requests import read_form, start_call
from app.api.telemetry.record import record_of
from app.errors import Forbidden, TooLarge, TooManyRequests
from app.keys import session
from app.keys.rate_limiter import RateLimiter
from app.keys.ring import KeyRing
from app.lifecycle import Lifecycle
from app.settings import Settings

# Wrong keys allowed from one address.
FAILURES = parse("10/minute")
# Bytes of the form: a key and an address.
MAX_FORM = 16_384


def blueprint(settings: Settings, keys: KeyRing, lifecycle: Lifecycle) -> Blueprint:
    """Return the routes `/login` and `/logout`."""
    routes = Blueprint("login", __name__)
    failures = RateLimiter()
    refuse_while_draining(routes, lifecycle)

    @routes.route("/login", methods=["GET", "POST"])
    def login() -> Response:
        if request.method != "POST":
            return make_response(_page(request.args.get("next", "/")))
        if not from_own_page(request):
            raise Forbidden("this form was not sent by a page of this server")
        if request.content_length is None or request.content_length > MAX_FORM:
            raise TooLarge(f"the login form may have at most {MAX_FORM} bytes")
        address = request.remote_addr or ""
        if wait := failures.check(FAILURES, address):
            raise TooManyRequests("too many wrong keys from this address", wait)
        form = read_form(request, start_call(settings.request_timeout_s))
        wanted = form.get("next", "/")
        key = keys.find(form.get("key", "").strip())
        if key is None:
            failures.hit(FAILURES, address)
            return make_response(_page(wanted, "This key is not known."), 401)
        response = _redirect(local_path(wanted))
        response.set_cookie(
            COOKIE, session.sign(key), httponly=True, samesite="Strict", secure=request.is_secure
        )
        return response

    @routes.post("/logout")
    def logout() -> Response:
        response = _redirect("/")
        response.delete_cookie(COOKIE, httponly=True, samesite="Strict", secure=request.is_secure)
        return response

    @routes.app_context_processor
    def _signed_in() -> dict[str, Any]:
        return {"keys_on": True, "signed_in": record_of(request.environ).key is not None}

    return routes


def login_page(error: dict[str, Any]) -> Response:
    """Return the login page in place of the requested one, to which it leads back.

    error: as in the API's answers, `{"code", "message", "details"}`.
    """
    over = error["message"] if COOKIE in request.cookies else ""
    wanted = quote(request.path)
    if request.query_string and request.method == "GET":
        wanted += f"?{request.query_string.decode(errors='replace')}"
    return make_response(_page(wanted, over), 401)


def _page(wanted: str, problem: str = "") -> str:
    # Browsers send no session with a link from another site. A page that loads itself again gets
    # it.
    elsewhere = request.headers.get("Sec-Fetch-Site") == "cross-site" and request.method == "GET"
    return render_template(
        "login.html",
        wanted=local_path(wanted),
        problem=problem,
        again=elsewhere and request.path != "/login",
    )


def _redirect(address: str) -> Response:
    response = redirect(address, 303)
    assert isinstance(response, Response)
    return response
