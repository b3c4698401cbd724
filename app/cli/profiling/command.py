"""`python -m app profile NAME`."""

from __future__ import annotations

import click
import orjson
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from app.cli.model_command import ModelCommand
from app.settings import read_settings

_LEAST_S, _MOST_S = 0.05, 600.0


class _Shown:
    """The progress, on stderr."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=None)

    def stage(self, name: str, steps: int | None = None) -> None:
        """Begin a stage."""
        self._progress.reset(self._task, description=name, total=steps)

    def step(self) -> None:
        """End a step."""
        self._progress.advance(self._task)


@click.command(cls=ModelCommand)
@click.argument("name")
@click.option(
    "--seconds",
    type=click.FloatRange(_LEAST_S, _MOST_S),
    default=1.0,
    show_default=True,
    help="How long each size is run in each precision, five runs at least. Longer: less noise.",
)
@click.option(
    "--max-batch-size",
    type=click.IntRange(1, 4096),
    help="The largest size to measure. Default: 128, or the card's if that is larger.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def profile(name: str, seconds: float, max_batch_size: int | None, as_json: bool) -> None:
    """Measure how fast the model NAME runs on this machine, and say which lines of `runtime:` to
    write into its card.

    Runs batches of 1, 2, 4 … rows in float32 and in bfloat16, in turns, with the examples of the
    card or, where it has none, with made-up inputs; texts are written so many at a time. Reports
    rows per second, milliseconds, memory, the time to read a request, and how answers differ in
    bfloat16. It advises only what the measurement shows: stop what else keeps this machine busy.
    """
    from app.cli.offline import find
    from app.cli.profiling.advice import advise
    from app.cli.profiling.report import document, lines, table
    from app.cli.profiling.rounds import profile as measure
    from app.serving.limits import Limits

    settings = read_settings()
    # Before the seconds that it takes to load anything.
    find(settings.models_dir, name)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    hidden = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as progress:
        limits = Limits.of(settings)
        shown = _Shown(progress)
        found = measure(settings.models_dir, name, limits, seconds, max_batch_size, shown)
    advice = advise(found)
    if as_json:
        click.echo(orjson.dumps(document(found, advice)))
        return
    Console().print(table(found))
    for line in lines(found, advice):
        click.echo(line)
