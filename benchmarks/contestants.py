"""Those that are measured, each behind the same call: seconds in, sample out."""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import Popen
from typing import Any

import click
import httpx

from benchmarks.cases import Case
from benchmarks.load import CONNECTIONS, Load, Sample
from benchmarks.processes import (
    START_TIMEOUT_S,
    failed,
    free_port,
    running,
    wait_until_ready,
)
from benchmarks.tensors import MAX_BODY_MB

PEER_THREADS = 8
PEER_APP = "benchmarks.peers.servers.flask_app:app"
# Of the environment that `make bench PEERS=1` makes.
PEERS_PYTHON = Path(".venv-peers/bin/python")
TRITON_SERVER = "benchmarks.peers.servers.triton_server"
Measure = Callable[[int], Sample]


class Script:
    """A script of ours that measures itself. rate: answers per second, over about the seconds it
    is given."""

    def __init__(self, name: str, process: Popen[str], log: Path) -> None:
        self.pid = process.pid
        self._name, self._log = name, log
        assert process.stdin is not None
        assert process.stdout is not None
        self._questions, self._answers = process.stdin, process.stdout
        self._line(START_TIMEOUT_S)

    def rate(self, seconds: float) -> float:
        """Raises ClickException where the script has failed."""
        print(seconds, file=self._questions, flush=True)
        return float(self._line(seconds + START_TIMEOUT_S))

    def _line(self, timeout: float) -> str:
        readable, _, _ = select.select([self._answers], [], [], timeout)
        answer = self._answers.readline() if readable else ""
        if not answer:
            raise failed(self._name, self._log)
        return answer


@contextmanager
def script(module: str, model: Path, folder: Path, *more: str) -> Iterator[Script]:
    """A script on the model in the folder `model`: `ceiling`, our decoder and session without
    HTTP, `batch`, our session alone, `request`, a whole request without HTTP, or `predict_loop`,
    the ordinary way to write text. more: further arguments."""
    log = folder / f"{module}.log"
    with running(["-m", f"benchmarks.{module}", str(model), *more], log) as process:
        yield Script(module, process, log)


@contextmanager
def alone(module: str, model: Path, folder: Path, *more: str) -> Iterator[Measure]:
    """The measurement of a script."""
    with script(module, model, folder, *more) as running_script:
        yield lambda seconds: Sample(running_script.rate(seconds))


@contextmanager
def ours(models: Path, folder: Path) -> Iterator[str]:
    """Keraport over `models`, ready; yields its URL without the name of a model."""
    port = free_port()
    with _serving(models, folder, port, "ours"):
        yield f"http://127.0.0.1:{port}/api/"


@contextmanager
def two_processes(models: Path, folder: Path) -> Iterator[str]:
    """Keraport with two workers; yields its URL without the name of a model."""
    port = free_port()
    with _serving(models, folder, port, "workers", KERAPORT_WORKERS="2"):
        wait_until_all_ready(f"http://127.0.0.1:{port}", 2)
        yield f"http://127.0.0.1:{port}/api/"


def wait_until_all_ready(url: str, workers: int) -> None:
    """Wait until all workers of a server are ready. url: of the server."""
    until = time.monotonic() + START_TIMEOUT_S
    ready = 0
    while ready < workers:
        if time.monotonic() > until:
            raise click.ClickException(f"{url} does not become ready")
        time.sleep(0.1)
        with suppress(httpx.HTTPError):
            replicas = httpx.get(f"{url}/api/status", timeout=5).json()["replicas"]
            ready = sum(each.get("state") == "ready" for each in replicas)


def make_model(architecture: str, task: str, model: Path, folder: Path) -> None:
    """Save a model with random weights, in a process of its own: this one needs no TensorFlow."""
    log = folder / f"{architecture}.log"
    with running(["-m", "benchmarks.applications", architecture, task, str(model)], log) as process:
        if process.wait(START_TIMEOUT_S):
            raise failed(architecture, log)


def make_sound(model: Path, folder: Path) -> None:
    """Save a model of spoken words with random weights, and a recording; as `make_model` does."""
    log = folder / "sound.log"
    with running(["-m", "benchmarks.sound", str(model)], log) as process:
        if process.wait(START_TIMEOUT_S):
            raise failed("sound", log)


@contextmanager
def for_large_bodies(models: Path, folder: Path) -> Iterator[str]:
    """Keraport over `models`, ready for a batch of tensors; yields its URL."""
    port = free_port()
    with _serving(models, folder, port, "tensors", KERAPORT_MAX_BODY_MB=str(MAX_BODY_MB)):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def with_grpc(models: Path, folder: Path, workers: int = 1) -> Iterator[tuple[str, int]]:
    """Keraport over `models` with gRPC; yields its URL, and the port for gRPC."""
    port, grpc_port = free_port(), free_port()
    settings = {
        "KERAPORT_MAX_BODY_MB": str(MAX_BODY_MB),
        "KERAPORT_GRPC_PORT": str(grpc_port),
        "KERAPORT_WORKERS": str(workers),
    }
    with _serving(models, folder, port, f"grpc-{workers}", **settings):
        url = f"http://127.0.0.1:{port}"
        wait_until_all_ready(url, workers)
        yield url, grpc_port


@contextmanager
def triton(model: Path, kind: str, folder: Path) -> Iterator[int]:
    """Triton over the model in the folder `model`, which takes a `kind` of input; yields its port
    for gRPC."""
    port, grpc_port = free_port(), free_port()
    log = folder / "triton.log"
    arguments = ["-m", TRITON_SERVER, kind, str(port), str(folder / "triton"), str(grpc_port)]
    environment = {"BENCHMARK_MODEL": str(model), "TF_CPP_MIN_LOG_LEVEL": "2"}
    python = str(PEERS_PYTHON.absolute())
    with running(arguments, log, environment, python, talks=False) as process:
        url = f"http://127.0.0.1:{port}/v2/models/{kind}/ready"
        wait_until_ready(process, url, log, below=300)
        yield grpc_port


@contextmanager
def _serving(models: Path, folder: Path, port: int, name: str, **settings: str) -> Iterator[None]:
    log = folder / f"{name}.log"
    environment = {
        "KERAPORT_PORT": str(port),
        "KERAPORT_MODELS_DIR": str(models),
        "KERAPORT_UPLOADS_DIR": str(folder),
        "KERAPORT_DRAIN_DELAY_S": "0",
        **settings,
    }
    with running(["-m", "app", "serve"], log, environment) as process:
        wait_until_ready(process, f"http://127.0.0.1:{port}/readyz", log)
        yield


@contextmanager
def peer(model: Path, kind: str, folder: Path) -> Iterator[str]:
    """Flask under gunicorn, one process with threads, over the model in the folder `model`, which
    takes a `kind` of input; yields its URL."""
    port = free_port()
    log = folder / f"gunicorn-{kind}.log"
    arguments = ["-m", "gunicorn", "--worker-class", "gthread", "--threads", str(PEER_THREADS)]
    arguments += ["--bind", f"127.0.0.1:{port}", "--worker-tmp-dir", str(folder)]
    environment = {"BENCHMARK_MODEL": str(model), "TF_CPP_MIN_LOG_LEVEL": "2"}
    with running([*arguments, PEER_APP], log, environment) as process:
        wait_until_ready(process, f"http://127.0.0.1:{port}/", log)
        yield f"http://127.0.0.1:{port}/{kind}"


def against(url: str, case: Case, folder: Path, connections: int = CONNECTIONS) -> Measure:
    """The measurement of one case against one server."""
    return Load(case, url, folder, connections).run


def check_answers(case: Case, our_url: str, peer_url: str) -> None:
    """Raises ClickException unless both servers answer the case, and the same."""
    mine, theirs = (_answer(url, case) for url in (our_url, peer_url))
    if not case.agree(mine, theirs):
        raise click.ClickException(f"{case.name}: the answers differ: {mine} and {theirs}")


def _answer(url: str, case: Case) -> Any:
    headers = {"Content-Type": case.content_type}
    # The stack's certificate is its own.
    response = httpx.post(url, content=case.body, headers=headers, timeout=60, verify=False)
    if response.status_code != 200:
        raise click.ClickException(f"{url} answers {response.status_code}: {response.text[:500]}")
    return response.json()
