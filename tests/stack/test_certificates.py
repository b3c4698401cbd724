"""Certificates are added to and removed from the mounted folder while the stack runs."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from tests.stack.certificates import (
    AUTHORITY,
    AUTHORITY_PEM,
    mounted,
    put,
    served_certificate,
    withdraw,
)
from tests.stack.compose import Stack, eventually, trusting

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(autouse=True)
def none_left(stack: Stack) -> Iterator[None]:
    yield
    withdraw(stack)


def _put(stack: Stack, name: str) -> bytes:
    new = put(stack, name)
    eventually(lambda: served_certificate(stack) == new, 20)
    return new


def _complaints(stack: Stack) -> list[str]:
    return [line for line in stack.logs("nginx").splitlines() if "ERROR: /certs" in line]


def _complains(stack: Stack, known: int, text: str) -> None:
    eventually(lambda: len(_complaints(stack)) > known, 20)
    assert text in _complaints(stack)[-1]


def test_a_real_certificate_brings_hsts(stack: Stack) -> None:
    own = stack.trust()
    _put(stack, "localhost")
    answer = httpx.get(stack.url, verify=trusting(AUTHORITY_PEM))
    assert answer.headers["strict-transport-security"] == "max-age=63072000"
    with pytest.raises(httpx.ConnectError):
        httpx.get(stack.url, verify=own)


def test_a_kept_connection_is_answered_once_more_after_a_reload(stack: Stack) -> None:
    """Or a client would meet the closing of its connection with its next request."""
    connection = http.client.HTTPSConnection(
        "localhost", stack.https_port, timeout=20, context=stack.trust()
    )
    connection.request("GET", "/api/models")
    assert connection.getresponse().read()
    _put(stack, "localhost")
    connection.request("GET", "/api/models")
    answer = connection.getresponse()
    assert answer.status == 200
    assert answer.getheader("Connection") == "close"


def test_a_bad_certificate_leaves_the_one_before(stack: Stack) -> None:
    """One of its problems; tests/stack/test_nginx.py has the others."""
    good = _put(stack, "localhost")
    known = len(_complaints(stack))
    file = mounted(stack) / "privkey.pem"
    AUTHORITY.issue_cert("localhost").private_key_pem.write_to_path(str(file))
    _complains(stack, known, "privkey.pem is not the key of fullchain.pem")
    assert served_certificate(stack) == good


def test_an_expired_certificate_is_not_taken(stack: Stack) -> None:
    before, known = served_certificate(stack), len(_complaints(stack))
    put(stack, "localhost", not_after=datetime.now(UTC) - timedelta(days=1))
    _complains(stack, known, "it expired on")
    assert served_certificate(stack) == before


def test_the_self_signed_certificate_outlives_its_container(stack: Stack) -> None:
    before = served_certificate(stack)
    stack.compose("up", "-d", "--wait", "--force-recreate", "--no-deps", "nginx")
    assert served_certificate(stack) == before
