"""The composed stack, as far as a Docker engine is there: two applications behind nginx."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import orjson

from benchmarks.processes import ROOT, free_port

PROJECT = "keraport-bench"
UP_TIMEOUT_S = 900
UNLIMITED = "1000000"


def engine_missing() -> bool:
    """Whether there is no Docker engine with Compose here."""
    for command in (["docker", "info"], ["docker", "compose", "version"]):
        try:
            if subprocess.run(command, capture_output=True, timeout=60).returncode:
                return True
        except (OSError, subprocess.TimeoutExpired):
            return True
    return False


@contextmanager
def composed(models: Path, folder: Path) -> Iterator[str]:
    """`docker compose up` over `models`, without limits of requests; yields its HTTPS URL without
    the name of a model. Raises ClickException when it does not start."""
    port = free_port()
    mounted = {"volumes": [f"{models}:/srv/keraport/models:ro"]}
    override = folder / "compose.json"
    override.write_bytes(orjson.dumps({"services": {"app-1": mounted, "app-2": mounted}}))
    clean = {k: v for k, v in os.environ.items() if not k.startswith("KERAPORT_")}
    environment = clean | {
        "KERAPORT_HTTP_PORT": str(free_port()),
        "KERAPORT_HTTPS_PORT": str(port),
        "KERAPORT_RATE_LIMIT": UNLIMITED,
        "KERAPORT_CONNECTION_LIMIT": "10000",
    }

    def compose(*arguments: str) -> None:
        files = ["-f", str(ROOT / "docker-compose.yml"), "-f", str(override)]
        done = subprocess.run(
            ["docker", "compose", "-p", PROJECT, *files, *arguments],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=UP_TIMEOUT_S,
        )
        if done.returncode:
            raise click.ClickException(f"docker compose {arguments[0]}: {done.stderr[-2000:]}")

    try:
        compose("up", "-d", "--wait", "--build")
        yield f"https://localhost:{port}/api/"
    finally:
        compose("down", "--volumes", "--rmi", "local")
