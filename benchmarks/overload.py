"""`python -m benchmarks.overload`: how many requests are answered when ten times as many clients
ask as it takes to keep the server busy, and how soon the others know."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import click
import httpx
import orjson
import psutil
from rich.console import Console
from rich.table import Table

from benchmarks import cases
from benchmarks.processes import ROOT, free_port, running, wait_until_ready

CAPACITY, OVERLOAD = 32, 320
# How often memory is looked at, and how long a sample may take beyond its seconds.
LOOK_S = 0.1
GRACE_S = 60


@dataclass(frozen=True)
class Sample:
    """good, refused: answers a second, with their times at the median and at 99 % in milliseconds.
    other: a second, of any other status; broken: connections that were closed. memory_mb: the
    largest resident memory of the server."""

    good: float
    good_ms: tuple[float, float]
    refused: float
    refused_ms: tuple[float, float]
    other: float
    broken: int
    memory_mb: float


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@cases.models_option
@click.option("--url", help="Measure a server that runs, with these models; default: start one.")
@click.option("--seconds", type=click.IntRange(1, 60), default=3, show_default=True, help="Each.")
@click.option("--rounds", type=click.IntRange(1, 100), default=5, show_default=True)
@click.option("--only", type=click.Choice(["tabular", "CNN"]), help="One case alone.")
@click.option(
    "--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Save every round."
)
def main(
    models: Path,
    url: str | None,
    seconds: int,
    rounds: int,
    only: str | None,
    json_file: Path | None,
) -> None:
    """Measure goodput under ten times the load that takes the capacity, in turns."""
    asked = [c for c in (cases.tabular(models), cases.cnn(models)) if only in (None, c.name)]
    keys = [(case, count) for case in asked for count in (CAPACITY, OVERLOAD)]
    samples: dict[tuple[str, int], list[Sample]] = {(c.name, n): [] for c, n in keys}
    with tempfile.TemporaryDirectory(prefix="overload-") as name:
        folder = Path(name)
        with _server(models, folder, url) as (address, process):
            for case in asked:
                _sample(case, address, process, folder, CAPACITY, 1)
            for _ in range(rounds):
                for case, count in keys:
                    sample = _sample(case, address, process, folder, count, seconds)
                    samples[case.name, count].append(sample)
    _show(samples)
    if json_file is not None:
        saved = {f"{case} {count}": each for (case, count), each in samples.items()}
        json_file.write_bytes(orjson.dumps(saved, option=orjson.OPT_INDENT_2))


@contextmanager
def _server(
    models: Path, folder: Path, url: str | None
) -> Iterator[tuple[str, psutil.Process | None]]:
    if url is not None:
        yield url.rstrip("/") + "/api/", None
        return
    served = folder / "models"
    for model in (cases.TABULAR, cases.CNN):
        shutil.copytree(models / model, served / model)
    address = f"http://127.0.0.1:{(port := free_port())}"
    environment = {
        "KERAPORT_PORT": str(port),
        "KERAPORT_MODELS_DIR": str(served),
        "KERAPORT_UPLOADS_DIR": str(folder),
        "KERAPORT_DRAIN_DELAY_S": "0",
    }
    log = folder / "log"
    with running(["-m", "app", "serve"], log, environment) as process:
        wait_until_ready(process, f"{address}/readyz", log)
        # The process that was started is the supervisor of the server.
        (server,) = psutil.Process(process.pid).children()
        yield f"{address}/api/", server


def _sample(
    case: cases.Case,
    address: str,
    process: psutil.Process | None,
    folder: Path,
    connections: int,
    seconds: int,
) -> Sample:
    body = folder / f"{case.name}.body"
    body.write_bytes(case.body)
    arguments = [address + case.model, case.content_type, str(body), str(connections), str(seconds)]
    most = 0
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.clients", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as clients:
        for _ in range(int((seconds + GRACE_S) / LOOK_S)):
            if process is not None:
                most = max(most, process.memory_info().rss)
            try:
                printed, _ = clients.communicate(timeout=LOOK_S)
                break
            except subprocess.TimeoutExpired:
                continue
        else:
            clients.kill()
            raise click.ClickException("the clients do not end")
    if clients.returncode:
        raise click.ClickException("the clients have failed")
    _await_idle(address + case.model, case)
    got = orjson.loads(printed)
    none = {"per_s": 0.0, "p50_ms": 0.0, "p99_ms": 0.0}
    statuses = got["statuses"]
    good, refused = statuses.pop("200", none), statuses.pop("503", none)
    return Sample(
        good["per_s"],
        (good["p50_ms"], good["p99_ms"]),
        refused["per_s"],
        (refused["p50_ms"], refused["p99_ms"]),
        sum(each["per_s"] for each in statuses.values()),
        sum(got["broken"].values()),
        most / 1e6,
    )


def _await_idle(url: str, case: cases.Case) -> None:
    """What is still in the queue must not count in the next sample."""
    headers = {"Content-Type": case.content_type}
    for _ in range(100):
        answer = httpx.post(url, content=case.body, headers=headers, timeout=60, verify=False)
        if answer.status_code == 200:
            return
    raise click.ClickException(f"{url} does not become idle")


def _show(samples: dict[tuple[str, int], list[Sample]]) -> None:
    table = Table("", "clients", "good/s", "ms p50, p99", "503/s", "ms p50, p99", "other", "MB")
    console = Console(width=160)
    for (case, count), rounds in samples.items():
        table.add_row(
            case,
            str(count),
            _spread([s.good for s in rounds], 0),
            ", ".join(f"{median(s.good_ms[i] for s in rounds):.0f}" for i in (0, 1)),
            _spread([s.refused for s in rounds], 0),
            ", ".join(f"{median(s.refused_ms[i] for s in rounds):.0f}" for i in (0, 1)),
            f"{sum(s.other for s in rounds):.0f}, {sum(s.broken for s in rounds)} broken",
            f"{max(s.memory_mb for s in rounds):.0f}",
        )
    console.print(table)
    for case in dict.fromkeys(case for case, _ in samples):
        pairs = zip(samples[case, OVERLOAD], samples[case, CAPACITY], strict=True)
        ratios = [over.good / alone.good for over, alone in pairs if alone.good]
        console.print(f"{case}: goodput {_spread(ratios, 2)} of the capacity (target 0.90)")


def _spread(values: list[float], digits: int) -> str:
    return f"{median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.overload")
