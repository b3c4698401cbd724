"""`python -m app …` in this process: commands share the process that reads model files, whose start
takes seconds. tests/http/test_cli.py runs some as typed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import tensorflow  # noqa: F401 - all of it, before the engine imports a part
from click.testing import CliRunner

from app.cli import offline, starter
from app.cli.main import main
from tests.conversions import shared_reader


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it wrote."""

    returncode: int
    stdout: str
    stderr: str


class CommandLine:
    """Runs commands one after the other."""

    def run(self, models: Path, *arguments: object, **settings: str) -> Done:
        """Run one. models: KERAPORT_MODELS_DIR. settings: others, by their whole names."""
        environ = {"KERAPORT_MODELS_DIR": str(models), "COLUMNS": "200", **settings}
        with (
            patch.object(offline, "ReaderProcess", shared_reader),
            patch.object(starter, "ReaderProcess", shared_reader),
            patch("app.server.supervisor_launch.supervised_command"),
            patch("app.serving.reading.oom.die_first"),
        ):
            done = CliRunner().invoke(main, [*map(str, arguments)], env=environ)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.output
        return Done(done.exit_code, done.stdout, done.stderr)
