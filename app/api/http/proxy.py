"""The client's address and scheme behind a proxy: `X-Forwarded-For` and `-Proto`, if trusted."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from werkzeug.middleware.proxy_fix import ProxyFix

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class TrustedProxy:
    """Takes the client's address and scheme from the `X-Forwarded-…` headers of connections from
    `addresses`. From all others, these headers are ignored."""

    def __init__(self, app: WSGIApplication, addresses: Collection[str]) -> None:
        self._app = app
        self._behind_proxy = ProxyFix(app, x_for=1, x_proto=1)
        self._addresses = frozenset(addresses)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        trusted = environ.get("REMOTE_ADDR") in self._addresses
        return (self._behind_proxy if trusted else self._app)(environ, start_response)
