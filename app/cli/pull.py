"""`python -m app pull`: models from elsewhere."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import click

from app.errors import PullError
from app.settings import read_settings
from app.sources.address import Address, parse_address
from app.sources.credentials import read_environment
from app.sources.place import prepare
from app.sources.pull import Options
from app.sources.pull import pull as pull_model

DEFAULTS = Options()


@click.command()
@click.argument("url", required=False)
@click.argument("name", required=False)
@click.option(
    "--every", type=click.FloatRange(min=1), help="Repeat after so many seconds, until stopped."
)
@click.option(
    "--keep",
    type=click.IntRange(min=1),
    default=DEFAULTS.keep,
    show_default=True,
    help="How many versions stay, the newest.",
)
@click.option("--delete", is_flag=True, help="Also remove what the source no longer has.")
@click.option(
    "--max-gb",
    type=click.FloatRange(min=0, min_open=True),
    default=DEFAULTS.max_bytes / 1e9,
    show_default=True,
    help="Refuse models that take more, packed or unpacked.",
)
@click.option(
    "--env-file",
    type=click.Path(path_type=Path),
    help="Read credentials from a file: NAME=VALUE on lines.",
)
@click.option("--sources", envvar="KERAPORT_SOURCES", hidden=True, default="")
def pull(
    url: str | None,
    name: str | None,
    every: float | None,
    keep: int,
    delete: bool,
    max_gb: float,
    env_file: Path | None,
    sources: str,
) -> None:
    """Fetch the model NAME from URL into the models folder, as a version of its own; nothing is
    sent if it is there already.

    URL: s3://bucket/path, gs://bucket/path, az://container/path, https://host/model.tar.gz (or
    .zip, .keras, .h5), each a model or a folder of numbered versions; hf://owner/name@revision. A
    single file may have its checksum: …#sha256=…

    Without URL and NAME, all sources of KERAPORT_SOURCES: NAME=URL, separated by spaces.
    """
    wanted = _wanted(url, name, sources)
    if env_file is not None:
        os.environ.update(read_environment(env_file))
    models = read_settings().models_dir
    prepare(models)
    options = Options(keep, delete, int(max_gb * 1e9), every)
    if every is not None:
        # The first process of a container gets no signal that it does not ask for.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    while True:
        began = time.monotonic()
        failed = False
        for model, address in wanted.items():
            try:
                outcome = pull_model(address, model, models, options)
            except PullError as error:
                failed = True
                click.echo(f"{model}: {error.message}", err=True)
            else:
                if outcome.is_change or every is None:
                    click.echo(outcome)
        if every is None:
            sys.exit(1 if failed else 0)
        time.sleep(max(0.0, began + every - time.monotonic()))


def _wanted(url: str | None, name: str | None, sources: str) -> dict[str, Address]:
    """Return the sources by the names of their models. Raises UsageError and PullError."""
    if url is not None and name is not None:
        return {name: parse_address(url)}
    if url is not None:
        raise click.UsageError("expected URL and NAME, or neither of them")
    wanted: dict[str, Address] = {}
    for entry in sources.split():
        model, equals, address = entry.partition("=")
        if not equals or not model:
            raise PullError(f"KERAPORT_SOURCES: {model!r}: expected NAME=URL, separated by spaces")
        if model in wanted:
            raise PullError(f"KERAPORT_SOURCES has two sources for {model!r}")
        wanted[model] = parse_address(address)
    if not wanted:
        raise click.UsageError("expected URL and NAME, or KERAPORT_SOURCES in the environment")
    return wanted
