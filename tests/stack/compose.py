"""The stack of docker-compose.yml, started for tests from a copy of the repository."""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from tests import support
from tests.support import ROOT

NGINX, APP_1, APP_2 = "172.16.239.5", "172.16.239.10", "172.16.239.11"
START_TIMEOUT_S = 600
SELF_SIGNED = "/var/lib/keraport/self-signed/fullchain.pem"


def run(*command: str | Path, timeout: float = 120, **kwargs: Any) -> str:
    """stdout of a command that must succeed."""
    done: subprocess.CompletedProcess[str] = subprocess.run(
        [str(c) for c in command], capture_output=True, text=True, timeout=timeout, **kwargs
    )
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def no_engine() -> str | None:
    """Why the stack cannot be tested here, if it cannot."""
    for command in (["docker", "info"], ["docker", "compose", "version"]):
        try:
            done = subprocess.run(command, capture_output=True, timeout=60)
        except (OSError, subprocess.TimeoutExpired):
            return "there is no Docker engine here"
        if done.returncode:
            return f"there is no Docker engine here ({' '.join(command)} fails)"
    return None


def copy_of_the_repository(folder: Path) -> Path:
    """What a fresh clone would have, changes that are not committed yet included."""
    names = run("git", "ls-files", "-co", "--exclude-standard", "-z", cwd=ROOT).split("\0")
    for name in filter(None, names):
        if (source := ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, folder / name)
    return folder


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


# Each look may start a process of Docker's.
eventually = partial(support.eventually, every=0.3)


class Stack:
    """One project of docker compose, on high ports."""

    hosts = ("localhost",)

    def __init__(self, folder: Path, project: str, **settings: object) -> None:
        self.folder = folder
        self.project = project
        self.http_port, self.https_port = free_ports(2)
        self.environ = {k: v for k, v in os.environ.items() if not k.startswith("KERAPORT_")}
        self.environ |= {
            "COMPOSE_PROJECT_NAME": project,
            "KERAPORT_HTTP_PORT": str(self.http_port),
            "KERAPORT_HTTPS_PORT": str(self.https_port),
        }
        self.environ |= {f"KERAPORT_{k.upper()}": str(v) for k, v in settings.items()}
        self.url = f"https://localhost:{self.https_port}"

    def compose(self, *arguments: str, **settings: object) -> str:
        """stdout of `docker compose …`, with settings of its own."""
        environ = self.environ | {f"KERAPORT_{k.upper()}": str(v) for k, v in settings.items()}
        command = ("docker", "compose", *arguments)
        return run(*command, cwd=self.folder, env=environ, timeout=START_TIMEOUT_S)

    def make(self, target: str) -> str:
        """`make TARGET` of the copy."""
        return run("make", target, cwd=self.folder, env=self.environ, timeout=START_TIMEOUT_S)

    def up(self) -> None:
        self.compose("up", "-d", "--wait")

    def down(self) -> None:
        self.compose("--profile", "*", "down", "--volumes", "--remove-orphans", "--rmi", "local")

    def logs(self, service: str) -> str:
        return self.compose("--profile", "*", "logs", "--no-color", "--no-log-prefix", service)

    def container(self, service: str) -> str:
        return self.compose("--profile", "*", "ps", "--all", "--quiet", service).strip()

    def inspect(self, service: str) -> dict[str, Any]:
        found: list[dict[str, Any]] = json.loads(run("docker", "inspect", self.container(service)))
        return found[0]

    def health(self, service: str) -> str:
        return str(self.inspect(service)["State"].get("Health", {}).get("Status"))

    def exec(self, service: str, *command: str) -> str:
        return run("docker", "exec", self.container(service), *command)

    def shell(self, service: str, script: str) -> str:
        return self.exec(service, "sh", "-c", script)

    def trust(self) -> ssl.SSLContext:
        """Takes the certificate that the stack made for itself, and no other."""
        return trusting(self.exec("nginx", "cat", SELF_SIGNED))

    def client(self, *, http2: bool = True) -> httpx.Client:
        """As a browser: verified TLS, HTTP/2 unless told otherwise."""
        return httpx.Client(base_url=self.url, verify=self.trust(), http2=http2, timeout=60)

    def access_log(self) -> list[dict[str, Any]]:
        """nginx's lines of requests."""
        lines = self.logs("nginx").splitlines()
        return [json.loads(line) for line in lines if line.startswith('{"time"')]

    def app_lines(self, **fields: Any) -> list[dict[str, Any]]:
        """The applications' lines of requests in which these fields have these values."""
        lines = (self.logs("app-1") + self.logs("app-2")).splitlines()
        found = [json.loads(line) for line in lines]
        return [line for line in found if {"event": "request", **fields}.items() <= line.items()]


def replicas_with(model: str, client: httpx.Client) -> int:
    """How many replicas answer for a model: each of them finds it by itself."""
    replicas = client.get("/api/status").json()["replicas"]
    models = [about for replica in replicas for about in replica.get("models", ())]
    return sum((about["name"], about["state"]) == (model, "ready") for about in models)


def trusting(pem: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=pem)
    return context
