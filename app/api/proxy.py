"""Who asks, when a proxy stands between: `X-Forwarded-For` and `-Proto`, from the proxy only."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from werkzeug.middleware.proxy_fix import ProxyFix

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class TrustedProxy:
    """Hands requests on, with the client's address and scheme in place of the proxy's where the
    connection comes from one of `addresses`. Anybody else's word is not taken for it."""

    def __init__(self, app: WSGIApplication, addresses: Collection[str]) -> None:
        self._app = app
        self._behind_proxy = ProxyFix(app, x_for=1, x_proto=1)
        self._addresses = frozenset(addresses)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """One request, as WSGI has it."""
        trusted = environ.get("REMOTE_ADDR") in self._addresses
        return (self._behind_proxy if trusted else self._app)(environ, start_response)
