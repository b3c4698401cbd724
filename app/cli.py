"""The command line: `python -m app …`."""

from __future__ import annotations

import logging
import os
import signal
import sys
from types import FrameType

import click
from pydantic import ValidationError

from app import __version__
from app.errors import KeraportError
from app.settings import Settings


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="keraport")
def main() -> None:
    """Keraport: a folder of Keras models as an HTTPS web app and API."""


def _settings() -> Settings:
    try:
        return Settings()
    except ValidationError as error:
        lines = [f"KERAPORT_{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors()]
        raise click.ClickException("settings: " + "; ".join(lines)) from None


@main.command()
def serve() -> None:
    """Serve the models. Settings come from the environment: see .env.example."""
    # Until the server's own handlers are in place, a stop is just that.
    signal.signal(signal.SIGTERM, _stop_now)
    settings = _settings()
    logging.basicConfig(
        level=settings.log_level.upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        # A descriptor of its own: see app.serving.quiet.
        stream=os.fdopen(os.dup(sys.stderr.fileno()), "w", buffering=1),
    )
    from app.server import Server

    try:
        settings.uploads_dir.mkdir(parents=True, exist_ok=True)
        server = Server(settings)
        click.echo(f"Keraport {__version__} on {server.address} (models: {settings.models_dir})")
        server.run()
    except KeraportError as error:
        raise click.ClickException(error.message) from None
    except OSError as error:
        raise click.ClickException(
            f"cannot serve on {settings.host}:{settings.port}: {error}"
        ) from None


def _stop_now(number: int, frame: FrameType | None) -> None:
    os._exit(0)
