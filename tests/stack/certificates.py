"""Certificates of a test authority, put where an operator would put them."""

from __future__ import annotations

import socket
import ssl
from datetime import datetime
from pathlib import Path

import trustme

from tests.stack.compose import SELF_SIGNED, Stack, eventually

AUTHORITY = trustme.CA()
AUTHORITY_PEM = AUTHORITY.cert_pem.bytes().decode()


def mounted(stack: Stack) -> Path:
    """The folder that is /certs for nginx."""
    return stack.folder / "nginx" / "certs"


def put(stack: Stack, *names: str, not_after: datetime | None = None) -> bytes:
    """Copy a new certificate there, as a person would. Returns it in DER."""
    issued = AUTHORITY.issue_cert(*names, not_after=not_after)
    issued.private_key_pem.write_to_path(str(mounted(stack) / "privkey.pem"))
    chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
    (mounted(stack) / "fullchain.pem").write_bytes(chain)
    return ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode())


def withdraw(stack: Stack) -> None:
    """Empty the folder and wait until the stack serves its own certificate again."""
    for file in mounted(stack).glob("*.pem"):
        file.unlink()
    own = ssl.PEM_cert_to_DER_cert(stack.exec("nginx", "cat", SELF_SIGNED))
    eventually(lambda: served_certificate(stack) == own, 20)


def served_certificate(stack: Stack) -> bytes:
    """The certificate that a new connection gets, in DER."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection(("localhost", stack.https_port), timeout=10) as plain,
        context.wrap_socket(plain) as tls,
    ):
        return tls.getpeercert(binary_form=True) or b""
