"""The client's address, scheme and user behind a proxy: `X-Forwarded-For` and `-Proto`, and a
header for the user, if trusted."""

from __future__ import annotations

from collections.abc import Container, Iterable
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import TYPE_CHECKING

from werkzeug.middleware.proxy_fix import ProxyFix

from app.api.telemetry.record import record_of

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


# Characters of a user's name.
MAX_USER = 200
# Addresses whose trust is remembered: connections come from few.
_REMEMBERED = 1024


class TrustedAddresses:
    """The addresses of proxies. networks: those that contain them."""

    def __init__(self, networks: Iterable[IPv4Network | IPv6Network]) -> None:
        self._networks = tuple(networks)
        # Every request asks.
        self._trusts = lru_cache(_REMEMBERED)(self._looked_up)

    def __contains__(self, address: object) -> bool:
        """Whether `address`, that of a connection as text, is a proxy's."""
        return self._trusts(str(address))

    def _looked_up(self, address: str) -> bool:
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._networks)


class TrustedProxy:
    """Takes the client's address and scheme from the `X-Forwarded-…` headers of connections from
    `addresses`, and the user from the header of that name, if there is one. From all others, these
    headers are ignored."""

    def __init__(
        self, app: WSGIApplication, addresses: Container[str], user_header: str = ""
    ) -> None:
        self._app = app
        self._behind_proxy = ProxyFix(app, x_for=1, x_proto=1)
        self._addresses = addresses
        self._user_key = f"HTTP_{user_header.upper().replace('-', '_')}" if user_header else None

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        if environ.get("REMOTE_ADDR") not in self._addresses:
            return self._app(environ, start_response)
        if self._user_key is not None and (user := environ.get(self._user_key)):
            # The environment has bytes as Latin-1 (PEP 3333).
            name = user.encode("latin-1").decode(errors="replace").strip()
            record_of(environ).user = name[:MAX_USER] or None
        return self._behind_proxy(environ, start_response)
