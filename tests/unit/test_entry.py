"""Which version answers for its model, and how the others are described."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, cast

import pytest

from app.api.native.describe import model_summary
from app.errors import ModelNotFound, ModelUnavailable
from app.serving.cards.versions import Canary, Policy
from app.serving.registry.entry import Entry, Group, State
from app.serving.registry.registry import Registry


def _group(states: dict[int, State], policy: Policy | None = None) -> Group:
    group = Group("m")
    group.policy = policy or Policy()
    group.present = frozenset(states)
    for version, state in states.items():
        group.put(_entry(group, version, state))
    return group


def _entry(group: Group, version: int, state: State) -> Entry:
    reason = f"reason {version}" if state == "failed" else None
    home = Path("m")
    return Entry(group, version, home / str(version), home, state=state, reason=reason)


@pytest.mark.parametrize(
    ("states", "default"),
    [
        ({1: "ready", 2: "ready"}, 2),
        ({1: "ready", 2: "loading"}, 1),
        ({1: "ready", 2: "failed"}, 1),
        ({1: "failed", 2: "loading"}, 2),
        ({1: "loading", 2: "failed"}, 1),
        ({1: "failed", 2: "failed"}, 2),
    ],
)
def test_the_highest_that_is_ready_answers(states: dict[int, State], default: int) -> None:
    assert _group(states).default.version == default


def test_neither_the_canary_nor_what_is_only_named_answers_by_default() -> None:
    canary = Policy(canary=Canary(version=3, percent=50))
    assert _group({2: "ready", 3: "ready"}, canary).default.version == 2
    assert _group({2: "failed", 3: "ready"}, canary).default.version == 2
    listed = Policy(versions=(1,), aliases={"new": 2})
    assert _group({1: "ready", 2: "ready"}, listed).default.version == 1


def test_the_last_one_answers_until_another_is_ready() -> None:
    """Even if its folder is gone or the card has changed: no request stays without an answer."""
    group = _group({3: "ready"})
    group.present = frozenset({2})
    group.put(_entry(group, 2, "loading"))
    assert group.default.version == 3
    group.put(_entry(group, 2, "failed"))
    assert group.default.version == 3
    group.put(_entry(group, 2, "ready"))
    assert group.default.version == 2


def test_where_the_policy_names_nothing_that_is_ready_another_stands_in() -> None:
    wrong = Policy(versions=(22,))
    assert _group({22: "failed", 1: "failed", 2: "ready"}, wrong).default.version == 2
    assert _group({1: "loading", 22: "failed"}, wrong).default.version == 1
    assert _group({1: "failed", 22: "failed"}, wrong).default.version == 22
    # The version that answered before continues.
    group = _group({1: "ready"})
    group.present, group.policy = frozenset({1, 2}), wrong
    group.put(_entry(group, 2, "ready"))
    group.put(_entry(group, 22, "failed"))
    assert group.default.version == 1
    # Unless its folder is gone.
    group.present = frozenset({2})
    group.choose()
    assert group.default.version == 2


def test_nothing_is_unloaded_before_another_answers() -> None:
    group = _group({1: "ready", 2: "ready"})
    assert group.may_unload(1)
    group.policy = Policy(versions=(22,))
    group.put(_entry(group, 22, "failed"))
    assert not group.may_unload(1)
    group.present = frozenset({2})
    assert group.may_unload(1)  # what is gone cannot be kept in any case
    group.present = frozenset()
    assert not group.may_unload(1)
    group.present = frozenset({1, 2, 22})
    group.put(_entry(group, 22, "ready"))
    assert group.may_unload(1)
    assert group.may_unload(2)


def test_a_version_that_is_loaded_again_replaces_itself() -> None:
    group = _group({3: "ready"})
    group.present = frozenset()
    fresh = _entry(group, 3, "ready")
    group.put(fresh)
    assert group.default is fresh


def test_numbers_and_aliases_are_found() -> None:
    group = _group({1: "ready", 2: "failed"}, Policy(aliases={"stable": 1, "gone": 9}))
    assert group.pick(1) is group.pick("stable") is group.versions[1]
    assert group.pick(2) is group.versions[2]
    for unknown in (3, "new", "gone"):
        with pytest.raises(ModelNotFound, match=r"the versions are: 1, 2; the aliases are: stable"):
            group.pick(unknown)


def test_a_version_that_is_there_but_not_served_says_why() -> None:
    group = _group({2: "ready"})
    group.present = frozenset({1, 2})
    said = "version 1 of the model 'm' is there but not served, for its card says 'versions: {}'; "
    with pytest.raises(ModelNotFound, match=re.escape(said.format("latest"))):
        group.pick(1)
    group.policy = Policy(versions=(2, 3))
    with pytest.raises(ModelNotFound, match=re.escape(said.format("[2, 3]"))):
        group.pick(1)
    with pytest.raises(ModelNotFound, match="does not have version 3; the versions are: 2"):
        group.pick(3)


def test_what_failed_says_all_that_is_wrong() -> None:
    group = _group({1: "failed"})
    group.problem = "the card is wrong"
    with pytest.raises(ModelUnavailable, match="failed to load: reason 1; the card is wrong"):
        group.default.ready_model()


def test_what_is_wrong_with_others_is_said_by_the_default_alone() -> None:
    group = _group({1: "failed", 2: "ready", 3: "failed"})
    assert group.versions[2].trouble == "version 1: reason 1; version 3: reason 3"
    assert group.versions[3].trouble == "reason 3"
    assert model_summary(group.versions[2])["versions"] == [
        {"version": 1, "state": "failed", "reason": "reason 1"},
        {"version": 2, "state": "ready"},
        {"version": 3, "state": "failed", "reason": "reason 3"},
    ]


def test_a_card_that_cannot_be_read_is_said_once() -> None:
    group = _group({1: "ready"})
    group.problem = "the card is wrong"
    assert group.trouble == "the card is wrong"
    group.versions[1].reason = "not served: the card is wrong"
    assert group.trouble == "not served: the card is wrong"


def test_what_is_not_ready_says_why() -> None:
    group = _group({1: "failed", 2: "loading"})
    with pytest.raises(ModelUnavailable, match=r"'m \(version 1\)' failed to load: reason 1"):
        group.versions[1].ready_model()
    with pytest.raises(ModelUnavailable, match=r"'m \(version 2\)' is still loading"):
        group.versions[2].ready_model()


def test_the_label_names_the_version_of_numbered_folders_only() -> None:
    group = Group("m")
    assert Entry(group, 3, Path("m/3"), Path("m")).label == "m (version 3)"
    assert Entry(group, 3).label == "m (version 3)"
    assert Entry(group, 1, Path("m"), Path("m")).label == "m"
    assert Entry(group, 1, Path("m.h5")).label == "m"


@pytest.mark.parametrize("percent", [0, 25, 100])
def test_the_canary_has_its_share(percent: float) -> None:
    """Of the requests that name no version; none of the others."""
    group = _group({1: "ready", 2: "ready"}, Policy(canary=Canary(version=2, percent=percent)))
    for entry in group.versions.values():
        entry.model = cast(Any, object())
    registry = Registry()
    with registry.changing() as groups:
        groups["m"] = group

    def answering(version: int | None = None, *, canary: bool = True) -> int:
        with registry.leased("m", version, canary=canary):
            (found,) = (entry for entry in group.versions.values() if entry.leases)
            return found.version

    count, share = 2000, percent / 100
    chosen = sum(answering() == 2 for _ in range(count))
    # Five standard deviations of a binomial: once in two million runs by chance.
    assert abs(chosen - count * share) <= 5 * (count * share * (1 - share)) ** 0.5
    assert {answering(1) for _ in range(50)} == {1}
    assert {answering(canary=False) for _ in range(50)} == {1}
