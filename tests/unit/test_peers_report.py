"""What is written about the peers of the benchmark."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import click
import pytest

from benchmarks.peers import cases
from benchmarks.peers.contestants import (
    CONTESTANTS,
    KERAPORT,
    KERAPORT_BF16,
    KERAPORT_TWO,
    TRITON,
)
from benchmarks.peers.plot import svg
from benchmarks.peers.publish import BEGIN, END, README, between, publish
from benchmarks.peers.results import BOUND, OURS, PEER, Cell, Missing, Ratio, Run, Sample, best
from benchmarks.peers.tables import markdown
from benchmarks.peers.targets import TARGETS, outcomes

ABOUT = {
    "date": "2026-01-02",
    "cores": 2,
    "processor": "A processor",
    "seconds": 4,
    "rounds": 2,
    "versions": {"Keraport": "1.0", "litserve": "0.2"},
}


def a_sample(rate: float, lost: float = 0.0) -> Sample:
    return Sample(rate, 1000 / rate, 2000 / rate, 1.25, 500.0, lost)


def cell(name: str, role: str, *rates: float, where: str = "row", processes: int = 1) -> Cell:
    return Cell(where, 32, name, role, processes, [a_sample(rate) for rate in rates])


def a_run(*cells: Cell) -> Run:
    return Run(ABOUT, list(cells))


def test_ratios_are_of_the_same_round() -> None:
    ratio = Ratio.of(cell("a", OURS, 100, 300, 200), cell("b", PEER, 100, 100, 100))
    assert (ratio.value, str(ratio)) == (2.0, "2.00 (1.00 to 3.00)")
    assert str(Ratio.of(cell("a", OURS, 3), cell("b", PEER, 2))) == "1.50"
    assert Ratio.of(cell("a", OURS, 3), cell("b", PEER, 0.0001)).value > 1000


def test_the_best_peer_has_the_highest_median_and_is_a_peer() -> None:
    cells = [
        cell("Keraport", OURS, 900, 900),
        cell("steady", PEER, 100, 110),
        cell("lucky", PEER, 10, 180),
        cell("both", PEER, 300, 300, processes=2),
        cell("floor", BOUND, 9000, 9000),
    ]
    assert [getattr(best(cells, n), "contestant", None) for n in (None, 1, 2, 3)] == [
        "both",
        "steady",
        "both",
        None,
    ]


def test_a_run_is_read_as_it_was_saved(tmp_path: Path) -> None:
    run = a_run(cell("Keraport", OURS, 100, 110))
    run.cells[0].samples[0] = replace(a_sample(5), p50_ms=None, cpu_s=None)  # type: ignore[index]
    run.missing.append(Missing("Triton", "row", None, "no wheel"))
    run.save(tmp_path / "run.json")
    assert Run.read(tmp_path / "run.json") == run


def test_cases_measured_again_replace_those_of_before() -> None:
    old = a_run(cell("a", PEER, 1), cell("a", PEER, 2, where="CNN"))
    old.missing += [Missing("b", "row", None, "old"), Missing("b", "CNN", None, "kept")]
    new = Run({"date": "later"}, [cell("a", PEER, 3)])
    both = old.replaced_by(new)
    assert [(each.case, each.rates) for each in both.cells] == [("CNN", [2]), ("row", [3])]
    assert [each.reason for each in both.missing] == ["kept"]
    assert both.about == new.about


@pytest.fixture
def run() -> Run:
    found = a_run(
        cell(KERAPORT, OURS, 200, 220),
        cell(KERAPORT_TWO, OURS, 390, 410, processes=2),
        cell("FastAPI", PEER, 100, 100),
        cell(TRITON, PEER, 400, 400, processes=2),
        cell("no model: Flask on pywsgi", BOUND, 2000, 2000),
        cell(KERAPORT, OURS, 90, 90, where="CNN"),
        cell("a <b> & c", PEER, 40, 40, where="CNN"),
    )
    found.cells.append(Cell("CNN", 256, "FastAPI", PEER, 1, [a_sample(30, lost=0.125)] * 2))
    found.missing.append(Missing("BentoML", "row", None, "No module | named `bentoml`"))
    return found


def test_rows_in_which_a_peer_wins_are_shown_as_such(run: Run) -> None:
    text = markdown(run)
    assert "| row | 32 | Triton | 400 | **0.53 (0.50 to 0.55)** | 1.00 (0.97 to 1.02) |" in text
    assert "| CNN | 32 | a <b> & c | 40.0 | 2.25 (2.25 to 2.25) | not measured |" in text
    assert "| 32 | FastAPI | 100 | 0.25 (0.25 to 0.25) | 10.0 | 20.0 | 1.25 | 500 |" in text
    assert "30.0, 12.5 % lost" in text


def test_who_is_missing_is_named_with_the_reason(run: Run) -> None:
    assert "| BentoML | row | all | `No module \\| named 'bentoml'` |" in markdown(run)
    run.missing.clear()
    assert "Not measured" not in markdown(run)


def test_targets_are_met_or_not(run: Run) -> None:
    met = {(o.target.contestant, o.other.contestant): o.reached for o in outcomes(run)}
    assert met == {
        (KERAPORT, "FastAPI"): True,  # the best with one process
        (KERAPORT, "no model: Flask on pywsgi"): False,
        (KERAPORT_TWO, TRITON): False,
        (KERAPORT, "a <b> & c"): True,
    }
    text = markdown(run)
    assert "| the best peer with one process: FastAPI | 2.00 | 2.10 (2.00 to 2.20) | yes |" in text
    assert "| row | Keraport, 2 processes | Triton | 1.50 | 1.00 (0.97 to 1.02) | **no** |" in text


def test_targets_name_cases_and_contestants_that_exist() -> None:
    names = {contestant.name for contestant in CONTESTANTS}
    for target in TARGETS:
        assert target.case in cases.NAMES
        assert target.contestant in names
        assert target.against in names or target.against.startswith("the best peer")
    assert {KERAPORT, KERAPORT_TWO, KERAPORT_BF16} <= names


def test_a_run_without_peers_has_tables_all_the_same() -> None:
    text = markdown(a_run(cell(KERAPORT, OURS, 200, 220)))
    assert "| 32 | Keraport | 210 |  | 4.77 |" in text
    assert "multiple of" not in text


def test_the_plot_is_svg_for_light_and_dark_with_every_contestant(run: Run) -> None:
    drawn = svg(run)
    root = ElementTree.fromstring(drawn)
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    for name in ("row", "CNN", KERAPORT, KERAPORT_TWO, "FastAPI", TRITON, "a <b> & c", "0.25"):
        assert name in texts
    assert "5.00 →" in texts  # a bound beyond the fastest server is cut off
    assert "@media (prefers-color-scheme: dark)" in drawn
    assert not re.search(r"(?:href|src|url)\b", drawn)
    width = float(root.attrib["width"])
    for bar in root.iter("{http://www.w3.org/2000/svg}rect"):
        assert float(bar.attrib["x"]) + float(bar.attrib["width"]) <= width
    assert root.attrib["aria-label"]


def test_a_plot_of_nothing_is_svg() -> None:
    ElementTree.fromstring(svg(a_run()))
    ElementTree.fromstring(svg(a_run(cell(KERAPORT, OURS, 1))))


def test_results_stand_between_the_markers(run: Run, tmp_path: Path) -> None:
    text = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert between(text, "new") == f"before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"
    assert between(between(text, "one"), "new") == between(text, "new")
    readme, plot = tmp_path / "README.md", tmp_path / "peers.svg"
    readme.write_text(text)
    publish(run, readme, plot)
    assert "![" in readme.read_text()
    assert "(peers.svg)" in readme.read_text()
    assert plot.read_text() == svg(run)
    for broken in ("", BEGIN, f"{END} {BEGIN}"):
        with pytest.raises(click.ClickException, match="the README lacks"):
            between(broken, "new")


def test_the_readme_has_a_place_for_them() -> None:
    text = README.read_text(encoding="utf-8")
    assert text.count(BEGIN) == text.count(END) == 1
    between(text, "new")
