"""Protocols, ciphers and groups, asked for one by one with openssl."""

from __future__ import annotations

import socket
import subprocess

import pytest

from tests.stack.compose import Stack

MODERN = {
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
}


def _connects(stack: Stack, *options: str) -> subprocess.CompletedProcess[str]:
    """openssl of the nginx image, the newest at hand, against the port inside its container."""
    command = ["openssl", "s_client", "-connect", "127.0.0.1:8443", "-brief", *options]
    return subprocess.run(
        ["docker", "exec", stack.container("nginx"), *command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("version", ["tls1_2", "tls1_3"])
def test_current_versions_are_accepted(stack: Stack, version: str) -> None:
    done = _connects(stack, f"-{version}")
    assert done.returncode == 0, done.stderr
    assert f"Protocol version: TLSv{version[3:].replace('_', '.')}" in done.stderr


@pytest.mark.parametrize("version", ["tls1", "tls1_1"])
def test_old_versions_are_refused_by_the_server(stack: Stack, version: str) -> None:
    """The server's alert, and not a client that cannot speak them, ends the connection."""
    done = _connects(stack, f"-{version}", "-cipher", "ALL:@SECLEVEL=0")
    assert done.returncode != 0
    assert "alert protocol version" in done.stderr


def test_no_weak_cipher_is_accepted(stack: Stack) -> None:
    every = stack.exec(
        "nginx", "openssl", "ciphers", "-s", "-tls1_2", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"
    )
    names = every.strip().split(":")
    assert len(names) > 50, "this openssl knows too few to tell"
    script = (
        "for c in "
        + " ".join(names)
        + (
            "; do openssl s_client -connect 127.0.0.1:8443 -tls1_2 -cipher $c:@SECLEVEL=0 -brief"
            " </dev/null >/dev/null 2>&1 && echo $c; done; true"
        )
    )
    accepted = set(stack.shell("nginx", script).split())
    assert accepted == MODERN


def test_the_hybrid_post_quantum_group_is_negotiated(stack: Stack) -> None:
    done = _connects(stack)  # what a current client offers by itself
    assert "X25519MLKEM768" in done.stderr
    for group in ("X25519MLKEM768", "X25519", "prime256v1", "secp384r1"):
        assert _connects(stack, "-groups", group).returncode == 0
    assert _connects(stack, "-groups", "ffdhe2048").returncode != 0


def test_http2_is_offered_and_http1_taken(stack: Stack) -> None:
    for offered, taken in (("h2,http/1.1", "h2"), ("http/1.1", "http/1.1")):
        context = stack.trust()
        context.set_alpn_protocols(offered.split(","))
        with (
            socket.create_connection(("localhost", stack.https_port)) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as tls,
        ):
            assert tls.selected_alpn_protocol() == taken


def test_the_configuration_is_clean(stack: Stack) -> None:
    """nginx warns of what it does not like; it has nothing to say here."""
    done = subprocess.run(
        ["docker", "exec", stack.container("nginx"), "nginx", "-t"], capture_output=True, text=True
    )
    lines = [line for line in done.stderr.splitlines() if "[warn]" in line or "[emerg]" in line]
    assert done.returncode == 0
    assert lines == []
