"""Load by `wrk`, which costs less of the two cores than any client in Python."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import click
import orjson

from benchmarks.cases import Case

CONNECTIONS = 32
# Seconds that wrk gets beyond its duration before it counts as stuck.
GRACE_S = 30

# wrk formats such a request once and sends the same bytes again and again.
SCRIPT = """
local file = assert(io.open("{body}", "rb"))
wrk.method = "POST"
wrk.body = file:read("*a")
wrk.headers["Content-Type"] = "{content_type}"
file:close()

function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '\\n{{"requests": %d, "seconds": %f, "p50_ms": %f, "p99_ms": %f,' ..
    ' "refused": %d, "broken": %d}}\\n',
    summary.requests, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    e.status, e.connect + e.read + e.write + e.timeout))
end
"""


@dataclass(frozen=True)
class Sample:
    """One round against one server. Latencies are None for the ceiling, which has no requests."""

    rate: float
    p50_ms: float | None = None
    p99_ms: float | None = None


def require_wrk() -> None:
    """Raises ClickException where wrk is missing."""
    if shutil.which("wrk") is None:
        raise click.ClickException("wrk is not installed: apt-get install wrk")


class Load:
    """One case against one URL, its script and body in `folder`."""

    def __init__(self, case: Case, url: str, folder: Path, connections: int = CONNECTIONS) -> None:
        self._url = url
        self._connections = connections
        self._worth = case.worth
        body = folder / f"{case.name}.body"
        body.write_bytes(case.body)
        self._script = folder / f"{case.name}.lua"
        self._script.write_text(SCRIPT.format(body=body, content_type=case.content_type))

    def run(self, seconds: int) -> Sample:
        """Raises ClickException for any answer that is not a success."""
        arguments = ["--threads", "1", "--connections", str(self._connections), "--timeout", "10s"]
        done = subprocess.run(
            ["wrk", *arguments, "--duration", f"{seconds}s", "--script", self._script, self._url],
            capture_output=True,
            text=True,
            timeout=seconds + GRACE_S,
        )
        last = (done.stdout.strip().splitlines() or [""])[-1]
        if done.returncode or not last.startswith("{"):
            raise click.ClickException(f"wrk failed on {self._url}: {done.stderr or done.stdout}")
        got = orjson.loads(last)
        if got["refused"] or got["broken"]:
            raise click.ClickException(
                f"{self._url}: of {got['requests']} requests {got['refused']} were refused and "
                f"{got['broken']} broke off: nothing is measured by that"
            )
        return Sample(self._worth * got["requests"] / got["seconds"], got["p50_ms"], got["p99_ms"])
