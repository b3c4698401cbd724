"""Load by `wrk`, which costs less of the two cores than any client in Python."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import click
import orjson

from benchmarks.cases import Case

CONNECTIONS = 32
# Seconds that a request may take before wrk counts it as lost.
TIMEOUT_S = 10
# Seconds that wrk gets beyond its duration before it counts as stuck.
GRACE_S = 30

# wrk formats such a request once and sends the same bytes again and again.
SCRIPT = """
local file = assert(io.open("{body}", "rb"))
wrk.method = "POST"
wrk.body = file:read("*a")
{headers}
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


@dataclass(frozen=True)
class Request:
    """What every connection sends again and again."""

    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Answers:
    """What wrk has counted. requests: answered ones, of which `refused` with a status of an error;
    broken: those that were lost. Latencies are those of all answers."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    refused: int
    broken: int


def fire(
    url: str,
    request: Request,
    folder: Path,
    connections: int,
    seconds: float,
    timeout_s: int = TIMEOUT_S,
) -> Answers:
    """Keep `connections` busy for `seconds`. The request and the script of wrk are written into
    `folder`. Raises ClickException where wrk fails."""
    body, script = folder / "wrk.body", folder / "wrk.lua"
    body.write_bytes(request.body)
    headers = [f'wrk.headers["{name}"] = "{value}"' for name, value in request.headers.items()]
    script.write_text(SCRIPT.format(body=body, headers="\n".join(headers)))
    arguments = ["--threads", "1", "--connections", str(connections)]
    arguments += ["--timeout", f"{timeout_s}s", "--duration", f"{round(seconds)}s"]
    done = subprocess.run(
        ["wrk", *arguments, "--script", script, url],
        capture_output=True,
        text=True,
        timeout=seconds + GRACE_S,
    )
    last = (done.stdout.strip().splitlines() or [""])[-1]
    if done.returncode or not last.startswith("{"):
        raise click.ClickException(f"wrk failed on {url}: {done.stderr or done.stdout}")
    return Answers(**orjson.loads(last))


class Load:
    """One case against one URL, its script and body in `folder`."""

    def __init__(self, case: Case, url: str, folder: Path, connections: int = CONNECTIONS) -> None:
        self._url = url
        self._connections = connections
        self._worth = case.worth
        self._folder = folder
        headers = {"Content-Type": case.content_type, **case.headers}
        self._request = Request(headers, case.body)

    def run(self, seconds: int) -> Sample:
        """Raises ClickException for any answer that is not a success."""
        got = fire(self._url, self._request, self._folder, self._connections, seconds)
        if got.refused or got.broken:
            raise click.ClickException(
                f"{self._url}: of {got.requests} requests {got.refused} were refused and "
                f"{got.broken} broke off: nothing is measured by that"
            )
        return Sample(self._worth * got.requests / got.seconds, got.p50_ms, got.p99_ms)
