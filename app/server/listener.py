"""The listening sockets."""

from __future__ import annotations

import os
import socket

from gevent.socket import socket as gevent_socket

from app.settings import Settings

# Connections that wait to be accepted.
BACKLOG = 1024


def listen(settings: Settings) -> socket.socket:
    """Listen at the address of the settings.

    TCP_NODELAY, which accepted connections inherit, is worth a factor of thirty: headers and body
    leave in two writes, and without it the second waits for the client's delayed acknowledgement.
    Raises OSError if the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if settings.reuse_port:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind((settings.host, settings.port))
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def listen_locally() -> socket.socket:
    """Listen at a free port of this machine alone. Raises OSError."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.bind(("127.0.0.1", 0))
    listener.listen(BACKLOG)
    return listener


def for_gevent(listener: socket.socket) -> gevent_socket:
    """Return the socket for the hub of this process. Others may keep it open."""
    descriptor = os.dup(listener.fileno())
    return gevent_socket(listener.family, listener.type, listener.proto, descriptor)


def address_of(listener: socket.socket) -> str:
    """Return the URL of a server that listens there."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
