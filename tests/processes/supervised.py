"""Small programs under a supervisor."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from tests.native import SAYS
from tests.support import ROOT

SERVER = """
from app import logs
from app.server.supervisor_launch import supervised_server
style = logs.Style({level!r}, as_text={as_text}, replica="app-1")
destination = logs.Destination.make()
logs.configure(style, destination=destination)
heartbeat = supervised_server(style, destination, {limit_s}, {drain_s})
import logging
log = logging.getLogger("app.test")
"""


def server(
    level: str = "info", *, as_text: bool = False, limit_s: float = 600, drain_s: float = 600
) -> str:
    """The begin of a program that is a server's. It has no hub that turns, unless it says so."""
    return SERVER.format(level=level, as_text=as_text, limit_s=limit_s, drain_s=drain_s) + SAYS


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120
    )


@contextmanager
def running(program: str, **kwargs: Any) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stderr=subprocess.PIPE, **kwargs
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def lines(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stderr.splitlines()]


def is_in(process: psutil.Process, call: str) -> bool:
    return call in Path(f"/proc/{process.pid}/wchan").read_text()
