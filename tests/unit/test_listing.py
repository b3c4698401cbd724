"""The table that `check` prints."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from app.cli.footprint import Footprint
from app.cli.listing import document, listing
from app.cli.offline import CheckedVersion
from app.serving.cards.card import Card
from app.serving.registry.entry import Entry, Group
from tests.unit.signatures import signature, spec

REASON = "a reason that is longer than any terminal is wide, but must stay readable: " + "x" * 60


GUESS = "the labels 0, 1, … are a guess: set labels"


def _entries() -> list[CheckedVersion]:
    model: Any = SimpleNamespace(signature=signature(spec("picture", shape=(None, 150, 150, 3))))
    ready = Entry(Group("cats-dogs"), path=Path("a"), state="ready", model=model)
    ready.card = Card(task="image-classification")
    bad = Entry(Group("bad"), 12, Path("b"), state="failed", reason=REASON)
    return [
        CheckedVersion(ready, Footprint(1.26, 1_260_000_000, 81_900_000), [GUESS]),
        CheckedVersion(bad, Footprint(0.5, 900_000_000, 0), []),
    ]


def test_a_wide_terminal_shows_inputs_and_outputs() -> None:
    head, first, took, guess, second, reason = listing(_entries(), 200).splitlines()
    assert head.split()[:5] == ["model", "version", "task", "state", "parameters"]
    assert head.endswith("inputs → outputs")
    assert first.endswith("picture float32[any, 150, 150, 3] → y float32[any, 1]")
    assert took.strip() == "1.3 s to load, 1.3 GB at most, 82 MB while serving"
    assert guess.strip() == GUESS
    assert second.split() == ["bad", "12", "failed"]
    assert reason.strip() == REASON


def test_a_narrow_terminal_shows_a_line_a_model_and_no_less() -> None:
    """Also what is piped: 80 columns are assumed where there is no terminal."""
    head, first, _, _, second, reason = listing(_entries(), 80).splitlines()
    assert first.split() == ["cats-dogs", "1", "image-classification", "ready"]
    assert second.split() == ["bad", "12", "failed"]
    assert max(map(len, (head, first, second))) <= 80
    assert reason.strip() == REASON
    # The columns stand under their names.
    assert head.index("state") == first.index("ready") == second.index("failed")


def test_the_table_is_as_wide_as_the_terminal_at_most() -> None:
    longest = max(map(len, listing(_entries(), 1000).splitlines()[:2]))
    for width, shown in ((longest, True), (longest - 1, False)):
        assert ("→" in listing(_entries(), width)) is shown


def test_a_system_that_does_not_tell_the_memory_shows_the_time_alone() -> None:
    ready = CheckedVersion(_entries()[0].entry, Footprint(2.0), [])
    assert listing([ready], 80).splitlines()[2].strip() == "2.0 s to load"


def test_the_document_for_programs() -> None:
    found = document(_entries(), ["a warning"])
    ready, bad = found["models"]
    assert found["warnings"] == ["a warning"]
    assert (ready["name"], ready["state"], ready["task"]) == (
        "cats-dogs",
        "ready",
        "image-classification",
    )
    assert (ready["seconds"], ready["peak_bytes"], ready["serving_bytes"]) == (
        1.26,
        1_260_000_000,
        81_900_000,
    )
    assert ready["guesses"] == [GUESS]
    assert ready["inputs"][0]["shape"] == [None, 150, 150, 3]
    assert (bad["state"], bad["reason"], bad["serving_bytes"]) == ("failed", REASON, None)
    assert bad["inputs"] is bad["task"] is None
