"""A small authenticating proxy with the addresses and headers of oauth2-proxy: run this file with
the address and port to listen on. Its first line of output tells that it listens.

People sign in with the name of a user as the password. `blocked` may not use the server.
"""

from __future__ import annotations

import hmac
import secrets
import sys
from hashlib import sha256
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

COOKIE = "_oauth2_proxy"
_SECRET = secrets.token_bytes(32)
_FORM = """<!doctype html><title>Sign in</title><form method="post">
<input name="user"><input name="password" type="password"><button>Sign in</button></form>"""


def _signature(user: str) -> str:
    return hmac.new(_SECRET, user.encode(), sha256).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path == "/oauth2/auth":
            self._authenticate()
        elif path == "/oauth2/start":
            self._answer(200, _FORM.encode(), {"Content-Type": "text/html"})
        else:
            self._answer(404)

    def do_POST(self) -> None:
        address = urlsplit(self.path)
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        sent = {name: values[0] for name, values in parse_qs(body).items()}
        user = sent.get("user", "")
        if address.path != "/oauth2/start" or not user or user != sent.get("password"):
            self._answer(403)
            return
        cookie = f"{COOKIE}={user}.{_signature(user)}; Path=/; HttpOnly; Secure; SameSite=Lax"
        (back,) = parse_qs(address.query)["rd"]
        self._answer(302, headers={"Location": back, "Set-Cookie": cookie})

    def _authenticate(self) -> None:
        cookie = SimpleCookie(self.headers.get("Cookie", "")).get(COOKIE)
        user, _, signature = (cookie.value if cookie else "").rpartition(".")
        if not user or not hmac.compare_digest(signature, _signature(user)):
            self._answer(401)
        elif user == "blocked":
            self._answer(403)
        else:
            renewed = {"Set-Cookie": "renewed=1; Path=/; Secure"} if user == "renewed" else {}
            email = {} if user == "nameless" else {"X-Auth-Request-Email": f"{user}@example.org"}
            self._answer(202, headers={"X-Auth-Request-User": user, **email, **renewed})

    def _answer(
        self, status: int, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), _Handler)
    print("listening", flush=True)
    server.serve_forever()
