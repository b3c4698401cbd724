"""No document leads to where nothing is, or names a target that the Makefile lacks."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.support import ROOT

DOCUMENTS = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "benchmarks/README.md",
    ROOT / "training/README.md",
    ROOT / "tests/data/README.md",
]
MARKDOWN = MarkdownIt().enable("table")
# As a command: `make run GPU=1`, `# or: make up`; not `apt-get install make curl`.
MAKE = re.compile(r"(?:^|[#:,;&|]) *make((?: +[\w=.-]+)+)", re.MULTILINE)
TARGET = re.compile(r"^([\w-]+):(?!=)", re.MULTILINE)


class _Sources(HTMLParser):
    """The addresses in a piece of HTML."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name in ("src", "srcset", "href")]


def tokens(document: Path) -> list[Token]:
    """All of them, those within lines too."""
    parsed = MARKDOWN.parse(document.read_text(encoding="utf-8"))
    return [each for token in parsed for each in (token, *(token.children or []))]


def links(document: Path) -> list[str]:
    """Whatever the document leads to or shows."""
    found = []
    for token in tokens(document):
        found += [str(token.attrs[name]) for name in ("href", "src") if name in token.attrs]
        if token.type in ("html_block", "html_inline"):
            html = _Sources()
            html.feed(token.content)
            found += html.found
    return found


def anchors(document: Path) -> set[str]:
    """What its headings are called in an address, as GitHub does it."""
    parsed = tokens(document)
    headings = [
        parsed[at + 1].content for at, token in enumerate(parsed) if token.type == "heading_open"
    ]
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: str(d.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    dead = []
    for link in links(document):
        parts = urlsplit(link)
        if parts.scheme:
            continue
        target = document.parent / parts.path if parts.path else document
        if not target.exists() or (parts.fragment and parts.fragment not in anchors(target)):
            dead.append(link)
    assert dead == []


def test_the_documents_are_found_from_the_first_page() -> None:
    wanted = set((ROOT / "docs").glob("*.md"))
    first = {(ROOT / urlsplit(link).path).resolve() for link in links(ROOT / "README.md")}
    assert wanted <= first


def targets_in(code: str) -> set[str]:
    """The targets of all commands of make in a piece of code."""
    return {
        word
        for words in MAKE.findall(code)
        for word in words.split()
        if not re.search("[=.]", word)
    }


def targets(document: Path) -> set[str]:
    """The targets of make that the document names, in code of any kind."""
    code = (t.content for t in tokens(document) if t.type in ("code_inline", "code_block", "fence"))
    return {target for piece in code for target in targets_in(piece)}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: str(d.relative_to(ROOT)))
def test_targets_of_make_exist(document: Path) -> None:
    existing = set(TARGET.findall((ROOT / "Makefile").read_text(encoding="utf-8")))
    assert targets(document) - existing == set()


def test_targets_of_make_are_seen() -> None:
    assert targets(ROOT / "CONTRIBUTING.md") >= {"check", "test", "test-all", "fuzz", "lock"}
    assert targets(ROOT / "README.md") >= {"run", "check", "restart", "logs", "ps", "down"}
    several = "make run GPU=1\nx  # or: make up\nmake PYTHON=python3 a b-c # d"
    assert targets_in(several) == {"run", "up", "a", "b-c"}
    assert targets_in("apt-get install git make curl; cmake x; remake y") == set()
