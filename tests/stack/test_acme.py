"""The profile `acme` against a real ACME server: Pebble, of Let's Encrypt."""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.stack.certificates import AUTHORITY, AUTHORITY_PEM, served_certificate, withdraw
from tests.stack.compose import Stack, eventually, free_ports

# The stack's network as seen from this machine.
GATEWAY = "172.16.239.1"
DOMAIN = "keraport.test"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def pebble(stack: Stack, tmp_path: Path) -> Iterator[str]:
    """The directory URL of an ACME server that finds `DOMAIN`, as any name, on this machine."""
    if not shutil.which("pebble"):
        pytest.skip("Pebble is not installed (Debian: pebble)")
    port, management, dns, control = free_ports(4)
    issued = AUTHORITY.issue_cert(GATEWAY, "localhost")
    issued.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    issued.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    config = {
        "listenAddress": f"0.0.0.0:{port}",
        "managementListenAddress": f"127.0.0.1:{management}",
        "certificate": str(tmp_path / "cert.pem"),
        "privateKey": str(tmp_path / "key.pem"),
        "httpPort": stack.http_port,
        "tlsPort": stack.https_port,
    }
    (tmp_path / "pebble.json").write_text(json.dumps({"pebble": config}))
    resolver = ["pebble-challtestsrv", "-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""]
    resolver += ["-dns01", f"127.0.0.1:{dns}", "-management", f"127.0.0.1:{control}"]
    resolver += ["-http01", "", "-https01", "", "-tlsalpn01", ""]
    server = ["pebble", "-config", str(tmp_path / "pebble.json"), "-dnsserver", f"127.0.0.1:{dns}"]
    with ExitStack() as processes, (tmp_path / "log").open("wb") as log:
        for command in (resolver, server):
            environ = os.environ | {"PEBBLE_VA_NOSLEEP": "1"}
            process = subprocess.Popen(command, env=environ, stdout=log, stderr=log)
            processes.callback(process.wait)
            processes.callback(process.terminate)
        eventually(lambda: _listens(port))
        url = f"https://{GATEWAY}:{port}/dir"
        yield url
        print((tmp_path / "log").read_text()[-5000:])


def _names(der: bytes) -> str:
    """The subject alternative names, as openssl writes them."""
    done = subprocess.run(
        ["openssl", "x509", "-inform", "DER", "-noout", "-ext", "subjectAltName", "-issuer"],
        input=der,
        capture_output=True,
        check=True,
    )
    return done.stdout.decode()


def test_a_certificate_is_obtained_and_renewed(stack: Stack, pebble: str, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text(AUTHORITY_PEM)
    (tmp_path / "ca.pem").chmod(0o644)
    tmp_path.chmod(0o755)
    # What only a test needs: trust in the authority of the ACME server itself.
    override = {
        "services": {
            "acme": {
                "environment": {"REQUESTS_CA_BUNDLE": "/ca.pem"},
                "volumes": [f"{tmp_path}/ca.pem:/ca.pem:ro"],
            }
        }
    }
    (stack.folder / "acme-test.json").write_text(json.dumps(override))
    files = ["-f", "docker-compose.yml", "-f", "acme-test.json", "--profile", "acme"]
    settings = {"domain": DOMAIN, "acme_server": pebble}
    before = served_certificate(stack)
    try:
        stack.compose(*files, "up", "-d", "--no-deps", "acme", **settings)
        eventually(lambda: served_certificate(stack) != before, 90)
        first = served_certificate(stack)
        assert f"DNS:{DOMAIN}" in _names(first)
        assert "Pebble" in _names(first)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        answer = httpx.get(stack.url, verify=context)
        assert answer.headers["strict-transport-security"]

        # Asked again, there is nothing to do; forced, the renewed one is served.
        stack.compose(*files, "restart", "acme", **settings)
        eventually(lambda: stack.logs("acme").count("the certificate is valid") == 2, 60)
        assert served_certificate(stack) == first
        renew = "certbot renew --force-renewal --no-random-sleep-on-renew --quiet"
        folders = (
            "--config-dir /var/lib/keraport/acme --work-dir /tmp/certbot --logs-dir /tmp/certbot"
        )
        stack.shell("acme", f"{renew} {folders}")
        eventually(lambda: served_certificate(stack) != first, 30)
        assert f"DNS:{DOMAIN}" in _names(served_certificate(stack))
    except BaseException:
        print(stack.logs("acme"))
        raise
    finally:
        stack.compose(*files, "rm", "--stop", "--force", "acme", **settings)
        (stack.folder / "acme-test.json").unlink()
        stack.shell("nginx", "rm -rf /var/lib/keraport/acme/*")
        withdraw(stack)


def test_without_a_domain_it_says_what_to_set(stack: Stack) -> None:
    try:
        stack.compose("--profile", "acme", "up", "-d", "--no-deps", "acme")
        eventually(lambda: "set KERAPORT_DOMAIN in .env" in stack.logs("acme"))
    finally:
        stack.compose("--profile", "acme", "rm", "--stop", "--force", "acme")
