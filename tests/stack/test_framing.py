"""No request is smuggled through nginx: the applications see the same requests as nginx does."""

from __future__ import annotations

import socket
import ssl
from concurrent.futures import ThreadPoolExecutor

from tests.framing import BODIES, GOOD, HEADS, MARKER, MARKER_PATH, converse, statuses
from tests.stack.compose import Stack, eventually

END = "/end-of-the-table"
# Behind each case, for nginx to close a connection on which it takes the case for a request.
CLOSE = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def test_the_applications_see_the_requests_that_nginx_sees(stack: Stack) -> None:
    """Each request that nginx has seen has an id of its; one hidden in another has no such id."""
    trust = stack.trust()

    def talk(raw: bytes) -> list[int]:
        plain = socket.create_connection(("localhost", stack.https_port), timeout=60)
        try:
            with plain, trust.wrap_socket(plain, server_hostname="localhost") as connection:
                return statuses(converse(connection, raw))
        except ssl.SSLError:  # closed without a word of TLS
            return []

    cases = {name: case.raw for name, case in {**HEADS, **BODIES}.items()}
    cases |= {f"good: {name}": case.raw + MARKER for name, case in GOOD.items()}
    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(talk, [raw + CLOSE for raw in cases.values()])
        found = dict(zip(cases, answers, strict=True))
    # Where nginx reads more leniently than the application, the marker is a request of its own.
    strange = {name: seen for name, seen in found.items() if len(seen) > 3 or 500 in seen}
    assert strange == {}
    talk(f"GET {END} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    eventually(lambda: stack.app_lines(path=END))
    eventually(lambda: [line for line in stack.access_log() if line["path"] == END])
    known = {line["id"] for line in stack.access_log() if line["path"] == MARKER_PATH}
    markers = stack.app_lines(path=MARKER_PATH)
    assert {line["id"] for line in markers} <= known
    assert len(markers) >= len(GOOD) / 2, "behind a well-formed request it is one"
    for service in ("app-1", "app-2"):
        assert '"exception"' not in stack.logs(service)
