"""What stands between fences in the documents, and the commands in it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

from tests.support import ROOT

# Decisions have no commands, and are tried for their links alone.
DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))


@dataclass(frozen=True)
class Block:
    """The text between two fences."""

    document: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


@dataclass(frozen=True)
class Command:
    """What a reader would type as one: lines that belong together are one command. `answer` is the
    JSON block that follows its block, if one does."""

    block: Block
    text: str
    answer: Block | None

    def __str__(self) -> str:
        return f"{self.block}: {self.text}"


def blocks(document: Path) -> list[Block]:
    """All blocks of a document, in their order."""
    name = str(document.relative_to(ROOT))
    return [
        Block(name, token.map[0] + 1, token.info.strip(), token.content)
        for token in MarkdownIt().parse(document.read_text(encoding="utf-8"))
        if token.type == "fence" and token.map
    ]


def blocks_of(language: str, *documents: Path) -> list[Block]:
    """Those of one language, of all documents or of these."""
    found = [block for document in documents or DOCUMENTS for block in blocks(document)]
    return [block for block in found if block.language == language]


def commands() -> list[Command]:
    """Every command of every document, in the order in which they are read."""
    found = []
    for document in DOCUMENTS:
        all_of_it = blocks(document)
        for block, after in zip(all_of_it, [*all_of_it[1:], None], strict=True):
            if block.language == "sh":
                answer = after if after is not None and after.language == "json" else None
                found += [Command(block, text, answer) for text in split(block.text)]
    return found


def split(script: str) -> list[str]:
    """The commands of a script, without its comments: a quote that is open, a `|`, `&&` or `\\` at
    the end of a line go on in the next."""
    found, waiting = [], ""
    for line in script.splitlines():
        waiting = f"{waiting}\n{line}" if waiting else line
        if waiting.lstrip().startswith("#"):
            waiting = ""
            continue
        if waiting.endswith("\\"):
            continue
        try:
            words = shlex.split(waiting, comments=True)
        except ValueError:  # an open quote
            continue
        if words and words[-1] in ("|", "&&"):
            continue
        if words:
            found.append(without_comment(waiting))
        waiting = ""
    assert not waiting, f"a command that does not end: {waiting}"
    return found


def without_comment(command: str) -> str:
    """Without what stands behind a `#` that is in no quotes."""
    for at, sign in enumerate(command):
        if sign == "#" and command[at - 1].isspace():
            try:
                shlex.split(command[:at])
            except ValueError:
                continue
            return command[:at].rstrip()
    return command
