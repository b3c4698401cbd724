"""Asks a server for /livez every few milliseconds on a kept connection, and a trivial one beside it
the same: how long the longest answer took of each.

`python -m tests.probe FILE PORT`; without arguments it is the trivial server, which prints its
port.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from gevent.pywsgi import WSGIServer

from tests.hub_clock import CONTROL, LIVEZ, figures

EVERY_S = 0.005
REQUEST = b"GET /livez HTTP/1.1\r\nHost: probe\r\n\r\n"


def serve() -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]

    server = WSGIServer(("127.0.0.1", 0), app, log=None)
    server.start()
    print(server.server_port, flush=True)
    server.serve_forever()


def probe(port: int, shared: memoryview[float], place: int) -> None:
    """A connection that breaks is opened again; what has not answered by then counts."""
    while True:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 600) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while True:
                started = time.monotonic()
                connection.sendall(REQUEST)
                if not connection.recv(65536):
                    break
                shared[place] = max(shared[place], time.monotonic() - started)
                time.sleep(EVERY_S)
        time.sleep(EVERY_S)


def main() -> None:
    if len(sys.argv) == 1:
        serve()
        return
    shared = figures(Path(sys.argv[1]))
    command = [sys.executable, "-m", "tests.probe"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as control:
        assert control.stdout is not None
        port = int(control.stdout.readline())
        for where, place in ((int(sys.argv[2]), LIVEZ), (port, CONTROL)):
            threading.Thread(target=probe, args=(where, shared, place), daemon=True).start()
        print("ready", flush=True)
        # Until the parent process closes it.
        sys.stdin.read()
        control.kill()


if __name__ == "__main__":
    main()
