"""The commands of the command line, in this process; tests/http runs them as typed."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import keras
import pytest
import yaml
from click.testing import CliRunner, Result

from app.cli import offline
from app.cli.main import main
from app.serving.reading.process import ReaderProcess
from tests.models import save_constant_model, save_picture_model, save_text_model
from tests.support import CAR, ROOT, picture


class _Kept(ReaderProcess):
    """A loader that is closed at the end of the tests: its start takes seconds."""

    def close(self) -> None:
        """Stay."""


@pytest.fixture(scope="module", autouse=True)
def _in_this_process() -> Iterator[None]:
    kept = _Kept()
    with (
        patch.object(offline, "ReaderProcess", lambda: kept),
        patch("app.server.supervisor_launch.supervised_command"),
        patch("app.serving.reading.oom.die_first"),
    ):
        yield
    ReaderProcess.close(kept)


def run(
    *arguments: object, models: Path = ROOT / "models", code: int = 0, **settings: str
) -> Result:
    environ = {"KERAPORT_MODELS_DIR": str(models), "COLUMNS": "200", **settings}
    done = CliRunner().invoke(main, [*map(str, arguments)], env=environ)
    assert done.exit_code == code, (done.output, done.exception)
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return done


def test_check_of_one_model_folder() -> None:
    assert run("check", ROOT / "models" / "mpg").stdout.count("ready") == 1


def test_check_fails_and_says_why(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "models" / "mpg", tmp_path / "good")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "model.yaml").write_text("task: tensor\ncolour: red\n")
    done = run("check", tmp_path, code=1)
    assert "failed\n    model.yaml: unknown key 'colour'" in done.stdout
    assert done.stdout.count("ready") == 1
    assert done.stdout.count("failed") == 1


def test_check_lists_every_version_that_would_be_served(tmp_path: Path) -> None:
    home = tmp_path / "m"
    for version in (1, 2, 3):
        save_constant_model(home / str(version) / "model.keras", version)
    (home / "4").mkdir()
    (home / "4" / "model.keras").write_text("no model")
    (home / "model.yaml").write_text("task: tensor\naliases: {old: 1, lost: 9}\n")
    done = run("check", tmp_path, code=1)
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith("m ")]
    assert [(row[1], "ready" in row) for row in rows] == [
        ("4", False),
        ("3", True),  # in place of 4
        ("9", False),
        ("1", True),
    ]
    assert "there is no folder m/9, which the card names" in done.stdout
    (tmp_path / "x.json").write_text("[[0.0]]")
    done = run("predict", "m", "--json", tmp_path / "x.json", models=tmp_path)
    assert json.loads(done.stdout)["predictions"] == [[3.0] * 4]


def test_check_of_nothing_is_an_error(tmp_path: Path) -> None:
    assert "there is no model" in run("check", tmp_path, code=1).stderr
    assert "KERAPORT_MODELS_DIR" in run("check", models=tmp_path / "none", code=1).stderr
    for path, says in ((tmp_path / "none", "there is no"), (ROOT / "README.md", "is a file")):
        done = run("check", path, code=1)
        assert says in done.stderr
        assert str(path) in done.stderr
        assert "KERAPORT" not in done.stderr


def test_check_tells_what_it_passes_over(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").touch()
    done = run("check", tmp_path, code=1)
    assert f"warning: {tmp_path / 'x.onnx'} is not looked at" in done.stderr
    shutil.copytree(ROOT / "models" / "mpg", tmp_path / "mpg")
    (tmp_path / "mpg" / "model.yml").touch()
    done = run("check", tmp_path / "mpg")
    assert f"warning: {tmp_path / 'mpg' / 'model.yml'} is not looked at" in done.stderr
    assert "ready" in done.stdout


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{i}.jpg" for i in range(40)]
    for i, path in enumerate(paths):
        path.write_bytes(picture(i))
    return paths


def test_predict_pictures_as_a_table_json_and_csv(pictures: list[Path]) -> None:
    table = run("predict", "cats-dogs", *pictures).stdout
    as_json = run("predict", "cats-dogs", "--json", *pictures).stdout.splitlines()
    as_csv = list(
        csv.DictReader(run("predict", "cats-dogs", "--csv", *pictures).stdout.splitlines())
    )
    assert [json.loads(line)["file"] for line in as_json] == [str(p) for p in pictures]
    assert [row["file"] for row in as_csv] == [str(p) for p in pictures]
    for line, row in zip(as_json, as_csv, strict=True):
        (prediction,) = json.loads(line)["predictions"]
        assert row["label"] == prediction["label"]
        # Which pictures share a batch varies, and so does the last digit.
        assert float(row["probability"]) == pytest.approx(prediction["probability"], abs=1e-5)
        assert row["file"] in table


def test_predict_rows_from_csv_and_json(tmp_path: Path) -> None:
    (tmp_path / "cars.csv").write_text(
        ",".join(CAR) + "\n" + 50 * (",".join(map(str, CAR.values())) + "\n")
    )
    (tmp_path / "car.json").write_text(json.dumps(CAR))
    rows = run("predict", "mpg", "--csv", tmp_path / "cars.csv", tmp_path / "car.json").stdout
    values = {line.rpartition(",")[2] for line in rows.splitlines()[1:]}
    assert len(rows.splitlines()) == 52
    assert len(values) == 1


def test_predict_says_which_line_of_a_csv_is_wrong_and_how(tmp_path: Path) -> None:
    bad: dict[str, object] = CAR | {"weight": 50_000, "year": "x"}
    lines = [",".join(map(str, row.values())) for row in (CAR, CAR, bad)]
    text = "\n".join([",".join(CAR), "", *lines])
    (tmp_path / "cars.csv").write_text(text)
    told = run("predict", "mpg", tmp_path / "cars.csv", code=1).stderr
    begin = f"{tmp_path / 'cars.csv'}: line 5: "
    first, second = [line for line in told.splitlines() if line.strip()]
    assert re.fullmatch(
        re.escape(begin) + r"weight: out of range, found 50000, expected a number .*lb\)", first
    )
    assert second.startswith(f"{begin}year: wrong type, found x, expected ")


def test_predict_of_an_unknown_model_names_those_there_are(tmp_path: Path) -> None:
    assert "cats-dogs" in run("predict", "nothing", tmp_path, code=1).stderr


def test_card_writes_a_card_that_serves(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "pets"
    folder.mkdir(parents=True)
    shutil.copy(ROOT / "models" / "cats-dogs" / "model.h5", folder)
    run("card", folder / "model.h5")
    card = yaml.safe_load((folder / "model.yaml").read_text())
    assert card["task"] == "image-classification"
    assert card["input"]["size"] == [150, 150]
    assert len(card["labels"]) == 2
    # What is a placeholder does not go live when it is forgotten.
    assert "description" not in card
    assert "# description:" in (folder / "model.yaml").read_text()
    assert "--force" in run("card", folder / "model.h5", code=1).stderr
    run("card", "--force", folder / "model.h5")
    assert "ready" in run("check", tmp_path / "models").stdout


@pytest.mark.parametrize("rescales", [False, True])
def test_card_of_a_picture_model_says_its_scale(rescales: bool, tmp_path: Path) -> None:
    """Also where it is the default, with the reason; a guess stays one until its author knows."""
    folder = tmp_path / "models" / "pets"
    folder.mkdir(parents=True)
    keras.utils.set_random_seed(1)
    save_picture_model(folder / "model.keras", rescales=rescales)
    done = run("card", folder / "model.keras")
    text = (folder / "model.yaml").read_text()
    reason = "the input scale 0..1 is a guess (the file does not show it): set input.scale"
    if rescales:
        assert "# The file shows the scale: the model begins with arithmetic" in text
        assert yaml.safe_load(text)["input"]["scale"] == "none"
        assert "scale" not in done.stderr
    else:
        assert "# Check this, the scale is a guess: the file does not show it." in text
        others = re.search(r"Likely others: (.*)\.$", text, re.MULTILINE)
        assert others
        assert sorted(others[1].split(", ")) == ["-1..1", "caffe", "none", "torch"]
        assert "  # scale: 0..1  # remove the first # once you know" in text
        assert reason in done.stderr.splitlines()
    assert (reason in run("check", folder).stdout) is not rescales


def test_card_of_a_bare_file_asks_for_a_folder(tmp_path: Path) -> None:
    shutil.copy(ROOT / "models" / "mpg" / "model.keras", tmp_path / "cars.keras")
    refused = run("card", tmp_path / "cars.keras", models=tmp_path, code=1)
    assert "cars/" in refused.stderr
    shown = run("card", "--stdout", tmp_path / "cars.keras", models=tmp_path)
    assert yaml.safe_load(shown.stdout)["task"] == "tabular-regression"
    assert [p.name for p in tmp_path.iterdir()] == ["cars.keras"]


@pytest.mark.parametrize("name", ["a b", "ü", "models", "../x"])
def test_add_refuses_a_name_before_it_downloads(name: str, tmp_path: Path) -> None:
    done = run("add", "mobilenet", "--name", name, models=tmp_path, code=1)
    assert f"--name {name!r}: " in done.stderr
    assert "download" not in done.stderr


def test_add_of_an_unknown_architecture_lists_those_there_are(tmp_path: Path) -> None:
    assert "ResNet50" in run("add", "lenet", models=tmp_path, code=1).stderr


def test_predict_writes_a_text(tmp_path: Path) -> None:
    save_text_model(tmp_path / "writer")
    shutil.copytree(ROOT / "models" / "mpg", tmp_path / "mpg")
    done = run("predict", "writer", "--seed", "w1 w2", "--words", "10", models=tmp_path)
    assert done.stdout.startswith("w1 w2")
    assert len(done.stdout.replace(".", " .").replace(",", " ,").split()) == 12
    start = run("predict", "writer", models=tmp_path).stdout
    assert start.startswith(("w1 w2 w3 w4", "w8 w9"))
    wrong = run("predict", "writer", "--diversity=9", "--words=1000", models=tmp_path, code=1)
    assert "diversity: out of range" in wrong.stderr
    assert "words: out of range" in wrong.stderr
    other = run("predict", "mpg", models=tmp_path, code=1)
    assert "answers files" in other.stderr
    run("predict", "writer", tmp_path / "x.json", "--seed", "w1", models=tmp_path, code=2)
