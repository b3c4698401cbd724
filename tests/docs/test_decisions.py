"""The index of the decisions is complete."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import pytest

from tests.support import ROOT

FOLDER = ROOT / "docs" / "decisions"
PAGES = sorted(path for path in FOLDER.iterdir() if path.name != "README.md")
ROW = re.compile(r"^\| (\d+) \| \[(.+)\]\((.+)\) \| (\d{4}-\d{2}-\d{2}) \| (.+) \|$", re.MULTILINE)
ROWS = ROW.findall((FOLDER / "README.md").read_text(encoding="utf-8"))


def test_every_decision_has_a_row() -> None:
    assert [name for _, _, name, _, _ in ROWS] == [path.name for path in PAGES]


def test_no_number_is_given_twice_or_left_out() -> None:
    assert [int(number) for number, *_ in ROWS] == list(range(1, len(PAGES) + 1))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name[:4])
def test_a_row_says_what_its_page_says(page: Path) -> None:
    number, title = next((n, t) for n, t, name, _, _ in ROWS if name == page.name)
    assert page.name.startswith(f"{int(number):04}-")
    assert page.read_text(encoding="utf-8").startswith(f"# {number}. {title}\n")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_row_has_a_date_and_a_status(row: tuple[str, ...]) -> None:
    date.fromisoformat(row[3])
    assert re.match(r"(accepted|rejected|superseded by \d+)\b", row[4])
    named = [int(number) for number in re.findall(r"\d+", row[4])]
    assert all(1 <= number <= len(PAGES) for number in named)
