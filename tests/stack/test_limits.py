"""Bodies at the limits, over both protocols, and slow clients."""

from __future__ import annotations

import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.stack.compose import Stack, eventually
from tests.support import in_chunks, padded_picture

APP_LIMIT, NGINX_LIMIT = 16_000_000, 17_000_000
# Seconds within which a client that dawdles is cut: the timeouts are 10 s.
PATIENCE_S = 25

both = pytest.mark.parametrize("http2", [False, True], ids=["HTTP/1.1", "HTTP/2"])
chunks = pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])


def _no_leftovers(stack: Stack) -> bool:
    files = stack.shell("app-1", "ls -A uploads") + stack.shell("app-2", "ls -A uploads")
    return not files + stack.shell("nginx", "find /tmp/keraport/body -type f")


@both
@chunks
@pytest.mark.parametrize(
    ("size", "status"),
    [(14_000_000, 200), (APP_LIMIT, 200), (APP_LIMIT + 1, 413), (NGINX_LIMIT, 413)],
)
def test_bodies_up_to_the_limit_of_the_application(
    stack: Stack, size: int, status: int, chunked: bool, http2: bool
) -> None:
    body = padded_picture(size)
    with stack.client(http2=http2) as client:
        answer = client.post("/api/cats-dogs", content=in_chunks(body) if chunked else body)
    assert answer.status_code == status, answer.text
    if status == 413:
        error = answer.json()["error"]
        assert error["code"] == "too_large"
        # In the words of the application, not of nginx.
        assert "16 MB, the limit of this server" in error["message"]
    assert eventually(lambda: _no_leftovers(stack), 10)


@both
@chunks
@pytest.mark.parametrize("size", [NGINX_LIMIT + 1, 30_000_000])
def test_bodies_above_the_limit_of_nginx(
    stack: Stack, size: int, chunked: bool, http2: bool
) -> None:
    """By curl, since httpx over HTTP/2 does not look at an answer before it has sent everything."""
    before = len(stack.app_lines(path="/api/cats-dogs"))
    options = ["--http2" if http2 else "--http1.1", "-H", "Transfer-Encoding: chunked"]
    done = subprocess.run(
        ["docker", "exec", "-i", stack.container("nginx"), "curl", "-ski", "--max-time", "60"]
        + options[: 3 if chunked and not http2 else 1]
        # From a pipe, the length is known only if it is read to its end first, as --data does.
        + (["--upload-file", "-", "-X", "POST"] if chunked else ["--data-binary", "@-"])
        + ["https://127.0.0.1:8443/api/cats-dogs"],
        input=bytes(size),
        capture_output=True,
    )
    head = done.stdout.decode().lower()
    assert f"http/{'2' if http2 else '1.1'} 413" in head, head + done.stderr.decode()
    assert "x-content-type-options: nosniff" in head
    assert len(stack.app_lines(path="/api/cats-dogs")) == before, "it came through"
    assert eventually(lambda: _no_leftovers(stack), 10)


# --- clients that dawdle --------------------------------------------------------------------------


def _connect(stack: Stack) -> ssl.SSLSocket:
    plain = socket.create_connection(("localhost", stack.https_port), timeout=PATIENCE_S)
    return stack.trust().wrap_socket(plain, server_hostname="localhost")


def _cut_after(connection: ssl.SSLSocket, piece: bytes) -> float:
    """Seconds until the server ends the connection of a client that sends a byte a second."""
    start = time.monotonic()
    connection.settimeout(1)
    while time.monotonic() - start < PATIENCE_S:
        try:
            connection.sendall(piece)
            if connection.recv(65536) == b"":
                return time.monotonic() - start
        except TimeoutError:
            continue
        except OSError:
            return time.monotonic() - start
    return float("inf")


def _send_headers_slowly(stack: Stack) -> None:
    with _connect(stack) as connection:
        connection.sendall(b"POST /api/mpg HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        assert _cut_after(connection, b"a") < PATIENCE_S


def _stop_in_the_body(stack: Stack) -> None:
    with _connect(stack) as connection:
        connection.sendall(
            b"POST /api/mpg HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 1000\r\n\r\n{"
        )
        start = time.monotonic()
        answer = connection.recv(65536)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 408")
        assert time.monotonic() - start < PATIENCE_S


def _stop_in_the_handshake(stack: Stack) -> None:
    with socket.create_connection(("localhost", stack.https_port), timeout=PATIENCE_S) as plain:
        plain.sendall(b"\x16\x03\x01")
        assert plain.recv(100) == b""


DAWDLE = (_send_headers_slowly, _stop_in_the_body, _stop_in_the_handshake)


@pytest.fixture(scope="module")
def cut(stack: Stack) -> Iterator[dict[str, Future[None]]]:
    """All of them at once, for each is cut after the same seconds."""
    with ThreadPoolExecutor(len(DAWDLE)) as pool:
        yield {dawdle.__name__: pool.submit(dawdle, stack) for dawdle in DAWDLE}


@pytest.mark.parametrize("name", [dawdle.__name__ for dawdle in DAWDLE])
def test_a_client_that_dawdles_is_cut(cut: dict[str, Future[None]], name: str) -> None:
    cut[name].result()
