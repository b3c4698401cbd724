"""The command line of the comparison."""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import click
from rich.console import Console

from benchmarks.cases import models_option
from benchmarks.contestants import make_model
from benchmarks.load import require_wrk
from benchmarks.peers import machine
from benchmarks.peers.cases import APPLICATIONS, NAMES, TENSOR, Case, make
from benchmarks.peers.contestants import CONTESTANTS, Contestant, Place, unavailable
from benchmarks.peers.publish import publish
from benchmarks.peers.results import Missing, Run
from benchmarks.peers.tables import markdown
from benchmarks.peers.turns import Plan, measure

BY_NAME = {contestant.name: contestant for contestant in CONTESTANTS}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@models_option
@click.option(
    "--python",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path(".venv-peers/bin/python"),
    show_default=True,
    help="Of the environment of the peers, which `make bench PEERS=1` makes.",
)
@click.option(
    "--contestant",
    "names",
    multiple=True,
    type=click.Choice(list(BY_NAME)),
    help="Only this one; may be repeated.",
)
@click.option(
    "--case", "cases", multiple=True, type=click.Choice(NAMES), help="Only this; may be repeated."
)
@click.option(
    "--connections",
    multiple=True,
    type=click.IntRange(1, 1000),
    help="Only so many; may be repeated. Default: 1, 32 and, but for tensors, 256.",
)
@click.option("--seconds", type=click.IntRange(1, 60), default=4, show_default=True, help="Each.")
@click.option("--rounds", type=click.IntRange(1, 100), default=3, show_default=True)
@click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Save every round. Cases that the file has and that are not measured now stay in it.",
)
@click.option("--publish", "published", is_flag=True, help="Write tables and plot into the README.")
@click.option(
    "--from",
    "saved",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Measure nothing, show what `--json` has saved.",
)
def main(
    models: Path,
    python: Path,
    names: Sequence[str],
    cases: Sequence[str],
    connections: Sequence[int],
    seconds: int,
    rounds: int,
    json_file: Path | None,
    published: bool,
    saved: Path | None,
) -> None:
    """Measure Keraport beside other servers for models, each served as its documentation says.

    For each case, all contestants are started, must give the same answers, and take turns. What
    counts are the ratios. See benchmarks/README.md.
    """
    if saved is not None:
        run = Run.read(saved)
    else:
        require_wrk()
        # Ends like any other exit: what was started is stopped, what was written is removed.
        signal.signal(signal.SIGTERM, _leave)
        run = Run(machine.about(python, seconds, rounds))
        chosen = _present([BY_NAME[name] for name in names or BY_NAME], python, run)
        with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
            for name in cases or NAMES:
                case = make(name, models)
                place = _place(case, models, python, Path(folder))
                able = [contestant for contestant in chosen if case.kind in contestant.kinds]
                _measure(case, able, list(connections), place, Plan(seconds, rounds), run)
                if json_file is not None:
                    known = Run.read(json_file) if json_file.exists() else Run({})
                    known.replaced_by(run).save(json_file)
        if json_file is not None:
            run = Run.read(json_file)
    click.echo(markdown(run))
    if published:
        publish(run)


def _leave(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


def _present(chosen: list[Contestant], python: Path, run: Run) -> list[Contestant]:
    """Those that can be had here; the others are noted."""
    present = []
    why = {name: unavailable(name, python) for name in {c.module for c in chosen} if name}
    for contestant in chosen:
        if reason := why.get(contestant.module or ""):
            run.missing.append(Missing(contestant.name, "all", None, reason))
        else:
            present.append(contestant)
    return present


def _place(case: Case, models: Path, python: Path, folder: Path) -> Place:
    """A folder for the case, with its model in it."""
    own = folder / case.model
    own.mkdir()
    made = own / "models" / case.model
    if case.model in APPLICATIONS:
        make_model(case.model, "image-classification", made, own)
    elif case.kind == TENSOR:
        make_model("MobileNet", "tensor", made, own)
    else:
        shutil.copytree(models / case.model, made)
    return Place(own, made.parent, python.absolute())


def _measure(
    case: Case,
    contestants: list[Contestant],
    connections: list[int],
    place: Place,
    plan: Plan,
    run: Run,
) -> None:
    counts = connections or list(case.connections)
    with Console(stderr=True).status("starting") as status:
        measure(case, contestants, counts, place, plan, run, status.update)
