"""`python -m benchmarks.burst`: a burst of ten times the usual requests, and an autoscaler.

Without options, the simulation alone: what each threshold and start time costs. With `--measure`,
a real burst too: replicas of a part of a core in containers, which are started as the same
autoscaler wants, behind nginx, which finds them by DNS.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click
import httpx

from benchmarks import cases
from benchmarks.autoscaling import Autoscaler, Outcome, Rule, Service, arrivals, simulate
from benchmarks.processes import ROOT
from benchmarks.stack import engine_missing

NAME = "keraport-burst"
# Of a core, for each replica: four of them, nginx and the clients fit into two cores.
CPUS = 0.2
MEASURED_RULE = Rule(queue=32, least=1, most=4, cool_down_s=300)
# Seconds: before, during and after the burst.
PHASES = (20.0, 60.0, 20.0)
SATURATED_S = 20
START_TIMEOUT_S = 300


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@cases.models_option
@click.option("--measure", is_flag=True, help="Compare with a real burst; needs Docker.")
def main(models: Path, *, measure: bool) -> None:
    """Tell what a burst costs, by thresholds and start times."""
    _table()
    if measure:
        if engine_missing():
            raise click.ClickException("there is no Docker engine here")
        with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
            _compare(models, Path(folder))


def _table() -> None:
    """A replica answers 20 requests a second. For a minute as many come, which is half of what two
    replicas do; for two minutes ten times as many; then as before."""
    times = arrivals([(60, 20), (120, 200), (600, 20)])
    click.echo("queue  start  replicas  cool-down   503s     p99  at most  replica hours")
    rules = [(queue, start_s, 2, 300) for queue in (8, 32, 128) for start_s in (5, 15, 60)]
    rules += [(32, 15, least, 300) for least in (4, 8)]
    rules += [(32, 15, 2, cool_down_s) for cool_down_s in (60, 900)]
    for queue, start_s, least, cool_down_s in rules:
        rule = Rule(queue, least, 20, cool_down_s=cool_down_s)
        outcome = simulate(Service(0.05, start_s), rule, times)
        click.echo(
            f"{queue:5d}  {start_s:3d} s  {least:8d}  {cool_down_s:7d} s"
            f"  {outcome.refused_share:5.1%}  {outcome.percentile(0.99):4.1f} s"
            f"  {outcome.most_replicas:7d}  {outcome.replica_s / 3600:.2f}"
        )


def _compare(models: Path, folder: Path) -> None:
    case = cases.cnn(models)
    with _containers(models) as fleet:
        service = Service(fleet.saturate(case), fleet.start_s)
        click.echo(
            f"measured: {service.seconds * 1000:.1f} ms for each prediction, "
            f"{service.start_s:.1f} s for a start"
        )
        usual = 0.4 / service.seconds
        before, during, after = PHASES
        times = arrivals([(before, usual), (during, 10 * usual), (after, usual)])
        real = asyncio.run(_Burst(fleet, case).run(times))
    simulated = simulate(service, MEASURED_RULE, times)
    for name, outcome in (("real", real), ("simulated", simulated)):
        click.echo(
            f"{name}: {outcome.sent} sent, {outcome.refused} got 503 "
            f"({outcome.refused_share:.1%}), p99 {outcome.percentile(0.99):.1f} s, "
            f"{outcome.most_replicas} replicas"
        )
    click.echo(f"503s, simulated to real: {simulated.refused / max(1, real.refused):.2f}")


def _docker(*arguments: str, timeout: float = 900) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=timeout)
    if done.returncode:
        raise click.ClickException(f"docker {arguments[0]}: {done.stderr.strip()}")
    return done.stdout.strip()


class _Containers:
    """nginx, and replicas that it knows of once they are ready."""

    def __init__(self, models: Path) -> None:
        self._models = models
        self._number = 0
        self.start_s = 0.0
        self.ready: dict[str, str] = {}  # the name and the address
        self.url = ""
        self._client = httpx.Client(timeout=5)

    def close(self) -> None:
        self._client.close()

    def nginx(self) -> None:
        settings = {
            "UPSTREAM": "app:5000",
            "RATE_LIMIT": "100000",
            "CONNECTION_LIMIT": "10000",
        }
        _docker(
            *("run", "--detach", "--name", f"{NAME}-nginx", "--network", NAME),
            *("--tmpfs", "/tmp:mode=1777"),
            *(f"--env=KERAPORT_{name}={value}" for name, value in settings.items()),
            f"{NAME}-nginx",
        )
        self.url = f"https://{_address(f'{NAME}-nginx', NAME)}:8443"

    def start(self) -> None:
        """Start a replica, and return once nginx may send it requests. From any thread."""
        self._number += 1
        name, began = f"{NAME}-app-{self._number}", time.monotonic()
        _docker(
            *("run", "--detach", "--name", name, "--cpus", str(CPUS), "--memory", "2g"),
            *("--tmpfs", "/tmp:mode=1777", "--tmpfs", "/srv/keraport/uploads:mode=1777"),
            *("--volume", f"{self._models}:/srv/keraport/models:ro"),
            *("--volume", f"{NAME}:/srv/keraport/cache"),
            *("--env", "KERAPORT_CACHE_DIR=/srv/keraport/cache", f"{NAME}-app"),
        )
        outside = f"http://{_address(name, 'bridge')}:5000"
        until = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < until:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{outside}/readyz", timeout=2).status_code == 200:
                    break
            time.sleep(0.2)
        _docker("network", "connect", "--alias", "app", NAME, name)
        self.start_s = time.monotonic() - began
        self.ready[name] = outside

    def depth(self) -> int:
        """The depth of all queues together."""
        found = 0.0
        for address in list(self.ready.values()):
            text = self._client.get(f"{address}/metrics").text
            depths = [
                line for line in text.splitlines() if line.startswith("keraport_queue_depth{")
            ]
            found += sum(float(line.rpartition(" ")[2]) for line in depths)
        return int(found)

    def saturate(self, case: cases.Case) -> float:
        """Return the seconds of a prediction at full load."""

        path = f"/api/{case.model}"

        async def ask(client: httpx.AsyncClient, until: float) -> int:
            count = 0
            while time.monotonic() < until:
                answer = await client.post(path, content=case.body, headers=_kind(case))
                count += answer.status_code == 200
            return count

        async def all_together() -> float:
            async with _client(self.url) as client:
                await asyncio.gather(*(ask(client, time.monotonic() + 5) for _ in range(64)))
                until = time.monotonic() + SATURATED_S
                began = time.monotonic()
                counts = await asyncio.gather(*(ask(client, until) for _ in range(64)))
                return (time.monotonic() - began) / sum(counts)

        return asyncio.run(all_together())


@contextlib.contextmanager
def _containers(models: Path) -> Iterator[_Containers]:
    _docker("build", "--quiet", "--tag", f"{NAME}-app", str(ROOT))
    _docker("build", "--quiet", "--tag", f"{NAME}-nginx", str(ROOT / "nginx"))
    _docker("network", "create", NAME)
    fleet = _Containers(models)
    try:
        fleet.nginx()
        fleet.start()  # fills the cache of converted models
        first = next(iter(fleet.ready))
        _docker("rm", "--force", first)
        fleet.ready.clear()
        fleet.start()
        yield fleet
    finally:
        fleet.close()
        names = _docker("ps", "--all", "--format", "{{.Names}}", "--filter", f"name=^{NAME}-")
        for name in names.splitlines():
            _docker("rm", "--force", "--volumes", name)
        _docker("network", "rm", NAME)
        _docker("volume", "rm", "--force", NAME)
        _docker("image", "rm", f"{NAME}-app", f"{NAME}-nginx")


def _address(name: str, network: str) -> str:
    form = f'{{{{(index .NetworkSettings.Networks "{network}").IPAddress}}}}'
    return _docker("inspect", "--format", form, name)


def _kind(case: cases.Case) -> dict[str, str]:
    return {"Content-Type": case.content_type}


def _client(url: str) -> httpx.AsyncClient:
    # nginx has made the certificate itself.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=200)
    return httpx.AsyncClient(base_url=url, verify=context, timeout=60, limits=limits)


class _Burst:
    """Requests at given times, however many wait, and the autoscaler beside them."""

    def __init__(self, fleet: _Containers, case: cases.Case) -> None:
        self._fleet = fleet
        self._case = case
        self._outcome = Outcome()
        self._pool = ThreadPoolExecutor(8)
        self._starts: list[Future[Any]] = []

    async def run(self, times: list[float]) -> Outcome:
        """Send requests at these times, in seconds."""
        async with _client(self._fleet.url) as client:
            scaling = asyncio.create_task(self._scale())
            began, asking = time.monotonic(), []
            for at in times:
                await asyncio.sleep(max(0.0, began + at - time.monotonic()))
                asking.append(asyncio.create_task(self._ask(client)))
            await asyncio.gather(*asking)
            scaling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await scaling
        self._pool.shutdown()
        return self._outcome

    async def _ask(self, client: httpx.AsyncClient) -> None:
        self._outcome.sent += 1
        began = time.monotonic()
        answer = await client.post(
            f"/api/{self._case.model}", content=self._case.body, headers=_kind(self._case)
        )
        if answer.status_code == 200:
            self._outcome.seconds.append(time.monotonic() - began)
        else:
            self._outcome.refused += 1

    async def _scale(self) -> None:
        autoscaler, loop = Autoscaler(MEASURED_RULE), asyncio.get_running_loop()
        acted = time.monotonic()
        while True:
            await asyncio.sleep(1.0)
            autoscaler.see(
                time.monotonic(), await loop.run_in_executor(self._pool, self._fleet.depth)
            )
            if time.monotonic() - acted >= MEASURED_RULE.every_s:
                acted = time.monotonic()
                starting = sum(not start.done() for start in self._starts)
                ready = len(self._fleet.ready)
                target = autoscaler.target(acted, ready, starting)
                for _ in range(ready + starting, target):
                    self._starts.append(self._pool.submit(self._fleet.start))
                self._outcome.most_replicas = max(self._outcome.most_replicas, target)


if __name__ == "__main__":
    main()
