"""`python -m app …`, as typed."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.models import save_constant_model, save_picture_model, save_text_model
from tests.support import CAR, ROOT, picture


def run(
    *arguments: object, models: Path = ROOT / "models", code: int = 0, **settings: str
) -> subprocess.CompletedProcess[str]:
    environ = {k: v for k, v in os.environ.items() if not k.startswith("KERAPORT_")}
    environ |= {"KERAPORT_MODELS_DIR": str(models), "COLUMNS": "200", **settings}
    done = subprocess.run(
        [sys.executable, "-m", "app", *map(str, arguments)],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_help_lists_the_commands() -> None:
    help_text = run("--help").stdout
    for command in ("serve", "check", "predict", "card", "add"):
        assert command in help_text
        assert "Usage:" in run(command, "--help").stdout


def test_a_wrong_setting_is_named() -> None:
    assert "KERAPORT_PORT" in run("serve", code=1, KERAPORT_PORT="many").stderr


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert port in run("serve", code=1, KERAPORT_PORT=port).stderr


def test_an_uploads_folder_that_cannot_be_written_is_refused_at_start(tmp_path: Path) -> None:
    """Root may write anywhere but where no file can be."""
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc")):
        done = run("serve", code=1, KERAPORT_PORT="0", KERAPORT_UPLOADS_DIR=str(folder))
        assert "KERAPORT_UPLOADS_DIR" in done.stderr
        assert str(folder) in done.stderr
        assert done.stdout == ""


def test_without_a_models_folder_no_address_is_announced(tmp_path: Path) -> None:
    done = run("serve", models=tmp_path / "none", code=1, KERAPORT_PORT="0")
    assert "KERAPORT_MODELS_DIR" in done.stderr
    assert done.stdout == ""


def test_check_lists_the_shipped_models_as_ready() -> None:
    done = run("check")
    assert done.stdout.count("ready") == 3
    for name in ("cats-dogs", "mpg", "patents"):
        assert name in done.stdout
    assert done.stderr.strip() == ""


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


def test_a_bad_file_does_not_stop_the_others(pictures: list[Path], tmp_path: Path) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_text("not a picture")
    done = run(
        "predict", "cats-dogs", "--csv", pictures[0], bad, tmp_path / "none", pictures[1], code=1
    )
    assert len(done.stdout.splitlines()) == 3
    assert f"{bad}: image:" in done.stderr
    assert f"{tmp_path / 'none'}: " in done.stderr


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


@pytest.mark.parametrize(("rescales", "scale"), [(False, "0..1"), (True, "none")])
def test_card_of_a_picture_model_says_its_scale(rescales: bool, scale: str, tmp_path: Path) -> None:
    """Also where it is the default: the file cannot tell, so it must be looked at."""
    save_picture_model(tmp_path / "model.keras", rescales=rescales)
    text = run("card", "--stdout", tmp_path / "model.keras").stdout
    assert yaml.safe_load(text)["input"]["scale"] == scale
    before = text.partition("scale:")[0]
    assert "Check this" in before
    assert "none, 0..1, -1..1, caffe, torch" in before


def test_card_of_a_bare_file_asks_for_a_folder(tmp_path: Path) -> None:
    shutil.copy(ROOT / "models" / "mpg" / "model.keras", tmp_path / "cars.keras")
    refused = run("card", tmp_path / "cars.keras", models=tmp_path, code=1)
    assert "cars/" in refused.stderr
    shown = run("card", "--stdout", tmp_path / "cars.keras", models=tmp_path)
    assert yaml.safe_load(shown.stdout)["task"] == "tabular-regression"
    assert [p.name for p in tmp_path.iterdir()] == ["cars.keras"]


def test_add_without_a_network_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    done = run("add", "mobilenet", models=tmp_path, code=1, KERAS_HOME=str(tmp_path / "keras"))
    assert "cannot be downloaded" in done.stderr
    assert not (tmp_path / "mobilenet").exists()


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
