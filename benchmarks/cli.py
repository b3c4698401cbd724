"""The command line of the benchmark."""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

import click
import orjson
from rich.console import Console
from rich.progress import Progress

from benchmarks import calls, cases, contestants, kinds, tensors
from benchmarks.load import CONNECTIONS, Sample, require_wrk
from benchmarks.peers.contestants import unavailable
from benchmarks.report import Contest, Ratio, as_dict, show
from benchmarks.stack import composed, engine_missing

OURS, PEER, CEILING = "keraport", "gunicorn", "ceiling"
TWO, STACK = "2 processes", "nginx, TLS"
BATCH, IN_PROCESS, BINARY, AS_JSON = "32 tensors", "in process", "binary", "JSON"
LOOP, ONE_STREAM, STREAMS = "predict loop", "1 stream", "32 streams"
ROW, V1, TFS, V2, V2_BINARY = "row", "v1", "TFS gRPC", "v2 gRPC", "v2 binary"
TFS_OF_TWO, V2_OF_TWO = f"{TFS}, {TWO}", f"{V2}, {TWO}"
TRITON = f"Triton, {V2}"
CALLED_BATCH = "32 tensors, called"
# What a run may be limited to.
GROUPS = ("shipped", "tensors", "kinds", "workers", "grpc")
WARM_UP_S = 2
# Case, who, against whom, how many times as fast at least.
TARGETS = [
    ("CNN", OURS, CEILING, 0.90),
    ("CNN", OURS, PEER, 1.0),
    ("CNN", STACK, TWO, 0.85),
    ("tabular", OURS, PEER, 2.0),
    ("text", ONE_STREAM, LOOP, 50.0),
    ("text", STREAMS, LOOP, 300.0),
    # At most 1.3 times the cost.
    (BATCH, BINARY, IN_PROCESS, 1 / 1.3),
    (ROW, TFS, V1, 0.5),
    (ROW, V2, V2_BINARY, 0.5),
    (ROW, TFS_OF_TWO, TRITON, 1.0),
    (ROW, V2_OF_TWO, TRITON, 1.0),
    (CALLED_BATCH, V2, IN_PROCESS, 1 / 1.1),
]
Measures = dict[tuple[str, str], contestants.Measure]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@cases.models_option
@click.option("--seconds", type=click.IntRange(1, 600), default=4, show_default=True, help="Each.")
@click.option("--rounds", type=click.IntRange(1, 100), default=5, show_default=True)
@click.option(
    "--only",
    type=click.Choice(GROUPS),
    multiple=True,
    help="shipped: CNN, tabular, text. tensors: batches. kinds: masks, messages, sound, heat maps. "
    "workers: two against one. grpc: rows and batches, against HTTP and Triton.",
)
@click.option(
    "--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Save every round."
)
def main(
    models: Path, seconds: int, rounds: int, only: tuple[str, ...], json_file: Path | None
) -> None:
    """Measure Keraport against its own ceiling and against Flask under gunicorn.

    All take turns on this machine for a number of short rounds. What counts are the ratios;
    requests per second say as much about the machine. See benchmarks/README.md.
    """
    require_wrk()
    # Ends like any other exit: what was started is stopped, what was written is removed.
    signal.signal(signal.SIGTERM, _leave)
    console = Console()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-")))
        measures: Measures = {}
        for group in only or GROUPS:
            measures |= _GROUPS[group](models, folder, stack)
        samples = _measure(measures, seconds, rounds)
    contests = [Contest(case, who, samples[case, who]) for case, who in measures]
    found = {(contest.case, contest.contestant): contest for contest in contests}
    ratios = [
        Ratio.of(found[case, who], found[case, other], target)
        for case, who, other, target in [*TARGETS, *_of_workers(measures)]
        if {(case, who), (case, other)} <= found.keys()
    ]
    console.print(f"{CONNECTIONS} connections, {rounds} rounds of {seconds} s, medians")
    show(console, contests, ratios)
    if json_file is not None:
        option = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
        json_file.write_bytes(orjson.dumps(as_dict(contests, ratios), option=option))


def _leave(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


def _shipped(models: Path, folder: Path, stack: ExitStack) -> Measures:
    """Start all of them, and make sure that they give the same answers."""
    tabular, cnn = cases.tabular(models), cases.cnn(models)
    served = folder / "models"
    texts = cases.text(models) if (models / cases.TEXT).is_dir() else None
    for case in filter(None, (tabular, cnn, texts)):
        shutil.copytree(models / case.model, served / case.model)
    ours = stack.enter_context(contestants.ours(served, folder))
    peers = {}
    for case, kind in ((tabular, "row"), (cnn, "picture")):
        peer = contestants.peer(served / case.model, kind, folder)
        peers[case.name] = stack.enter_context(peer)
        contestants.check_answers(case, ours + case.model, peers[case.name])
    measures = {
        (cnn.name, CEILING): stack.enter_context(
            contestants.alone("ceiling", served / cnn.model, folder)
        ),
        (cnn.name, OURS): contestants.against(ours + cnn.model, cnn, folder),
        (cnn.name, PEER): contestants.against(peers[cnn.name], cnn, folder),
    }
    if engine_missing():
        click.echo("there is no Docker engine here: the stack behind nginx is not measured")
    else:
        two = stack.enter_context(contestants.two_processes(served, folder))
        https = stack.enter_context(composed(served, folder))
        contestants.check_answers(cnn, https + cnn.model, peers[cnn.name])
        measures[cnn.name, TWO] = contestants.against(two + cnn.model, cnn, folder)
        measures[cnn.name, STACK] = contestants.against(https + cnn.model, cnn, folder)
    measures[tabular.name, OURS] = contestants.against(ours + tabular.model, tabular, folder)
    measures[tabular.name, PEER] = contestants.against(peers[tabular.name], tabular, folder)
    if texts is None:
        click.echo(f"there is no model {cases.TEXT}: words per second are not measured")
    else:
        loop = contestants.alone("predict_loop", served / texts.model, folder)
        measures[texts.name, LOOP] = stack.enter_context(loop)
        measures[texts.name, ONE_STREAM] = contestants.against(ours + texts.model, texts, folder, 1)
        measures[texts.name, STREAMS] = contestants.against(ours + texts.model, texts, folder)
    return measures


def _tensors(models: Path, folder: Path, stack: ExitStack) -> Measures:
    """Batches of tensors for a model with random weights."""
    noise = folder / "noise"
    contestants.make_model("MobileNet", "tensor", noise / tensors.MODEL, folder)
    url = stack.enter_context(contestants.for_large_bodies(noise, folder))
    batch = contestants.alone("batch", noise / tensors.MODEL, folder)
    return {
        (BATCH, IN_PROCESS): stack.enter_context(batch),
        (BATCH, BINARY): tensors.asking(url, binary=True),
        (BATCH, AS_JSON): tensors.asking(url, binary=False),
    }


def _kinds(models: Path, folder: Path, stack: ExitStack) -> Measures:
    """Requests of other kinds, one after the other."""
    served = folder / "kinds"
    contestants.make_sound(served / kinds.MODELS["sound"], folder)
    for model in kinds.MODELS.values():
        if not (served / model).is_dir():
            cases.find_card(models, model)
            shutil.copytree(models / model, served / model)
    url = stack.enter_context(contestants.ours(served, folder))
    measures: Measures = {}
    for case, model in kinds.MODELS.items():
        more = ["explain"] if case == kinds.HEAT_MAP else []
        alone = contestants.alone("request", served / model, folder, *more)
        measures[case, IN_PROCESS] = stack.enter_context(alone)
        measures[case, OURS] = kinds.asking(url, case)
    return measures


def _workers(models: Path, folder: Path, stack: ExitStack) -> Measures:
    """The example of each model, for one worker and for two."""
    one = stack.enter_context(contestants.ours(models, folder))
    two = stack.enter_context(contestants.two_processes(models, folder))
    measures: Measures = {}
    for case in cases.examples(one):
        for connections in (1, CONNECTIONS):
            name = f"{case.name}, {connections} at once"
            for who, url in ((OURS, one), (TWO, two)):
                measures[name, who] = contestants.against(
                    url + case.model, case, folder, connections
                )
    return measures


def _of_workers(measures: Measures) -> list[tuple[str, str, str, float]]:
    """Two workers are never slower than one."""
    return [(case, TWO, OURS, 1.0) for case, who in measures if who == TWO]


def _grpc(models: Path, folder: Path, stack: ExitStack) -> Measures:
    """A row over both protocols of gRPC and both of HTTP, and a batch of tensors; rows with two
    workers and Triton as well."""
    if calls.h2load_missing():
        click.echo("gRPC is not measured: apt-get install nghttp2-client (h2load)")
        return {}
    served, rows, row = folder / "called", folder / "rows", calls.row(models)
    for each in (served, rows):
        shutil.copytree(models / cases.TABULAR, each / cases.TABULAR)
    contestants.make_model("MobileNet", "tensor", served / tensors.MODEL, folder)
    url, port = stack.enter_context(contestants.with_grpc(served, folder))
    _, two = stack.enter_context(contestants.with_grpc(rows, folder, workers=2))
    described = f"{url}/v2/models/"
    name = tensors.input_name(described + cases.TABULAR)
    v1, v2 = calls.v1_case(row), calls.v2_case(name, row)
    predict = calls.predict_request(cases.TABULAR, name, row)
    infer = calls.infer_request(cases.TABULAR, name, row)
    name = tensors.input_name(described + tensors.MODEL)
    batch = calls.infer_request(tensors.MODEL, name, tensors.pixels())
    alone = contestants.alone("batch", served / tensors.MODEL, folder)
    measures = {
        (ROW, V1): contestants.against(f"{url}/v1/models/{v1.model}:predict", v1, folder),
        (ROW, TFS): calls.by_h2load(port, calls.PREDICT, predict, folder),
        (ROW, V2_BINARY): contestants.against(f"{described}{v2.model}/infer", v2, folder),
        (ROW, V2): calls.by_h2load(port, calls.INFER, infer, folder),
        (ROW, TFS_OF_TWO): calls.by_h2load(two, calls.PREDICT, predict, folder),
        (ROW, V2_OF_TWO): calls.by_h2load(two, calls.INFER, infer, folder),
        (CALLED_BATCH, IN_PROCESS): stack.enter_context(alone),
        (CALLED_BATCH, V2): calls.one_after_the_other(port, calls.INFER, batch),
    }
    if reason := unavailable("pytriton", contestants.PEERS_PYTHON):
        click.echo(f"Triton is not measured: {reason}")
        return measures
    of_triton = stack.enter_context(contestants.triton(rows / cases.TABULAR, "row", folder))
    asked = calls.infer_request("row", "row", row)
    calls.check_floats((port, infer), (of_triton, asked))
    measures[ROW, TRITON] = calls.by_h2load(of_triton, calls.INFER, asked, folder)
    return measures


_GROUPS = {
    "shipped": _shipped,
    "tensors": _tensors,
    "kinds": _kinds,
    "workers": _workers,
    "grpc": _grpc,
}


def _measure(measures: Measures, seconds: int, rounds: int) -> dict[tuple[str, str], list[Sample]]:
    """`rounds` samples of each, in turns, after a warm-up that is thrown away."""
    samples: dict[tuple[str, str], list[Sample]] = {key: [] for key in measures}
    with Progress(transient=True) as progress:
        task = progress.add_task("warming up", total=len(measures) * (rounds + 1))
        for measure in measures.values():
            measure(WARM_UP_S)
            progress.advance(task)
        for number in range(1, rounds + 1):
            for key, measure in measures.items():
                progress.update(task, description=f"round {number}: {key[0]}, {key[1]}")
                samples[key].append(measure(seconds))
                progress.advance(task)
    return samples
