"""The commands of the command line, in this process; tests/http runs them as typed."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import keras
import pytest
import yaml

from tests.command_line import CommandLine, Done
from tests.models import save_constant_model, save_picture_model, save_text_model
from tests.support import CAR, ROOT, picture

Run = Callable[..., Done]


@pytest.fixture(scope="module")
def run(command_line: CommandLine) -> Run:
    """Runs a command, which ends with `code`."""

    def run(
        *arguments: object, models: Path = ROOT / "models", code: int = 0, **settings: str
    ) -> Done:
        done = command_line.run(models, *arguments, **settings)
        assert done.returncode == code, done.stdout + done.stderr
        return done

    return run


def test_check_of_one_model_folder(run: Run) -> None:
    assert run("check", ROOT / "models" / "mpg").stdout.count("ready") == 1


def test_check_fails_and_says_why(run: Run, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "models" / "mpg", tmp_path / "good")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "model.yaml").write_text("task: tensor\ncolour: red\n")
    done = run("check", tmp_path, code=1)
    assert "failed\n    model.yaml: unknown key 'colour'" in done.stdout
    assert done.stdout.count("ready") == 1
    assert done.stdout.count("failed") == 1


def test_check_lists_every_version_that_would_be_served(run: Run, tmp_path: Path) -> None:
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


def test_check_of_nothing_is_an_error(run: Run, tmp_path: Path) -> None:
    assert "there is no model" in run("check", tmp_path, code=1).stderr
    assert "KERAPORT_MODELS_DIR" in run("check", models=tmp_path / "none", code=1).stderr
    for path, says in ((tmp_path / "none", "there is no"), (ROOT / "README.md", "is a file")):
        done = run("check", path, code=1)
        assert says in done.stderr
        assert str(path) in done.stderr
        assert "KERAPORT" not in done.stderr


def test_check_tells_what_it_passes_over(run: Run, tmp_path: Path) -> None:
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


def test_predict_pictures_as_a_table_json_and_csv(run: Run, pictures: list[Path]) -> None:
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


def test_a_bad_file_does_not_stop_the_others(run: Run, tmp_path: Path) -> None:
    good = [tmp_path / "1.jpg", tmp_path / "2.jpg"]
    for i, path in enumerate(good):
        path.write_bytes(picture(i))
    bad = tmp_path / "bad.jpg"
    bad.write_text("not a picture")
    done = run("predict", "cats-dogs", "--csv", good[0], bad, tmp_path / "none", good[1], code=1)
    assert len(done.stdout.splitlines()) == 3
    assert f"{bad}: image:" in done.stderr
    assert f"{tmp_path / 'none'}: " in done.stderr


def test_predict_rows_from_csv_and_json(run: Run, tmp_path: Path) -> None:
    (tmp_path / "cars.csv").write_text(
        ",".join(CAR) + "\n" + 50 * (",".join(map(str, CAR.values())) + "\n")
    )
    (tmp_path / "car.json").write_text(json.dumps(CAR))
    rows = run("predict", "mpg", "--csv", tmp_path / "cars.csv", tmp_path / "car.json").stdout
    values = {line.rpartition(",")[2] for line in rows.splitlines()[1:]}
    assert len(rows.splitlines()) == 52
    assert len(values) == 1


def test_predict_says_which_line_of_a_csv_is_wrong_and_how(run: Run, tmp_path: Path) -> None:
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


def test_predict_of_an_unknown_model_names_those_there_are(run: Run, tmp_path: Path) -> None:
    assert "cats-dogs" in run("predict", "nothing", tmp_path, code=1).stderr


def test_card_writes_a_card_that_serves(run: Run, tmp_path: Path) -> None:
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
def test_card_of_a_picture_model_says_its_scale(run: Run, rescales: bool, tmp_path: Path) -> None:
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


def test_card_of_a_bare_file_asks_for_a_folder(run: Run, tmp_path: Path) -> None:
    shutil.copy(ROOT / "models" / "mpg" / "model.keras", tmp_path / "cars.keras")
    refused = run("card", tmp_path / "cars.keras", models=tmp_path, code=1)
    assert "cars/" in refused.stderr
    shown = run("card", "--stdout", tmp_path / "cars.keras", models=tmp_path)
    assert yaml.safe_load(shown.stdout)["task"] == "tabular-regression"
    assert [p.name for p in tmp_path.iterdir()] == ["cars.keras"]


@pytest.mark.parametrize("name", ["a b", "ü", "models", "../x"])
def test_add_refuses_a_name_before_it_downloads(run: Run, name: str, tmp_path: Path) -> None:
    done = run("add", "mobilenet", "--name", name, models=tmp_path, code=1)
    assert f"--name {name!r}: " in done.stderr
    assert "download" not in done.stderr


def test_add_of_an_unknown_architecture_lists_those_there_are(run: Run, tmp_path: Path) -> None:
    assert "ResNet50" in run("add", "lenet", models=tmp_path, code=1).stderr


def test_predict_writes_a_text(run: Run, tmp_path: Path) -> None:
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
