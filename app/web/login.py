"""The way in for people, where there are API keys: a page that asks for one, once."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from flask import Blueprint, Response, g, make_response, redirect, render_template, request
from limits import parse

from app.api.gate import COOKIE, from_own_page, own_path
from app.errors import Draining, Forbidden, TooLarge, TooManyRequests
from app.keys import session
from app.keys.rates import Rates
from app.keys.ring import KeyRing
from app.lifecycle import Lifecycle

# Wrong keys from one address.
FAILURES = parse("10/minute")
# Bytes; a key and an address.
MAX_FORM = 16_384


def blueprint(keys: KeyRing, lifecycle: Lifecycle) -> Blueprint:
    """`/login` and `/logout`."""
    routes = Blueprint("login", __name__)
    failures = Rates()

    @routes.before_request
    def _refuse() -> None:
        if lifecycle.refusing:
            raise Draining("this server is shutting down: send the request again")

    @routes.route("/login", methods=["GET", "POST"])
    def login() -> Response:
        if request.method != "POST":
            return make_response(_page(request.args.get("next", "/")))
        if not from_own_page(request):
            raise Forbidden("this form was not sent by a page of this server")
        if request.content_length is None or request.content_length > MAX_FORM:
            raise TooLarge(f"the form of a login has at most {MAX_FORM} bytes")
        address = request.remote_addr or ""
        if wait := failures.left(FAILURES, address):
            raise TooManyRequests("too many wrong keys from this address", wait)
        wanted = request.form.get("next", "/")
        key = keys.find(request.form.get("key", "").strip())
        if key is None:
            failures.take(FAILURES, address)
            return make_response(_page(wanted, "This key is not known here."), 401)
        response = _to(own_path(wanted))
        response.set_cookie(
            COOKIE, session.sign(key), httponly=True, samesite="Strict", secure=request.is_secure
        )
        return response

    @routes.post("/logout")
    def logout() -> Response:
        response = _to("/")
        response.delete_cookie(COOKIE, httponly=True, samesite="Strict", secure=request.is_secure)
        return response

    @routes.app_context_processor
    def _signed_in() -> dict[str, Any]:
        return {"keys_on": True, "signed_in": g.get("api_key") is not None}

    return routes


def login_page(error: dict[str, Any]) -> Response:
    """In place of the page that was asked for, which it leads back to. error: as in the API's
    answers, `{"code", "message", "details"}`."""
    over = error["message"] if COOKIE in request.cookies else ""
    wanted = quote(request.path)
    if request.query_string and request.method == "GET":
        wanted += f"?{request.query_string.decode(errors='replace')}"
    return make_response(_page(wanted, over), 401)


def _page(wanted: str, problem: str = "") -> str:
    # A link of another site brings no session along; the page, loaded again by itself, does.
    elsewhere = request.headers.get("Sec-Fetch-Site") == "cross-site" and request.method == "GET"
    return render_template(
        "login.html",
        wanted=own_path(wanted),
        problem=problem,
        again=elsewhere and request.path != "/login",
    )


def _to(address: str) -> Response:
    response = redirect(address, 303)
    assert isinstance(response, Response)
    return response
