"""The table that `check` prints."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from app.listing import listing
from app.serving.card import Card
from app.serving.entry import Entry, Group
from tests.unit.signatures import signature, spec

REASON = "a reason that is longer than any terminal is wide, but must stay readable: " + "x" * 60


def _entries() -> list[Entry]:
    model: Any = SimpleNamespace(signature=signature(spec("picture", shape=(None, 150, 150, 3))))
    ready = Entry(Group("cats-dogs"), path=Path("a"), state="ready", model=model)
    ready.card = Card(task="image-classification")
    return [ready, Entry(Group("bad"), 12, Path("b"), state="failed", reason=REASON)]


def test_a_wide_terminal_shows_inputs_and_outputs() -> None:
    head, first, second, reason = listing(_entries(), 200).splitlines()
    assert head.split()[:5] == ["model", "version", "task", "state", "parameters"]
    assert head.endswith("inputs → outputs")
    assert first.endswith("picture float32[any, 150, 150, 3] → y float32[any, 1]")
    assert second.split() == ["bad", "12", "failed"]
    assert reason.strip() == REASON


def test_a_narrow_terminal_shows_a_line_a_model_and_no_less() -> None:
    """Also what is piped: 80 columns are assumed where there is no terminal."""
    head, first, second, reason = listing(_entries(), 80).splitlines()
    assert first.split() == ["cats-dogs", "1", "image-classification", "ready"]
    assert second.split() == ["bad", "12", "failed"]
    assert max(map(len, (head, first, second))) <= 80
    assert reason.strip() == REASON
    # The columns stand under their names.
    assert head.index("state") == first.index("ready") == second.index("failed")


def test_the_table_is_as_wide_as_the_terminal_at_most() -> None:
    longest = max(map(len, listing(_entries(), 1000).splitlines()[:3]))
    for width, shown in ((longest, True), (longest - 1, False)):
        assert ("→" in listing(_entries(), width)) is shown
