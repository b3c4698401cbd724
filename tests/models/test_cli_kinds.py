"""Models of several inputs and outputs on the command line."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from tests.command_line import CommandLine
from tests.couple import check, row, text
from tests.examples import save_examples
from tests.kinds import grey, save_kinds
from tests.time_kinds import save_time_kinds


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_kinds(tmp_path_factory.mktemp("kinds") / "models")


def test_predict_reads_requests_that_name_their_pictures(
    command_line: CommandLine, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "left.png").write_bytes(grey(51))
    body = {**row(), "left": "left.png"}
    (tmp_path / "row.json").write_text(json.dumps([body, row(weight=1)]))
    run = command_line.run(folder, "predict", "couple", str(tmp_path / "row.json"), "--json")
    assert run.returncode == 0, run.stderr
    first, second = json.loads(run.stdout)["predictions"]
    check(first)
    check(second, weight=1)
    run = command_line.run(folder, "predict", "couple", str(tmp_path / "row.json"), "--csv")
    table = [*csv.DictReader(io.StringIO(run.stdout))]
    assert [line["age"] for line in table] == ["47.2", "8.2"]
    assert [line["gender"] for line in table] == ["female", "male"]
    assert float(table[0]["gender probability"]) == pytest.approx(1)


def test_predict_says_what_a_request_for_several_inputs_is(
    command_line: CommandLine, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "left.png").write_bytes(grey(51))
    run = command_line.run(folder, "predict", "couple", str(tmp_path / "left.png"))
    assert 'expected a .json file, {"left": …, "right": …, "facts": …}' in run.stderr
    assert "left and right may name picture files beside it" in run.stderr
    (tmp_path / "row.json").write_text(json.dumps([row(), {**row(), "left": "lft.png"}]))
    run = command_line.run(folder, "predict", "couple", str(tmp_path / "row.json"))
    assert "[1].left: there is no such file beside row.json" in run.stderr
    assert "found lft.png" in run.stderr


@pytest.mark.parametrize("key", ["image", "face"])
def test_predict_reads_the_only_picture_from_json(
    command_line: CommandLine, folder: Path, tmp_path: Path, key: str
) -> None:
    (tmp_path / "face.png").write_bytes(grey(200))
    (tmp_path / "faces.json").write_text(json.dumps([{key: "face.png"}, {key: text(grey(200))}]))
    run = command_line.run(folder, "predict", "ages", str(tmp_path / "faces.json"), "--json")
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["predictions"] == [{"age": 1.0}] * 2


def test_predict_reads_a_table_of_several_inputs(
    command_line: CommandLine, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "t.csv").write_text("a,b,c\n1,2,3\n4,5,6\n")
    run = command_line.run(folder, "predict", "tables", str(tmp_path / "t.csv"), "--csv")
    assert run.returncode == 0, run.stderr
    table = [*csv.DictReader(io.StringIO(run.stdout))]
    assert [(line["sum"], line["corner x"], line["corner y"]) for line in table] == [
        ("6.0", "1.0", "3.0"),
        ("15.0", "4.0", "6.0"),
    ]
    (tmp_path / "t.csv").write_text("a,b,c\n1,2,3\n4,5,x\n")
    run = command_line.run(folder, "predict", "tables", str(tmp_path / "t.csv"))
    assert run.returncode == 1
    assert "line 3: c: wrong type" in run.stderr


def test_check_and_card_say_what_is_a_guess(command_line: CommandLine, folder: Path) -> None:
    run = command_line.run(folder, "check", str(folder))
    assert "2 pictures, fields → number, classes, vector" in run.stdout
    guess = "the input scale 0..1 of left is a guess (the file does not show it)"
    assert f"{guess}: set inputs.left.scale" in run.stdout
    run = command_line.run(folder, "card", str(folder / "bare.keras"), "--stdout")
    assert run.returncode == 0, run.stderr
    mark = "# Check this: the kinds of the inputs (2 pictures, fields) are a guess.\ninputs:\n"
    assert mark in run.stdout
    lines = run.stdout.partition("  left:\n")[2].splitlines()
    at = lines.index("    # scale: 0..1  # remove the first # once you know")
    assert lines[at - 2] == "    # Check this, the scale is a guess: the file does not show it."


def test_check_says_that_a_series_is_a_guess(command_line: CommandLine, tmp_path: Path) -> None:
    save_time_kinds(tmp_path, ("forecast",))
    run = command_line.run(tmp_path, "check", str(tmp_path / "forecast"))
    assert "series → number" in run.stdout
    assert "the kinds of the inputs (series) are a guess: set inputs" in run.stdout


def test_check_asks_about_each_example(command_line: CommandLine, tmp_path: Path) -> None:
    folder = save_examples(tmp_path / "models")
    done = command_line.run(folder, "check", folder, "--json")
    assert done.returncode == 0, done.stderr
    found = {each["name"]: each for each in json.loads(done.stdout)["models"]}
    counts = {"spot": 2, "couple": 1, "tables": 2, "lists": 1, "writer": 2, "review": 1}
    assert {name: found[name]["examples"] for name in counts} == counts
    assert not any(each["problems"] for each in found.values())
