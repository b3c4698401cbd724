"""What a row costs without a model: it is read and answered, nothing more.

python -m benchmarks.peers.floors flask|pywsgi PORT
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import orjson
from flask import Flask, jsonify, request
from flask.typing import ResponseReturnValue
from gevent.pywsgi import WSGIServer
from gevent.socket import socket as gevent_socket

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

BACKLOG = 1024
flask_app = Flask(__name__)


@flask_app.post("/row")
def predict() -> ResponseReturnValue:
    """The sum of the row in place of a prediction."""
    return jsonify(prediction=float(sum(request.get_json().values())))


def bare(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """The same without Flask; anything but a POST is answered with nothing."""
    body = environ["wsgi.input"].read() or b"{}"
    answer = orjson.dumps({"prediction": float(sum(orjson.loads(body).values()))})
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(answer)))]
    start_response("200 OK", headers)
    return [answer]


APPLICATIONS: dict[str, Any] = {"flask": flask_app, "pywsgi": bare}


def main() -> None:
    """Serve until the process is ended."""
    name, port = sys.argv[1:]
    listener = gevent_socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # As Keraport: headers and body leave in two writes.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.bind(("127.0.0.1", int(port)))
    listener.listen(BACKLOG)
    WSGIServer(listener, APPLICATIONS[name], log=None).serve_forever()


if __name__ == "__main__":
    main()
