"""The command line: `python -m app …`.

What needs TensorFlow is imported inside the commands: `--help` should not take seconds.
"""

from __future__ import annotations

import csv
import shutil
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
import orjson
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from app import __version__
from app.cli.keys import key
from app.cli.model_command import ModelCommand
from app.cli.profiling.command import profile
from app.cli.pull import pull
from app.errors import CardError, Detail, KeraportError, SettingsError
from app.settings import read_settings


class _Command(click.Group):
    """A group whose commands report Keraport's own errors as a message, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Raises ClickException in place of KeraportError."""
        try:
            return super().invoke(ctx)
        except KeraportError as error:
            # Where there is but one, most messages have it already.
            alone = len(error.details) == 1 and not isinstance(error, SettingsError)
            several = [] if alone else error.details
            problems = "".join(f"\n  {_problem_line(detail)}" for detail in several)
            raise click.ClickException(error.message + problems) from None


@click.group(cls=_Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="keraport")
def main() -> None:
    """Keraport: a folder of Keras models as an HTTPS web app and API."""


@main.command()
def serve() -> None:
    """Serve the models. Settings come from the environment: see .env.example."""
    from app import logs
    from app.server.launch import launch, signals_at_start

    signals_at_start()
    settings = read_settings()
    as_text = settings.log_format == "text"
    if settings.log_format == "auto":
        as_text = sys.stderr.isatty()
    style = logs.Style(settings.log_level, as_text, settings.replica_name)
    raise SystemExit(launch(settings, style))


@main.command(cls=ModelCommand)
@click.argument("folder", metavar="[DIR]", required=False, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def check(folder: Path | None, as_json: bool) -> None:
    """Load every model of DIR (default: the models folder) and say what is wrong with it, what it
    takes and what is a guess. Models are asked about the examples of their cards.

    Exits with 1 when a model fails, or does not answer an example.
    """
    from app.cli.listing import document, listing
    from app.cli.offline import check as check_folder
    from app.cli.offline import warnings
    from app.serving.registry.crash_guard import release
    from app.serving.tasks.base import Limits

    settings = read_settings()
    if folder is not None and not folder.is_dir():
        raise click.ClickException(
            f"{folder} is a file: expected a folder" if folder.exists() else f"there is no {folder}"
        )
    folder = folder or settings.models_dir
    with Console(stderr=True).status("loading…"):
        checked = list(check_folder(folder, Limits.offline(settings)))
    passed_over = warnings(folder)
    for line in passed_over:
        click.echo(f"warning: {line}", err=True)
    if not checked:
        raise click.ClickException(f"there is no model in {folder}")
    if folder.resolve() == settings.models_dir.resolve():
        for each in checked:
            if each.entry.state == "ready":
                release(settings.events_file, each.entry.name, each.entry.version)
    if as_json:
        _print_json(document(checked, passed_over))
    else:
        click.echo(listing(checked, shutil.get_terminal_size().columns))
    if any(each.entry.state == "failed" or each.problems for each in checked):
        sys.exit(1)


@main.command(cls=ModelCommand)
@click.argument("name")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a file.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, one line a prediction.")
@click.option("--text", "texts", multiple=True, help="A text to answer, in place of FILES.")
@click.option(
    "--save",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Masks and pictures: the PNG file to write; with several, a number is added.",
)
@click.option("--seed", help="Text models: how the text begins. Default: a random start.")
@click.option(
    "--diversity",
    type=float,
    help="Text models: low writes likely words, high surprising ones. Default: the card's.",
)
@click.option("--words", type=int, help="Text models: how many to write. Default: the card's.")
def predict(
    name: str,
    files: tuple[Path, ...],
    as_json: bool,
    as_csv: bool,
    texts: tuple[str, ...],
    save: Path | None,
    seed: str | None,
    diversity: float | None,
    words: int | None,
) -> None:
    """Ask the model NAME about FILES, without a server.

    Pictures for image models, recordings for those of sound, .csv or .json for tabular ones and
    series, .csv, .json or .txt (one text) for those that take a text, .json for the rest. A file
    that cannot be answered is reported, the others are answered all the same; then it exits with 1.
    Without FILES, a text model writes a text, word by word.
    """
    if as_json and as_csv:
        raise click.UsageError("choose one of --json and --csv")
    options = {"seed": seed, "diversity": diversity, "words": words}
    options = {key: value for key, value in options.items() if value is not None}
    if bool(files) + bool(texts) + bool(options) > 1:
        raise click.UsageError("FILES, --text, or --seed, --diversity and --words: only one")
    if not files and not texts:
        _write(name, options)
        return
    from app.cli.drawings import Saved, brief
    from app.cli.offline import answer_texts, loaded
    from app.cli.offline import predict as predict_files
    from app.serving.tasks.base import Limits

    settings = read_settings()
    saved = Saved(save)
    rows: list[dict[str, Any]] = []
    failed = False
    progress = Progress(console=Console(stderr=True), transient=True)
    with progress, loaded(settings.models_dir, name, Limits.offline(settings)) as model:
        if texts:
            answers = answer_texts(model, texts)
            saved.add(answers)
            rows = [
                {"text": text, **_flat(brief(p))} for text, p in zip(texts, answers, strict=True)
            ]
            if as_json:
                _print_json({"predictions": [*answers]})
                rows = []
        results = predict_files(model, files)
        for path, result in progress.track(results, total=len(files), description=name):
            if isinstance(result, KeraportError):
                failed = True
                for problem in (
                    map(_problem_line, result.details) if result.details else [result.message]
                ):
                    click.echo(f"{path}: {problem}", err=True)
                continue
            saved.add(result)
            if as_json:
                _print_json({"file": str(path), "predictions": result})
            else:
                rows += [{"file": str(path), **_flat(brief(p))} for p in result]
    for problem in saved.problems():
        failed = True
        click.echo(problem, err=True)
    if as_csv:
        _print_csv(rows)
    elif rows:
        _print_table(rows)
    if failed:
        sys.exit(1)


def _write(name: str, options: dict[str, Any]) -> None:
    """Print a text while it is written."""
    from app.cli.offline import loaded, write
    from app.serving.tasks.base import Limits

    settings = read_settings()
    with ExitStack() as stack:
        with Console(stderr=True).status("loading…"):
            limits = Limits.offline(settings)
            model = stack.enter_context(loaded(settings.models_dir, name, limits))
        for piece in write(model, options):
            click.echo(piece, nl=False)
            sys.stdout.flush()
    click.echo()


def _problem_line(detail: Detail) -> str:
    """Return a problem as one line, with the value and what was expected."""
    value = "" if detail.value is None else f", found {detail.value}"
    expected = "" if detail.expected is None else f", expected {detail.expected}"
    return f"{detail.field}: {detail.problem}{value}{expected}"


def _flat(prediction: Any) -> dict[str, Any]:
    """Return a prediction as columns: the label and its probability, or whatever it has."""
    if not isinstance(prediction, dict):
        return {"output": _cell(prediction)}
    flat: dict[str, Any] = {}
    for name, value in prediction.items():
        if isinstance(value, dict):
            # Of several outputs: classes, or numbers with names.
            parts = {f"{name} {k}": v for k, v in value.items() if k not in ("label", "top")}
            flat |= {name: value["label"], **parts} if "top" in value else parts
        elif name != "top":
            flat[name] = value
    return {name: _cell(value) for name, value in flat.items()}


def _cell(value: Any) -> Any:
    if isinstance(value, (str, int, float)):
        return value
    if isinstance(value, list) and any(isinstance(each, dict) for each in value):
        from app.serving.tasks.outputs.boxes import boxes_in_words

        return boxes_in_words(value)
    return orjson.dumps(value, default=_listed, option=orjson.OPT_SERIALIZE_NUMPY).decode()


def _listed(value: Any) -> Any:
    return value.tolist()


def _print_json(value: Any) -> None:
    click.echo(orjson.dumps(value, default=_listed, option=orjson.OPT_SERIALIZE_NUMPY))


def _print_csv(rows: list[dict[str, Any]]) -> None:
    from app.serving.tasks.tables.formula_guard import guarded

    columns = list(dict.fromkeys(key for row in rows for key in row))
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(map(guarded, columns))
    for row in rows:
        writer.writerow(guarded(str(row.get(column, ""))) for column in columns)


def _print_table(rows: list[dict[str, Any]]) -> None:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    table = Table(*columns)
    for row in rows:
        table.add_row(*(escape(str(row.get(column, ""))) for column in columns))
    Console().print(table)


@main.command(cls=ModelCommand)
@click.argument("file", type=click.Path(exists=True, path_type=Path))
@click.option("--stdout", is_flag=True, help="Print the card instead of writing model.yaml.")
@click.option("--force", is_flag=True, help="Replace a model.yaml that is there.")
def card(file: Path, stdout: bool, force: bool) -> None:
    """Write a starter model.yaml beside the model FILE, to be completed by hand, and report what is
    a guess about it."""
    from app.cli.starter import starter_card
    from app.serving.cards.card import CARD_FILE

    source = file.resolve()
    folder = source if source.is_dir() else source.parent
    bare = not source.is_dir() and folder == read_settings().models_dir.resolve()
    target = folder / CARD_FILE
    if bare and not stdout:
        raise CardError(
            f"a card needs a folder of its own: move the file to {file.parent / file.stem}/ first, "
            "or use --stdout"
        )
    if target.exists() and not (force or stdout):
        raise CardError(f"{target} exists: use --force to replace it, or --stdout")
    starter = starter_card(source, None if bare else folder)
    if stdout:
        click.echo(starter.text, nl=False)
    else:
        target.write_text(starter.text, encoding="utf-8")
        click.echo(f"wrote {target}")
    for guess in starter.guesses:
        click.echo(str(guess), err=True)


@main.command(cls=ModelCommand)
@click.argument("architecture")
@click.option("--name", help="The model's name; default: the architecture in lower case.")
def add(architecture: str, name: str | None) -> None:
    """Download a model of Keras Applications (mobilenet, resnet50, …) into the models folder.

    Fetches the ImageNet weights and class names through Keras and writes a card with the right
    preprocessing. Needs the network.
    """
    from app.cli.applications import add as add_application

    settings = read_settings()
    folder = add_application(architecture, settings.models_dir, name)
    click.echo(f"wrote {folder}; see it with: python -m app check")


main.add_command(profile)
main.add_command(key)
main.add_command(pull)
