"""Who may come in, where there are API keys: everything needs one but what says whether the process
lives, the files that the pages are made of, and the login itself.

It stands before every view and before any body is read. What programs send is a header; browsers
keep a session (`app.keys.session`), which counts only for what comes from our own pages.
"""

from __future__ import annotations

from typing import Any

from flask import Flask, Request, Response, g, request

from app.api.record import record_of
from app.errors import Forbidden, TooManyRequests, Unauthorized
from app.keys.file import Key
from app.keys.rates import Rates
from app.keys.ring import REPLICA_HEADER, KeyRing

COOKIE = "keraport_session"
KNOWN_HEADER = "X-Keraport-Key"
# By the names of their views.
OPEN = frozenset({"health.livez", "health.readyz", "static", "bootstrap.static", "login.login"})
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_HOW = "send one as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'"


def install(app: Flask, keys: KeyRing) -> None:
    """Have every request judged. Before all else that looks at requests, but for preflights: those
    bring no key."""
    rates = Rates()

    @app.before_request
    def _judge() -> None:
        key = _key_of(request, keys)
        if key is not None:
            g.api_key, g.visible = key, key.models
            record_of(request.environ).key = key.name
        if request.endpoint in OPEN:
            return
        if key is None:
            if _is_replica(request, keys):
                g.visible = None
                return
            raise Unauthorized(_refusal(request))
        if request.endpoint == "key":  # a question of nginx, not of the client
            return
        if key.rate is not None and (wait := rates.take(key.rate, key.digest.hex())):
            raise TooManyRequests(f"the key {key.name!r} may ask {_words(key)}: slow down", wait)
        if request.path.rstrip("/") == "/metrics" and key.models is not None:
            raise Forbidden(
                f"the key {key.name!r} is for some models, and the metrics tell of all: use a key "
                "without a list of models"
            )

    @app.get("/key")
    def key() -> Response:
        """For nginx, which limits by their address the requests that have no key that is known."""
        return Response(status=204, headers={KNOWN_HEADER: "known"})

    @app.after_request
    def _keep_nothing(response: Response) -> Response:
        """Behind a key, nothing is for caches; after signing out neither for the one of the
        browser."""
        if request.endpoint not in ("static", "bootstrap.static"):
            response.headers.setdefault("Cache-Control", "no-store")
        return response


def visible_models() -> frozenset[str] | None:
    """The names of the models that the request at hand may see, whether they exist or not; None
    for all. Only where there are keys."""
    visible: frozenset[str] | None = g.get("visible", frozenset())
    return visible


def from_own_page(request: Request) -> bool:
    """Whether a browser says that the request comes from a page of this server, or was typed."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site in ("same-origin", "none")
    # Browsers say no more than this over plain HTTP.
    return request.headers.get("Origin") == request.host_url.rstrip("/")


def _key_of(request: Request, keys: KeyRing) -> Key | None:
    presented = presented_key(request.environ)
    if presented is not None:
        return keys.find(presented)
    token = request.cookies.get(COOKIE)
    if token is None or not (request.method in _SAFE_METHODS or from_own_page(request)):
        return None
    return keys.find_session(token)


def presented_key(environ: dict[str, Any]) -> str | None:
    """The key as it was sent with the request of this WSGI environment, if one was."""
    scheme, _, key = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    found: str | None = key.strip() if scheme.lower() == "bearer" else environ.get("HTTP_X_API_KEY")
    return found


def _refusal(request: Request) -> str:
    if presented_key(request.environ) is not None:
        return "this API key is not known here: it was changed on its way, or removed"
    if COOKIE in request.cookies:
        return "the session is over, or this was not sent by a page of this server: sign in again"
    return f"an API key is needed: {_HOW}"


def _is_replica(request: Request, keys: KeyRing) -> bool:
    if request.endpoint != "status.status" or request.args.get("replica") != "self":
        return False
    return keys.is_replica(request.headers.get(REPLICA_HEADER, ""))


def _words(key: Key) -> str:
    rate = key.rate
    assert rate is not None, "or it would not be over it"
    return f"{rate.amount} times a {rate.GRANULARITY.name}"


def own_path(address: str) -> str:
    """`address` where it is a path of this server, else the home page."""
    here = address.startswith("/") and not address.startswith("//")
    # Browsers drop control characters, and take a backslash for a slash.
    if not here or "\\" in address or not address.isprintable():
        return "/"
    return "/" if address.partition("?")[0] == "/login" else address
