"""Authentication. With API keys configured, every route needs one except health checks, static
files and the login.

Keys are checked before every view and before any body is read. Programs send one in a header;
browsers keep a session (`app.keys.session`), which counts only for requests of our own pages. Users
whom a trusted proxy has signed in (`app.api.http.users`) need none.
"""

from __future__ import annotations

from typing import Any

from flask import Flask, Request, Response

from app.api.http.current import current_request
from app.api.telemetry.record import Record, record_of
from app.errors import Forbidden, TooManyRequests, Unauthorized
from app.keys.file import Key
from app.keys.rate_limiter import RateLimiter, rate_in_words
from app.keys.ring import REPLICA_HEADER, KeyRing
from app.settings import Settings

COOKIE = "keraport_session"
KNOWN_HEADER = "X-Keraport-Key"
# Endpoints that need no key.
OPEN = frozenset({"health.livez", "health.readyz", "static", "bootstrap.static", "login.login"})
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_NEEDED = "an API key is needed: send one as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'"
_UNKNOWN = "this API key is not known: it was changed in transit, or removed"


class Gate:
    """Checks the key of every request. keys: that are known."""

    def __init__(self, keys: KeyRing) -> None:
        self.keys = keys
        self._rates = RateLimiter()

    def install(self, app: Flask) -> None:
        """Check the requests of `app` before all other hooks, except preflights, which have no
        key."""
        app.before_request(self.check)
        app.after_request(self.forbid_caching)

        @app.get("/key")
        def key() -> Response:
            """Tell nginx whether the key is known: requests without one are limited by address."""
            return Response(status=204, headers={KNOWN_HEADER: "known"})

    def check(self) -> None:
        """Check the key of the current request, and record it. Raises Unauthorized,
        TooManyRequests, Forbidden."""
        request = current_request()
        record = record_of(request.environ)
        key = _key_of(request, self.keys)
        if key is not None:
            record.key, record.visible = key.name, key.models
        if request.endpoint in OPEN:
            return
        if key is None:
            if record.user is not None and not _from_other_page(request):
                record.visible = None
                return
            if _is_replica(request, self.keys):
                record.visible = None
                return
            raise Unauthorized(_refusal(request))
        if request.endpoint == "key":  # nginx asks, not the client
            return
        self._count(key)
        if request.path.rstrip("/") == "/metrics" and key.models is not None:
            raise Forbidden(
                f"the key {key.name!r} is for some models only, but the metrics cover all: use a "
                "key without a list of models"
            )

    def admit(self, presented: str | None, record: Record) -> None:
        """Check the key that was sent with a request other than HTTP's, and record it. Users need
        none. Raises Unauthorized, TooManyRequests."""
        key = None if presented is None else self.keys.find(presented)
        if key is None and record.user is not None:
            record.visible = None
            return
        if key is None:
            raise Unauthorized(_NEEDED if presented is None else _UNKNOWN)
        record.key, record.visible = key.name, key.models
        self._count(key)

    def _count(self, key: Key) -> None:
        """Count a request. Raises TooManyRequests."""
        if key.rate is not None and (wait := self._rates.hit(key.rate, key.digest.hex())):
            allowed = rate_in_words(key.rate)
            raise TooManyRequests(f"the key {key.name!r} allows {allowed}: slow down", wait)

    def forbid_caching(self, response: Response) -> Response:
        """Forbid caching of answers behind a key, in the browser as well: users may sign out."""
        if current_request().endpoint not in ("static", "bootstrap.static"):
            response.headers.setdefault("Cache-Control", "no-store")
        return response


def open_gate(settings: Settings) -> Gate | None:
    """Return the gate for the file of API keys, if the settings name one. Raises KeysError."""
    return None if settings.api_keys_file is None else Gate(KeyRing(settings.api_keys_file))


def from_own_page(request: Request) -> bool:
    """Whether a browser says that the request comes from a page of this server or from a typed
    address."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site in ("same-origin", "none")
    # All that browsers send over plain HTTP.
    return request.headers.get("Origin") == request.host_url.rstrip("/")


def _from_other_page(request: Request) -> bool:
    """Whether a browser sends the request for a page of another origin, with the cookies of the
    proxy that signs people in."""
    headers = request.headers
    browser = "Sec-Fetch-Site" in headers or "Origin" in headers
    return browser and request.method not in _SAFE_METHODS and not from_own_page(request)


def _key_of(request: Request, keys: KeyRing) -> Key | None:
    presented = presented_key(request.environ)
    if presented is not None:
        return keys.find(presented)
    token = request.cookies.get(COOKIE)
    if token is None or not (request.method in _SAFE_METHODS or from_own_page(request)):
        return None
    return keys.find_session(token)


def presented_key(environ: dict[str, Any]) -> str | None:
    """Return the key that was sent with the request of this WSGI environment, if any."""
    scheme, _, key = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    found: str | None = key.strip() if scheme.lower() == "bearer" else environ.get("HTTP_X_API_KEY")
    return found


def _refusal(request: Request) -> str:
    if presented_key(request.environ) is not None:
        return _UNKNOWN
    if COOKIE in request.cookies:
        return "the session has ended, or this was not sent by a page of this server: sign in again"
    return _NEEDED


def _is_replica(request: Request, keys: KeyRing) -> bool:
    own = "self" in (request.args.get("replica"), request.args.get("worker"))
    if not own or request.endpoint not in ("status.status", "metrics.text"):
        return False
    return keys.is_replica(request.headers.get(REPLICA_HEADER, ""))


def local_path(address: str) -> str:
    """Return `address` if it is a path of this server, otherwise that of the home page."""
    here = address.startswith("/") and not address.startswith("//")
    # Browsers drop control characters and treat a backslash as a slash.
    if not here or "\\" in address or not address.isprintable():
        return "/"
    return "/" if address.partition("?")[0] == "/login" else address
