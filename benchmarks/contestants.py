"""Those that are measured, each behind the same call: seconds in, sample out."""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
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
Measure = Callable[[int], Sample]


@contextmanager
def alone(module: str, model: Path, folder: Path) -> Iterator[Measure]:
    """A script of ours that measures itself on the model in the folder `model`: `ceiling`, our
    decoder and session without HTTP, or `predict_loop`, the ordinary way to write text."""
    log = folder / f"{module}.log"
    with running(["-m", f"benchmarks.{module}", str(model)], log) as process:
        questions, answers = process.stdin, process.stdout
        assert questions is not None
        assert answers is not None

        def line(timeout: float) -> str:
            readable, _, _ = select.select([answers], [], [], timeout)
            answer = answers.readline() if readable else ""
            if not answer:
                raise failed(module, log)
            return answer

        def measure(seconds: int) -> Sample:
            print(seconds, file=questions, flush=True)
            return Sample(float(line(seconds + START_TIMEOUT_S)))

        line(START_TIMEOUT_S)
        yield measure


@contextmanager
def ours(models: Path, folder: Path) -> Iterator[str]:
    """Keraport over `models`, ready; yields its URL without the name of a model."""
    port = free_port()
    with _serving(models, folder, port, "ours"):
        yield f"http://127.0.0.1:{port}/api/"


@contextmanager
def two_processes(models: Path, folder: Path) -> Iterator[str]:
    """Keraport twice on one port; yields its URL without the name of a model."""
    port = free_port()
    with (
        _serving(models, folder, port, "first", KERAPORT_REUSE_PORT="true"),
        _serving(models, folder, port, "second", KERAPORT_REUSE_PORT="true"),
    ):
        _wait_until_all_ready(f"http://127.0.0.1:{port}/readyz")
        yield f"http://127.0.0.1:{port}/api/"


def _wait_until_all_ready(url: str) -> None:
    """The kernel gives each connection to one of them: all are ready once many in a row are."""
    until = time.monotonic() + START_TIMEOUT_S
    in_a_row = 0
    while in_a_row < 30:
        if time.monotonic() > until:
            raise click.ClickException(f"{url} does not become ready")
        in_a_row = in_a_row + 1 if httpx.get(url, timeout=5).status_code == 200 else 0
        time.sleep(0.02)


def make_mobilenet(model: Path, folder: Path) -> None:
    """Save it, in a process of its own: this one needs no TensorFlow."""
    log = folder / "mobilenet.log"
    with running(["-m", "benchmarks.mobilenet", str(model)], log) as process:
        if process.wait(START_TIMEOUT_S):
            raise failed("mobilenet", log)


@contextmanager
def for_large_bodies(models: Path, folder: Path) -> Iterator[str]:
    """Keraport over `models`, ready for a batch of tensors; yields its URL."""
    port = free_port()
    with _serving(models, folder, port, "tensors", KERAPORT_MAX_BODY_MB=str(MAX_BODY_MB)):
        yield f"http://127.0.0.1:{port}"


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
def peer(models: Path, folder: Path) -> Iterator[str]:
    """Flask under gunicorn, one process with threads; yields its URL without a model's name."""
    port = free_port()
    log = folder / "gunicorn.log"
    arguments = ["-m", "gunicorn", "--worker-class", "gthread", "--threads", str(PEER_THREADS)]
    arguments += ["--bind", f"127.0.0.1:{port}", "--worker-tmp-dir", str(folder)]
    environment = {"BENCHMARK_MODELS": str(models), "TF_CPP_MIN_LOG_LEVEL": "2"}
    with running([*arguments, "benchmarks.peer:app"], log, environment) as process:
        wait_until_ready(process, f"http://127.0.0.1:{port}/", log)
        yield f"http://127.0.0.1:{port}/"


def against(url: str, case: Case, folder: Path, connections: int = CONNECTIONS) -> Measure:
    """The measurement of one case against one server."""
    return Load(case, url + case.model, folder, connections).run


def check_answers(case: Case, our_url: str, peer_url: str) -> None:
    """Raises ClickException unless both servers answer the case, and the same."""
    mine, theirs = (_answer(url + case.model, case) for url in (our_url, peer_url))
    if not case.agree(mine, theirs):
        raise click.ClickException(f"{case.name}: the answers differ: {mine} and {theirs}")


def _answer(url: str, case: Case) -> Any:
    headers = {"Content-Type": case.content_type}
    # The stack's certificate is its own.
    response = httpx.post(url, content=case.body, headers=headers, timeout=60, verify=False)
    if response.status_code != 200:
        raise click.ClickException(f"{url} answers {response.status_code}: {response.text[:500]}")
    return response.json()
