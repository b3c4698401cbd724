"""The listening socket."""

from __future__ import annotations

import socket

import pytest

from app.server.listener import listen
from app.settings import Settings


def test_accepted_connections_send_without_delay() -> None:
    """A plain accept, since what matters is what Linux inherits from the listener."""
    listener = listen(Settings(port=0))
    try:
        with socket.create_connection(listener.getsockname()):
            accepted, _ = listener.accept()
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
            accepted.close()
    finally:
        listener.close()


def test_a_port_is_shared_only_when_asked_for() -> None:
    first = listen(Settings(port=0, reuse_port=True))
    port = first.getsockname()[1]
    second = listen(Settings(port=port, reuse_port=True))
    try:
        with pytest.raises(OSError, match="in use"):
            listen(Settings(port=port))
    finally:
        first.close()
        second.close()


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not _has_ipv6(), reason="this machine has no IPv6")
def test_ipv6_addresses_are_taken() -> None:
    listener = listen(Settings(host="::1", port=0))
    assert listener.getsockname()[0] == "::1"
    listener.close()
