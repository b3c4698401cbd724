"""Who is measured, and how each is started."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from tempfile import mkdtemp

import click
import httpx
import yaml

from benchmarks.contestants import (
    PEER_APP,
    PEER_THREADS,
    Script,
    script,
    wait_until_all_ready,
)
from benchmarks.load import Answers, Request, fire
from benchmarks.peers import dialects
from benchmarks.peers.cases import PICTURE, ROW, TENSOR, Answer, Case
from benchmarks.peers.dialects import Dialect
from benchmarks.peers.results import BOUND, OURS, PEER
from benchmarks.processes import START_TIMEOUT_S, failed, free_port, running
from benchmarks.tensors import MAX_BODY_MB

EVERYTHING = (ROW, PICTURE, TENSOR)
# Beyond what any server takes for a request while 256 wait.
TIMEOUT_S = 60
SERVERS = "benchmarks.peers.servers"


@dataclass(frozen=True)
class Place:
    """folder: for what is written. models: all that are asked, a folder each. python: the
    interpreter of the environment of the peers."""

    folder: Path
    models: Path
    python: Path

    def own(self, name: str) -> Path:
        """A new folder for one start of one contestant."""
        return Path(mkdtemp(prefix=f"{name}-", dir=self.folder))


class Server:
    """One that answers. pids: of the processes that were started for it."""

    def __init__(self, base: str, dialect: Dialect, pids: Sequence[int], folder: Path) -> None:
        self.pids = pids
        self._base, self._dialect, self._folder = base, dialect, folder
        self._asked: dict[str, tuple[str, Request]] = {}

    def answer(self, case: Case) -> Answer:
        """What it says to the input to check. Raises httpx.HTTPError if it does not."""
        url, request = self._dialect.ask(case, case.check, self._base)
        response = httpx.post(
            url, content=request.body, headers=dict(request.headers), timeout=TIMEOUT_S
        )
        return self._dialect.read(case, response.raise_for_status().content)

    def run(self, case: Case, connections: int, seconds: float) -> Answers:
        """Keep so many connections busy with the input that is measured."""
        if case.name not in self._asked:
            self._asked[case.name] = self._dialect.ask(case, case.payload, self._base)
        url, request = self._asked[case.name]
        return fire(url, request, self._folder, connections, seconds, TIMEOUT_S)


class Bound:
    """Our own parts without HTTP, which take no requests."""

    def __init__(self, running_script: Script) -> None:
        self.pids = [running_script.pid]
        self._script = running_script

    def answer(self, case: Case) -> None:
        """Nothing: it repeats what Keraport answers."""

    def run(self, case: Case, connections: int, seconds: float) -> Answers:
        """As many as it makes."""
        start = time.monotonic()
        rate = self._script.rate(seconds)
        elapsed = time.monotonic() - start
        return Answers(round(rate * elapsed), elapsed, 0.0, 0.0, 0, 0)


Target = Server | Bound
Start = Callable[[Case, Place], AbstractContextManager[Target]]


@dataclass(frozen=True)
class Contestant:
    """role: Keraport, a peer or a bound. processes: that run the model. module: what a peer
    imports, which may be missing. kinds: the inputs that it takes. answers: whether what it says to
    the input to check means something; coarse: if so, only roughly."""

    name: str
    role: str
    start: Start
    processes: int = 1
    module: str | None = None
    kinds: tuple[str, ...] = EVERYTHING
    answers: bool = True
    coarse: bool = False


def _await_answer(server: Server, case: Case, process: Popen[str], log: Path) -> None:
    """Raises ClickException with the end of the log."""
    until = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < until and process.poll() is None:
        try:
            server.answer(case)
            return
        except httpx.HTTPError:
            time.sleep(0.2)
    raise failed(log.stem, log)


def keraport(processes: int = 1, precision: str = "float32") -> Start:
    """Keraport with its defaults, with so many workers."""

    @contextmanager
    def start(case: Case, place: Place) -> Iterator[Server]:
        folder = place.own(f"keraport-{processes}-{precision}")
        served = folder / "models" / case.model
        shutil.copytree(place.models / case.model, served)
        card = yaml.safe_load((served / "model.yaml").read_text())
        card.setdefault("runtime", {})["precision"] = precision
        (served / "model.yaml").write_text(yaml.safe_dump(card))
        port = free_port()
        settings = {
            "KERAPORT_PORT": str(port),
            "KERAPORT_MODELS_DIR": str(served.parent),
            "KERAPORT_UPLOADS_DIR": str(folder),
            "KERAPORT_CACHE_DIR": str(place.folder / "cache"),
            "KERAPORT_DRAIN_DELAY_S": "0",
            "KERAPORT_WORKERS": str(processes),
        }
        if case.kind == TENSOR:
            settings["KERAPORT_MAX_BODY_MB"] = str(MAX_BODY_MB)
        log = folder / "keraport.log"
        with running(["-m", "app", "serve"], log, settings) as process:
            url = f"http://127.0.0.1:{port}"
            wait_until_all_ready(url, processes)
            server = Server(url, dialects.KERAPORT, [process.pid], folder)
            _await_answer(server, case, process, log)
            yield server

    return start


def peer(
    arguments: Callable[[Case, int, Path], Sequence[str]],
    dialect: Dialect = dialects.PLAIN,
    environment: Mapping[str, str] | None = None,
) -> Start:
    """`python ARGUMENTS` in the environment of the peers; `arguments` are those for a case, a port
    and a folder of its own."""

    @contextmanager
    def start(case: Case, place: Place) -> Iterator[Server]:
        port = free_port()
        folder = place.own("peer")
        command = list(arguments(case, port, folder))
        log = folder / f"{command[1].rpartition('.')[2]}.log"
        variables = {
            "BENCHMARK_MODEL": str(place.models / case.model),
            "TF_CPP_MIN_LOG_LEVEL": "2",
            "BENTOML_HOME": str(folder / "bentoml"),
            "BENTOML_DO_NOT_TRACK": "True",
            **(environment or {}),
        }
        with running(command, log, variables, str(place.python), talks=False) as process:
            server = Server(f"http://127.0.0.1:{port}", dialect, [process.pid], folder)
            _await_answer(server, case, process, log)
            yield server

    return start


def _gunicorn(workers: int, threads: int) -> Start:
    def arguments(case: Case, port: int, folder: Path) -> list[str]:
        return [
            *("-m", "gunicorn", "--worker-class", "gthread"),
            *("--workers", str(workers), "--threads", str(threads), "--timeout", str(TIMEOUT_S)),
            *("--bind", f"127.0.0.1:{port}", "--worker-tmp-dir", str(folder), PEER_APP),
        ]

    return peer(arguments)


def _uvicorn(workers: int) -> Start:
    def arguments(case: Case, port: int, folder: Path) -> list[str]:
        return [
            *("-m", "uvicorn", "--port", str(port), "--workers", str(workers)),
            *("--no-access-log", "--log-level", "warning", f"{SERVERS}.fastapi_app:app"),
        ]

    return peer(arguments)


def _litserve(workers: int) -> Start:
    def arguments(case: Case, port: int, folder: Path) -> list[str]:
        return ["-m", f"{SERVERS}.litserve_app", case.kind, str(port), str(workers)]

    return peer(arguments, dialects.LITSERVE)


def _bentoml(workers: int) -> Start:
    def arguments(case: Case, port: int, folder: Path) -> list[str]:
        return [
            *("-m", "bentoml", "serve", f"{SERVERS}.bentoml_service:Predictor"),
            *("--host", "127.0.0.1", "--port", str(port)),
        ]

    return peer(arguments, dialects.BENTOML, {"BENCHMARK_WORKERS": str(workers)})


def _triton() -> Start:
    def arguments(case: Case, port: int, folder: Path) -> list[str]:
        return ["-m", f"{SERVERS}.triton_server", case.kind, str(port), str(folder / "workspace")]

    return peer(arguments, dialects.TRITON)


def _floor(name: str) -> Start:
    @contextmanager
    def start(case: Case, place: Place) -> Iterator[Server]:
        port = free_port()
        folder = place.own("floor")
        log = folder / f"{name}.log"
        with running(["-m", "benchmarks.peers.floors", name, str(port)], log) as process:
            pids = [process.pid]
            server = Server(f"http://127.0.0.1:{port}", dialects.PLAIN, pids, folder)
            _await_answer(server, case, process, log)
            yield server

    return start


def _ceiling(module: str) -> Start:
    @contextmanager
    def start(case: Case, place: Place) -> Iterator[Bound]:
        with script(module, place.models / case.model, place.folder) as running_script:
            yield Bound(running_script)

    return start


KERAPORT, KERAPORT_TWO, KERAPORT_BF16 = "Keraport", "Keraport, 2 processes", "Keraport, bfloat16"
TRITON = "Triton"
FLASK_FLOOR, PYWSGI_FLOOR = "no model: Flask on pywsgi", "no model: pywsgi"
CEILING, BATCH_CEILING = "no HTTP: decoder and session", "no HTTP: session"
# In the order of their turns.
CONTESTANTS = [
    Contestant(KERAPORT, OURS, keraport()),
    Contestant(KERAPORT_TWO, OURS, keraport(processes=2), processes=2),
    Contestant(KERAPORT_BF16, OURS, keraport(precision="bfloat16"), coarse=True),
    Contestant("gunicorn 1x8", PEER, _gunicorn(1, PEER_THREADS), module="gunicorn"),
    Contestant("gunicorn 2x4", PEER, _gunicorn(2, 4), processes=2, module="gunicorn"),
    Contestant("FastAPI", PEER, _uvicorn(1), module="fastapi"),
    Contestant("FastAPI, 2 workers", PEER, _uvicorn(2), processes=2, module="fastapi"),
    Contestant("LitServe", PEER, _litserve(1), module="litserve"),
    Contestant("LitServe, 2 workers", PEER, _litserve(2), processes=2, module="litserve"),
    Contestant("BentoML", PEER, _bentoml(1), module="bentoml"),
    Contestant("BentoML, 2 workers", PEER, _bentoml(2), processes=2, module="bentoml"),
    Contestant(TRITON, PEER, _triton(), processes=2, module="pytriton"),
    Contestant(CEILING, BOUND, _ceiling("ceiling"), kinds=(PICTURE,)),
    Contestant(BATCH_CEILING, BOUND, _ceiling("batch"), kinds=(TENSOR,)),
    Contestant(FLASK_FLOOR, BOUND, _floor("flask"), kinds=(ROW,), answers=False),
    Contestant(PYWSGI_FLOOR, BOUND, _floor("pywsgi"), kinds=(ROW,), answers=False),
]


def unavailable(module: str, python: Path) -> str | None:
    """Why a peer cannot be had here; None if it can."""
    if not python.exists():
        return f"{python} does not exist: `make bench PEERS=1` makes the environment of the peers"
    done = subprocess.run([python, "-c", f"import {module}"], capture_output=True, text=True)
    if done.returncode == 0:
        return None
    return (done.stderr.strip().splitlines() or ["it cannot be imported"])[-1]


# What the last line of a traceback begins with.
ERROR = re.compile(r"(\w+\.)*\w*(Error|Exception|Timeout)\b")


def reason(error: Exception) -> str:
    """An error in one line: of a log, the last one that names an error, else the last one."""
    text = error.message if isinstance(error, click.ClickException) else str(error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    named = [line for line in lines if ERROR.match(line)]
    return (named or lines or [type(error).__name__])[-1][:300]
