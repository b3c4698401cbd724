"""What `profile` refuses before it loads anything."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
from click.testing import CliRunner, Result

from app.cli.main import main
from tests.support import ROOT


@pytest.fixture(autouse=True)
def _in_this_process() -> Iterator[None]:
    with (
        patch("app.server.supervisor_launch.supervised_command"),
        patch("app.serving.reading.oom.die_first"),
    ):
        yield


def run(*arguments: str, models: Path = ROOT / "models") -> Result:
    return CliRunner().invoke(
        main, ["profile", *arguments], env={"KERAPORT_MODELS_DIR": str(models)}
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["mpg", "--seconds", "0"], "0.05<=x<=600"),
        (["mpg", "--seconds", "601"], "0.05<=x<=600"),
        (["mpg", "--seconds", "x"], "not a valid float"),
        (["mpg", "--max-batch-size", "0"], "1<=x<=4096"),
        (["mpg", "--max-batch-size", "4097"], "1<=x<=4096"),
        (["mpg", "--maximum", "1"], "No such option"),
        (["mpg", "spam"], "unexpected extra argument"),
        ([], "Missing argument 'NAME'"),
    ],
)
def test_bad_options(arguments: list[str], says: str) -> None:
    done = run(*arguments)
    assert (done.exit_code, says in done.stderr) == (2, True), done.stderr


def test_an_unknown_model_and_an_unknown_folder(tmp_path: Path) -> None:
    done = run("nothing")
    assert done.exit_code == 1
    assert "there is no model 'nothing'" in done.stderr
    assert "cats-dogs" in done.stderr
    assert "KERAPORT_MODELS_DIR" in run("mpg", models=tmp_path / "none").stderr


def test_help_says_what_is_measured() -> None:
    text = " ".join(run("--help").stdout.split())
    for part in ("runtime:", "float32 and in bfloat16", "made-up inputs", "default: 1.0"):
        assert part in text
