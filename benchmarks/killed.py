"""`python -m benchmarks.killed`: a replica of the composed stack is killed under 32 connections;
what is lost, and how soon it is back."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import click
import httpx
import orjson

from benchmarks import cases
from benchmarks.processes import ROOT
from benchmarks.stack import PROJECT, composed, engine_missing

CONNECTIONS = 32
# Seconds: of the load, of which the first ones are before the kill; and that a start may take.
LOAD_S, BEFORE_S, BACK_S = 40, 8, 300
REPLICA, READY = "app-1", "http://172.16.239.10:5000/readyz"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@cases.models_option
@click.option("--rounds", type=click.IntRange(1, 100), default=3, show_default=True)
def main(models: Path, rounds: int) -> None:
    """Kill a replica with SIGKILL, as the kernel does where memory runs out. Needs root."""
    if engine_missing():
        raise click.ClickException("there is no Docker engine with Compose here")
    if os.geteuid() != 0:
        raise click.ClickException("killing a process of a container from outside takes root")
    case = cases.tabular(models)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        folder = Path(name)
        served = folder / "models"
        shutil.copytree(models, served)
        (folder / "body").write_bytes(case.body)
        with composed(served, folder) as url:
            for number in range(1, rounds + 1):
                address = f"{url}{case.model}"
                line = _round(address, case.content_type, folder / "body")
                click.echo(f"round {number}: {line}")


def _round(url: str, content_type: str, body: Path) -> str:
    arguments = [url, content_type, str(body), str(CONNECTIONS), str(LOAD_S)]
    load = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.clients", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
    time.sleep(BEFORE_S)
    os.kill(_process(), signal.SIGKILL)
    seconds = _until_ready()
    printed, _ = load.communicate(timeout=LOAD_S + BACK_S)
    found = orjson.loads(printed)
    statuses = found["statuses"]
    lost = sum(each["per_s"] * LOAD_S for code, each in statuses.items() if code != "200")
    # nginx closes a connection that has had a thousand requests.
    broken = {
        why: n for why, n in found["broken"].items() if why not in ("told to close", "closed")
    }
    answered = statuses["200"]["per_s"] * LOAD_S
    back = f"{REPLICA} ready after {seconds:.1f} s"
    ended = sum(broken.values())
    return f"{back}, {answered:.0f} answers, {lost:.0f} of another status, {ended} broken off"


def _container() -> str:
    label = f"label=com.docker.compose.project={PROJECT}"
    service = f"label=com.docker.compose.service={REPLICA}"
    return _docker("ps", "--all", "--quiet", "--filter", label, "--filter", service).strip()


def _process() -> int:
    return int(json.loads(_docker("inspect", _container()))[0]["State"]["Pid"])


def _until_ready() -> float:
    """Seconds until the engine has started the container again and it is ready. Asked from outside:
    a process in the container would take part of its time."""
    start = time.monotonic()
    while time.monotonic() - start < BACK_S:
        time.sleep(0.1)
        with suppress(httpx.HTTPError):
            if httpx.get(READY, timeout=1).is_success:
                return time.monotonic() - start
    raise click.ClickException(f"{REPLICA} was not ready within {BACK_S} s")


def _docker(*arguments: str) -> str:
    return subprocess.run(
        ["docker", *arguments], check=True, capture_output=True, text=True, timeout=60
    ).stdout


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.killed")
