"""Early refusals: requests for a full model, refused by their headers alone.

A refusal through Flask costs a third of an answer, and clients that ask again at once would take
all the time of the server. Here it costs a tenth, and refusals in quick succession are delayed.
Cases that are not clear from the headers, such as the session of a browser, are left to the views,
which also check for room before they read a body.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import gevent
import orjson

from app.api.http.access import ModelAccess
from app.api.http.answers import REQUEST_ID_HEADER, environ_id
from app.api.http.errors import FALLBACK_HEADER, error_body
from app.api.http.gate import presented_key
from app.api.http.prediction_path import prediction_path
from app.api.http.requests import time_limit_s
from app.api.telemetry.record import record_of
from app.errors import ModelNotFound, Overloaded
from app.keys.ring import KeyRing
from app.lifecycle import Lifecycle
from app.serving.cards.versions import version_number

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

FALLBACK_ENVIRON = f"HTTP_{FALLBACK_HEADER.upper().replace('-', '_')}"
# Refusals per second above which each is delayed, and the longest delay in seconds: this slows down
# clients that ask again as soon as they are refused.
REFUSALS_PER_S = 100
MOST_DELAY_S = 0.4
# A body up to this many bytes is read and discarded, so that its connection stays open.
KEPT_BYTES = 1_000_000


class Pace:
    """The pace at which refusals leave. clock: monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._next = clock()

    def delay(self) -> float:
        """Return the seconds that the next refusal has to wait."""
        now = self._clock()
        leaves = min(max(self._next, now), now + MOST_DELAY_S)
        self._next = leaves + 1 / REFUSALS_PER_S
        return leaves - now


class _Refusal(NamedTuple):
    """A refusal. standard: whether it has the shape of v1 and v2."""

    error: Overloaded
    standard: bool


class EarlyRefusals:
    """Refuses requests for full models, and passes all others to `app`.

    timeout_s: of a request. keys: the API keys, if there are any.
    """

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
        """Answer one request (PEP 3333)."""
        refused = self._refused(environ)
        if refused is None:
            return self._app(environ, start_response)
        if not self._lifecycle.draining:
            gevent.sleep(self._pace.delay())
        return _answer(refused, environ, start_response, private=self._keys is not None)

    def _refused(self, environ: WSGIEnvironment) -> _Refusal | None:
        if environ["REQUEST_METHOD"] != "POST" or self._lifecycle.refusing:
            return None
        path = prediction_path(environ["PATH_INFO"])
        # Another version may have room; a page of another origin needs more headers.
        if path is None or environ.get("QUERY_STRING") or "HTTP_ORIGIN" in environ:
            return None
        name = path.model
        key_name = None
        if self._keys is not None:
            presented = presented_key(environ)
            key = None if presented is None else self._keys.find(presented)
            if key is None or (key.models is not None and name not in key.models):
                return None
            key_name = key.name
        version: int | str | None = path.label or None
        if path.version:
            version = version_number(path.version)
            if version is None:
                version = path.version
        try:
            entry = self._access.sole_entry(name, version)
        except ModelNotFound:
            return None
        if entry is None or entry.model is None or entry.hangs:
            return None
        model = entry.model
        try:
            model.check_room(time_limit_s(model, self._timeout_s))
        except Overloaded as error:
            record = record_of(environ)
            record.entries.append(entry)
            record.code, record.key = error.code, key_name
            return _Refusal(error, standard=path.api != "native")
        return None


def _answer(
    refused: _Refusal, environ: WSGIEnvironment, start_response: StartResponse, *, private: bool
) -> Iterable[bytes]:
    """Answer as `app.api.http.errors` does, without Flask. private: whether caches must not store
    it."""
    error = refused.error
    id = environ_id(environ)
    content: dict[str, Any] = {"error": error.message}
    if not refused.standard:
        content = {"id": id, "error": error_body(error.code, error.message, [])}
    body = orjson.dumps(content, option=orjson.OPT_APPEND_NEWLINE)
    headers = [
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(body))),
        ("Retry-After", str(error.retry_after)),
        (REQUEST_ID_HEADER, id),
    ]
    if private:
        headers.append(("Cache-Control", "no-store"))
    # nginx has the whole body, and would treat a connection that closes meanwhile as a failure.
    if FALLBACK_ENVIRON not in environ:
        limit_discard(environ, KEPT_BYTES)
    if "HTTP_TRANSFER_ENCODING" in environ:  # of unknown length
        headers.append(("Connection", "close"))
    start_response("503 SERVICE UNAVAILABLE", headers)
    return [body]


def limit_discard(environ: WSGIEnvironment, size: int) -> None:
    """Limit the unread rest of the body that is discarded after the answer to `size` bytes; if
    there is more, the connection closes.

    Has no effect under other servers.
    """
    body: Any = environ.get("wsgi.input")
    if hasattr(body, "discarded"):
        body.discarded = size
