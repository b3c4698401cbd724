"""`python -m app key …`."""

from __future__ import annotations

from pathlib import Path

import click

from app.settings import read_settings


@click.group()
def key() -> None:
    """API keys. With a file of them, every request needs one."""


@key.command()
@click.argument("name")
@click.option(
    "--model", "models", multiple=True, help="A model that the key is for; repeat it for others."
)
@click.option("--rate", help="How often it may ask, such as 10/second, 600/minute, 5000/hour.")
@click.option(
    "--file",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Add the key to this file. Default: the file of KERAPORT_API_KEYS_FILE.",
)
def new(name: str, models: tuple[str, ...], rate: str | None, file: Path | None) -> None:
    """Make a key called NAME and show it, once: nothing that is kept can tell it again.

    NAME says whose it is, in the log for one. Without --model the key is for all models, without
    --rate for any number of requests.

    The key's lines for the file, which hold only a hash of it, are added to the file; where there
    is none, or it cannot be written, they are printed (stdout; the rest is on stderr), so that
    this works too:

        python -m app key new laboratory >> api-keys.yaml
    """
    from app.keys.file import append_key, key_lines, new_key

    made, hash = new_key()
    lines = key_lines(name, hash, models, rate)
    file = file or read_settings().api_keys_file
    kept = False
    if file is not None:
        try:
            append_key(file, lines)
            kept = True
        except OSError as error:
            click.echo(f"{file} cannot be written ({error.strerror}): add these lines", err=True)
    if not kept:
        click.echo(lines, nl=False)
    click.echo(f"the key {name!r}, which is shown only now:", err=True)
    click.echo(made, err=True)
    if kept:
        click.echo(f"added to {file}", err=True)
