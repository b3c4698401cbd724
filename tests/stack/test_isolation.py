"""Which addresses can be reached from where, and what containers may do."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest

from tests.stack.compose import APP_1, APP_2, NGINX, Stack, run

SERVICES = ("nginx", "app-1", "app-2")
# Runs anywhere with Python: exits 0 if a connection opens within two seconds.
PROBE = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 2)"


def test_only_nginx_publishes_ports(stack: Stack) -> None:
    published = {s: stack.inspect(s)["HostConfig"]["PortBindings"] or {} for s in SERVICES}
    assert published["app-1"] == published["app-2"] == {}
    assert set(published["nginx"]) == {"8080/tcp", "8443/tcp"}


def test_addresses_are_fixed(stack: Stack) -> None:
    for service, address in zip(SERVICES, (NGINX, APP_1, APP_2), strict=True):
        (network,) = stack.inspect(service)["NetworkSettings"]["Networks"].values()
        assert network["IPAddress"] == address


@pytest.mark.parametrize("address", [APP_1, APP_2])
def test_other_containers_cannot_reach_the_apps(stack: Stack, address: str) -> None:
    image = stack.inspect("app-1")["Image"]
    probe = ["docker", "run", "--rm", "--network", "bridge", "--add-host", "server:host-gateway"]
    probe += [image, "python", "-c", PROBE]
    assert subprocess.run([*probe, "server", str(stack.https_port)]).returncode == 0
    for port in ("5000", "8500"):
        assert subprocess.run([*probe, address, port], stderr=subprocess.DEVNULL).returncode != 0


@pytest.fixture
def neighbour() -> Iterator[list[str]]:
    """A machine beside this one, which sends everything through it: a network namespace."""
    if os.geteuid() != 0:
        pytest.skip("a network namespace takes root")
    name, here, there = "keraport-nb", "kp-here", "kp-there"
    inside = ["ip", "netns", "exec", name]
    run("ip", "netns", "add", name)
    try:
        run("ip", "link", "add", here, "type", "veth", "peer", "name", there, "netns", name)
        run("ip", "address", "add", "198.51.100.1/30", "dev", here)
        run("ip", "link", "set", here, "up")
        run(*inside, "ip", "address", "add", "198.51.100.2/30", "dev", there)
        run(*inside, "ip", "link", "set", there, "up")
        run(*inside, "ip", "route", "add", "default", "via", "198.51.100.1")
        yield inside
    finally:
        subprocess.run(["ip", "link", "delete", here], capture_output=True)
        run("ip", "netns", "delete", name)


def test_machines_beside_the_server_cannot_reach_the_apps(
    stack: Stack, neighbour: list[str]
) -> None:
    """Even one that knows their addresses and routes to them through the server."""
    probe = [*neighbour, "python3", "-c", PROBE]
    assert subprocess.run([*probe, "198.51.100.1", str(stack.https_port)]).returncode == 0
    for address in (APP_1, APP_2):
        done = subprocess.run([*probe, address, "5000"], stderr=subprocess.DEVNULL)
        assert done.returncode != 0


@pytest.mark.parametrize("service", SERVICES)
def test_processes_have_no_privileges(stack: Stack, service: str) -> None:
    script = "for f in /proc/[0-9]*/status; do cat $f 2>/dev/null; done"
    status = stack.shell(service, script)
    fields = [line.split(":\t", 1) for line in status.splitlines() if ":\t" in line]
    uids = {uid for name, value in fields if name == "Uid" for uid in value.split()}
    assert uids == {"101" if service == "nginx" else "10001"}
    gids = {gid for name, value in fields if name == "Gid" for gid in value.split()}
    assert "0" not in gids
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert {int(value, 16) for n, value in fields if n == name} == {0}, name
    assert {value for name, value in fields if name == "NoNewPrivs"} == {"1"}


@pytest.mark.parametrize("service", SERVICES)
def test_roots_are_read_only(stack: Stack, service: str) -> None:
    script = (
        "for d in / /etc /usr/bin /srv /var /opt; do touch $d/x 2>&1 && echo WRITTEN; done; true"
    )
    assert "WRITTEN" not in stack.shell(service, script)
    config = stack.inspect(service)["HostConfig"]
    assert config["ReadonlyRootfs"] is True
    assert config["Privileged"] is False
    assert "WRITTEN" in stack.shell(service, "touch /tmp/x && echo WRITTEN; rm /tmp/x")


@pytest.mark.parametrize("service", ["app-1", "app-2"])
def test_models_are_read_only_and_uploads_are_memory(stack: Stack, service: str) -> None:
    done = stack.shell(service, "touch models/x 2>&1 || true; touch uploads/x && rm uploads/x")
    assert "Read-only file system" in done
    mounts = stack.shell(service, "cat /proc/mounts")
    kinds = {line.split()[1]: line.split()[2] for line in mounts.splitlines()}
    assert kinds["/srv/keraport/uploads"] == kinds["/tmp"] == "tmpfs"


@pytest.mark.parametrize("service", SERVICES)
def test_containers_are_bounded(stack: Stack, service: str) -> None:
    config = stack.inspect(service)["HostConfig"]
    assert config["Memory"] > 0
    assert config["PidsLimit"] > 0
    assert set(config["LogConfig"]["Config"]) == {"max-size", "max-file"}
    assert config["RestartPolicy"]["Name"] == "always"
