"""Requests that are refused by their headers alone, for the model that they ask is full.

A refusal through Flask costs a third of an answer; clients that ask again at once would take all
the time of the server with them. Here it costs a tenth, and those that come too often wait a moment
for it. Whatever is not plain here, such as a session of a browser, is left to the views: these look
whether there is room as well, before they read a body.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import gevent
import orjson

from app.api.access import ModelAccess
from app.api.answers import REQUEST_ID_HEADER, environ_id
from app.api.errors import FALLBACK_HEADER, error_body
from app.api.gate import presented_key
from app.api.record import record_of
from app.errors import ModelNotFound, Overloaded
from app.keys.ring import KeyRing
from app.lifecycle import Lifecycle
from app.serving.versions import version_number

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

# What asks one model to predict: the native API, v1 and v2.
_ASKED = re.compile(
    r"/api/(?P<native>[^/]+)"
    r"|/v1/models/(?P<v1>[^/:]+)(?:/versions/(?P<number>[0-9]{1,18})|/labels/(?P<label>[^/:]+))?"
    r":(?:predict|classify|regress)"
    r"|/v2/models/(?P<v2>[^/]+)(?:/versions/(?P<version>[^/]+))?/infer"
)
FALLBACK_ENVIRON = f"HTTP_{FALLBACK_HEADER.upper().replace('-', '_')}"
# So many refusals a second leave at once, as far as each has to wait no longer than this, in
# seconds: a client that asks again as soon as it is refused is slowed down by that.
REFUSALS_PER_S = 100
MOST_DELAY_S = 0.4
# A body up to so many bytes is read and thrown away, so that its connection stays open.
KEPT_BYTES = 1_000_000


class Pace:
    """When refusals leave. clock: seconds that only ever grow."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._next = clock()

    def delay(self) -> float:
        """Seconds that one more has to wait."""
        now = self._clock()
        leaves = min(max(self._next, now), now + MOST_DELAY_S)
        self._next = leaves + 1 / REFUSALS_PER_S
        return leaves - now


class _Refused(NamedTuple):
    """standard: whether in the shape of v1 and v2."""

    error: Overloaded
    standard: bool


class EarlyRefusals:
    """Hands requests on to `app` that it does not refuse. timeout_s: of a request. keys: where
    there are any."""

    def __init__(
        self,
        app: WSGIApplication,
        access: ModelAccess,
        lifecycle: Lifecycle,
        *,
        timeout_s: float,
        keys: KeyRing | None,
    ) -> None:
        self._app = app
        self._access = access
        self._lifecycle = lifecycle
        self._timeout_s = timeout_s
        self._keys = keys
        self._pace = Pace()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """One request, as WSGI has it."""
        refused = self._refused(environ)
        if refused is None:
            return self._app(environ, start_response)
        if not self._lifecycle.draining:
            gevent.sleep(self._pace.delay())
        return _answer(refused, environ, start_response, private=self._keys is not None)

    def _refused(self, environ: WSGIEnvironment) -> _Refused | None:
        if environ["REQUEST_METHOD"] != "POST" or self._lifecycle.refusing:
            return None
        asked = _ASKED.fullmatch(environ["PATH_INFO"])
        # Another version may have room; a page of another origin needs more headers.
        if asked is None or environ.get("QUERY_STRING") or "HTTP_ORIGIN" in environ:
            return None
        name = asked["native"] or asked["v1"] or asked["v2"]
        key_name = None
        if self._keys is not None:
            presented = presented_key(environ)
            key = None if presented is None else self._keys.find(presented)
            if key is None or (key.models is not None and name not in key.models):
                return None
            key_name = key.name
        version: int | str | None = asked["label"]
        if number := asked["number"] or asked["version"]:
            version = version_number(number)
            if version is None:
                version = number
        try:
            entry = self._access.only(name, version)
        except ModelNotFound:
            return None
        if entry is None or entry.model is None or entry.hangs:
            return None
        model = entry.model
        try:
            model.check_room(min(self._timeout_s, model.card.runtime.timeout_s))
        except Overloaded as error:
            record = record_of(environ)
            record.entries.append(entry)
            record.code, record.key = error.code, key_name
            return _Refused(error, standard=asked["native"] is None)
        return None


def _answer(
    refused: _Refused, environ: WSGIEnvironment, start_response: StartResponse, *, private: bool
) -> Iterable[bytes]:
    """As app.api.errors would answer. private: not for caches."""
    error = refused.error
    id = environ_id(environ)
    told: dict[str, Any] = {"error": error.message}
    if not refused.standard:
        told = {"id": id, "error": error_body(error.code, error.message, [])}
    body = orjson.dumps(told, option=orjson.OPT_APPEND_NEWLINE)
    headers = [
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(body))),
        ("Retry-After", str(error.retry_after)),
        (REQUEST_ID_HEADER, id),
    ]
    if private:
        headers.append(("Cache-Control", "no-store"))
    # nginx has all of the body, and would take a connection that closes meanwhile for a failure.
    if FALLBACK_ENVIRON not in environ:
        keep_at_most(environ, KEPT_BYTES)
    if "HTTP_TRANSFER_ENCODING" in environ:  # of no known length
        headers.append(("Connection", "close"))
    start_response("503 SERVICE UNAVAILABLE", headers)
    return [body]


def keep_at_most(environ: WSGIEnvironment, size: int) -> None:
    """Close the connection after the answer where more than `size` bytes of the body are left to
    read; else they are thrown away. Of our server only."""
    body: Any = environ.get("wsgi.input")
    if hasattr(body, "discarded"):
        body.discarded = size
