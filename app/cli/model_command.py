"""Commands that load models."""

from __future__ import annotations

from typing import Any

import click


class ModelCommand(click.Command):
    """A command that loads TensorFlow, which may write to stderr by itself or crash."""

    def invoke(self, ctx: click.Context) -> Any:
        """In a child process from here on."""
        from app.server.supervisor_launch import supervised_command
        from app.serving.reading.oom import die_first

        supervised_command()
        die_first()
        return super().invoke(ctx)
