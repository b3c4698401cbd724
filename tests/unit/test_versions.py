"""Which versions are served, according to the card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.errors import CardError
from app.serving.cards.card import Card
from app.serving.cards.read import read_card
from app.serving.cards.versions import Canary, Policy, is_alias, version_number


@pytest.mark.parametrize(
    ("policy", "present", "failed", "wanted"),
    [
        (Policy(), {1, 2, 10}, set(), [10]),
        # The next lower one in place of what fails, and no further.
        (Policy(), {1, 2, 10}, {10}, [10, 2]),
        (Policy(), {1, 2, 10}, {10, 2}, [10, 2, 1]),
        (Policy(), {1, 2}, {1, 2}, [2, 1]),
        (Policy(), {1, 2}, {1}, [2]),
        (Policy(), set(), set(), []),
        (Policy(versions="all"), {1, 2, 10}, {10}, [10, 2, 1]),
        # A list is meant as it stands, also what has no folder, as long as any of it can be served.
        (Policy(versions=(1, 3)), {1, 2, 4}, set(), [3, 1]),
        (Policy(versions=(1, 3)), {1, 2, 3, 4}, {3}, [3, 1]),
        (Policy(versions=(3,)), {2, 3}, {3}, [3, 2]),
        (Policy(versions=(22,)), {1, 2}, set(), [22, 2]),
        (Policy(versions=(22,)), {1, 2}, {22, 2}, [22, 2, 1]),
        (Policy(versions=(22,), aliases={"old": 1}), {1, 2}, set(), [22, 2, 1]),
        (Policy(versions=(22,), canary=Canary(version=2, percent=5)), {1, 2}, set(), [22, 1, 2]),
        (Policy(versions=(22,), canary=Canary(version=2, percent=5)), {2}, set(), [22, 2]),
        # What is named otherwise is served besides.
        (Policy(aliases={"old": 1, "older": 1}), {1, 2, 3}, set(), [3, 1]),
        (Policy(aliases={"new": 3}), {1, 2, 3}, set(), [3]),
        (Policy(aliases={"gone": 9}), {1}, set(), [1, 9]),
        # The latest is the highest that is not the canary.
        (Policy(canary=Canary(version=3, percent=5)), {1, 2, 3}, set(), [2, 3]),
        (Policy(canary=Canary(version=2, percent=5)), {1, 2, 3}, set(), [3, 2]),
        (Policy(canary=Canary(version=3, percent=5)), {1, 2, 3}, {2}, [2, 1, 3]),
        (Policy(canary=Canary(version=3, percent=5)), {3}, set(), [3]),
        (Policy(versions="all", canary=Canary(version=3, percent=5)), {1, 3}, set(), [1, 3]),
    ],
)
def test_what_is_served(
    policy: Policy, present: set[int], failed: set[int], wanted: list[int]
) -> None:
    assert policy.wanted(present, failed) == wanted


@pytest.mark.parametrize(
    ("policy", "serving", "wanted"),
    [
        # A wrong number changes nothing that is served.
        (Policy(versions=(22,)), 1, [22, 1]),
        # Unless that has gone, or there is a right one, too.
        (Policy(versions=(22,)), 9, [22, 3]),
        (Policy(versions=(22, 2)), 1, [22, 2]),
        (Policy(), 1, [3]),
    ],
)
def test_the_current_version_answers_while_a_list_has_nothing_to_serve(
    policy: Policy, serving: int, wanted: list[int]
) -> None:
    assert policy.wanted({1, 2, 3}, set(), serving) == wanted


@pytest.mark.parametrize(
    ("policy", "present", "default"),
    [
        (Policy(), {1, 2}, [2, 1]),
        (Policy(versions=(1,), aliases={"new": 3}), {1, 2, 3}, [1]),
        (Policy(versions="all", canary=Canary(version=2, percent=0)), {1, 2}, [1]),
        (Policy(canary=Canary(version=2, percent=0)), {2}, [2]),
    ],
)
def test_what_answers_by_default(policy: Policy, present: set[int], default: list[int]) -> None:
    assert policy.default_candidates(present) == default


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("3", 3),
        ("00000123", 123),
        ("9" * 15, 10**15 - 1),
        ("9" * 16, None),
        ("", None),
        ("-1", None),
        ("+1", None),
        ("1.0", None),
        ("1_0", None),
        (" 1", None),
        ("1\n", None),
        ("٣", None),
    ],
)
def test_numbers_of_versions(text: str, number: int | None) -> None:
    assert version_number(text) == number


@pytest.mark.parametrize("text", ["stable", "v3", "3.1", "-", "a" * 100, "2026-11"])
def test_aliases(text: str) -> None:
    assert is_alias(text)


@pytest.mark.parametrize("text", ["", "3", "007", "a b", "a/b", "ü", "a" * 101, "a\n"])
def test_what_is_no_alias(text: str) -> None:
    assert not is_alias(text)


def _read(folder: Path, text: str) -> Card:
    (folder / "model.yaml").write_text(f"task: tensor\n{text}\n")
    card = read_card(folder)
    assert card is not None
    return card


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("", "versions", "latest"),
        ("versions: all", "versions", "all"),
        ("versions: [3, 1]", "versions", (3, 1)),
        ("versions: [0, 999999999999999]", "versions", (0, 10**15 - 1)),
        ("aliases: {stable: 3, v4.1: 4}", "aliases", {"stable": 3, "v4.1": 4}),
        ("canary: {version: 4, percent: 0}", "canary", Canary(version=4, percent=0)),
        ("canary: {version: 4, percent: 2.5}", "canary", Canary(version=4, percent=2.5)),
        ("canary: {version: 4, percent: 100}", "canary", Canary(version=4, percent=100)),
    ],
)
def test_the_keys_of_the_card(tmp_path: Path, text: str, key: str, value: Any) -> None:
    assert getattr(_read(tmp_path, text), key) == value


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("versions: newest", "versions: expected 'latest' or 'all' or a list"),
        ("versions: []", "versions: the list is empty"),
        ("versions: [1, x]", r"versions\[1\]: expected a whole number"),
        ("versions: [-1]", r"versions\[0\]: expected greater than or equal to 0"),
        ("versions: [1000000000000000]", r"versions\[0\]: expected less than"),
        ("aliases: {3: 3}", "'3' cannot name a version: use letters"),
        ("aliases: {a b: 3}", "'a b' cannot name a version"),
        ("aliases: {stable: new}", "aliases.stable: expected a whole number"),
        ("canary: {version: 4, percent: 100.1}", "canary.percent: expected less than or equal"),
        ("canary: {version: 4, percent: -0.1}", "canary.percent: expected greater than or equal"),
        ("canary: {version: 4}", "the key 'canary.percent' is missing"),
        ("canary: {version: 4, percent: 5, share: 5}", "unknown key 'canary.share'"),
    ],
)
def test_mistakes_in_them(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(CardError, match=says):
        _read(tmp_path, text)
