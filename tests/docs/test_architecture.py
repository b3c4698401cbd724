"""docs/architecture.md draws imports that exist, and its walks name files that take part."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import cache

import pytest

from tests.support import ROOT
from tests.unit.test_layers import MODULES, imported_modules, layer_of

# Headings of the document to what tests/docs/trace.py calls the walk.
WALKS = {"A row": "row", "A picture": "picture", "A text": "text", "A model file": "model"}


DOCUMENT = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def named() -> dict[str, list[str]]:
    """The files of each walk, as its list links them."""
    walks = DOCUMENT.partition("\n## Walks\n")[2].partition("\n## ")[0]
    _, *sections = re.split(r"^### ", walks, flags=re.MULTILINE)
    return {
        heading: re.findall(r"^\d+\. \[([^]]+)\]", section, re.MULTILINE)
        for heading, section in (each.split("\n", 1) for each in sections)
    }


@cache
def run() -> dict[str, list[str]]:
    """The files that run in each walk."""
    program = [sys.executable, "-m", "tests.docs.trace"]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


def test_the_walks_are_those_that_are_tried() -> None:
    assert list(named()) == list(WALKS)
    assert all(len(files) > 5 for files in named().values())


@pytest.mark.parametrize("heading", WALKS)
def test_the_files_of_a_walk_are_there(heading: str) -> None:
    assert [path for path in named()[heading] if not (ROOT / path).is_file()] == []


@pytest.mark.parametrize("heading", WALKS)
def test_the_files_of_a_walk_take_part_in_it(heading: str) -> None:
    passed = run()[WALKS[heading]]
    assert [path for path in named()[heading] if path not in passed] == []


def test_a_file_that_takes_no_part_is_noticed() -> None:
    assert "app/serving/tasks/inputs/picture.py" not in run()["row"]
    assert "app/serving/tasks/inputs/fields.py" not in run()["picture"]
    assert not any("app/web/pages.py" in files for files in run().values())


def drawn() -> set[tuple[str, str]]:
    """The arrows between packages in the first drawing."""
    drawing = DOCUMENT.partition("```mermaid\n")[2].partition("```")[0]
    plain = re.sub(r'\["[^"]*"\]', "", drawing)
    arrows = [line.split(" --> ") for line in plain.splitlines() if " --> " in line]
    ends = ((tail.strip(), head.strip()) for tail, heads in arrows for head in heads.split(" & "))
    return set(ends)


def packages() -> set[tuple[str, str]]:
    """The imports between packages, by the names that the drawing has for them."""

    def name(module: str) -> str:
        layer = layer_of(module)
        # Files that lie directly in `app` or `app/serving` are shared by the packages above.
        if layer in ("", "serving"):
            return "shared"
        package, *inside = layer.split(".")
        return inside[0] if inside and package != "web" else package

    return {
        (name(module), name(other))
        for module, path in MODULES.items()
        for other in imported_modules(path)
        if layer_of(module) not in ("api", "__main__") and layer_of(other) != "api"
    }


def test_every_arrow_is_an_import() -> None:
    assert drawn() - packages() == set()


def test_every_import_between_packages_follows_the_arrows() -> None:
    arrows = drawn()

    def below(name: str) -> set[str]:
        heads = {head for tail, head in arrows if tail == name}
        return heads.union(*map(below, heads))

    wrong = {(tail, head) for tail, head in packages() if tail != head and head not in below(tail)}
    assert wrong == set()
