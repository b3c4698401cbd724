"""Versions of a model are added, removed and chosen by the card while the server runs."""

from __future__ import annotations

import shutil
from pathlib import Path

import httpx

from tests.http.reloading import (
    ROWS,
    Served,
    put,
    serving,
    write_card,
)
from tests.support import eventually


def test_a_new_version_takes_over_and_a_removed_one_gives_back(m: Served) -> None:
    put(m.folder / "1", 1)
    write_card(m.folder)
    m.await_ready()
    put(m.folder / "2", 2)
    m.await_answer(2, 2)
    eventually(lambda: m.states == {2: "ready"})
    shutil.rmtree(m.folder / "2")
    m.await_answer(1, 1)
    eventually(lambda: m.states == {1: "ready"})
    assert m.events == [
        "(version 1) ready",
        "(version 2) ready",
        "(version 1) unloaded",
        "(version 1) ready",
        "(version 2) unloaded",
    ]


def test_a_broken_new_version_leaves_the_old_one(m: Served, tmp_path: Path) -> None:
    put(m.folder / "3", 3)
    write_card(m.folder)
    m.await_ready()
    (m.folder / "4").mkdir()
    (m.folder / "4/model.keras").write_text("no model")
    eventually(lambda: m.states == {3: "ready", 4: "failed"})

    # Also over a restart.
    models = tmp_path / "models"
    models.mkdir()
    (models / m.name).symlink_to(m.folder)
    with serving(models, tmp_path) as server:
        for each in (m, Served(server, m.folder.parent, m.name)):
            assert each.ask() == (3, 3)
            found = each.about()
            assert each.states == {3: "ready", 4: "failed"}
            assert found["reason"] == f"version 4: {found['versions'][1]['reason']}"
            refused = each.server.post(f"/api/{m.name}?version=4", json=ROWS)
            assert refused.status_code == 503
            assert "(version 4)' failed to load" in refused.json()["error"]["message"]

    put(m.folder / "4", 4)
    m.await_answer(4, 4)
    eventually(lambda: m.states == {4: "ready"})


def test_versions_by_number_and_alias(m: Served) -> None:
    for version in (1, 2, 3, 4):
        put(m.folder / str(version), version)
    write_card(m.folder, versions=[2, 9], aliases={"stable": 1, "next": 4, "lost": 8})
    served = {1: "ready", 2: "ready", 4: "ready", 8: "failed", 9: "failed"}
    eventually(lambda: m.is_known and m.states == served)
    assert m.ask() == (2, 2)
    for wanted, version in (("1", 1), ("004", 4), ("stable", 1), ("next", 4), ("2", 2)):
        assert m.ask(f"?version={wanted}") == (version, version)
        found = m.about(f"?version={wanted}")
        assert (found["version"], found["state"]) == (version, "ready")
    found = m.about()
    assert found["aliases"] == {"stable": 1, "next": 4, "lost": 8}
    assert f"version 9: there is no folder {m.name}/9, which the card names" in found["reason"]
    assert "aliases" not in found["card"]
    listed = {each["name"]: each for each in m.server.get("/api/models").json()["models"]}
    assert listed[m.name]["versions"] == found["versions"]
    page = m.server.get(f"/models/{m.name}").text
    assert "1 (ready, called stable)" in page
    assert "2 (ready, answers by default)" in page
    assert "8 (failed, called lost)" in page


def test_a_wrong_number_in_the_card_takes_nothing_down(m: Served, tmp_path: Path) -> None:
    for version in (1, 2, 3):
        put(m.folder / str(version), version)
    write_card(m.folder, versions=[2, 1])
    eventually(lambda: m.is_known and m.states == {1: "ready", 2: "ready"})
    events = m.events
    write_card(m.folder, versions=[22])
    eventually(lambda: m.states == {1: "ready", 2: "ready", 22: "failed"})
    reason = f"version 22: there is no folder {m.name}/22, which the card names"
    assert m.about()["reason"] == reason
    assert (m.ask(), m.ask("?version=1")) == ((2, 2), (1, 1))

    # After a restart no one knows what was served: it is the latest then, for the same reason.
    models = tmp_path / "models"
    models.mkdir()
    (models / m.name).symlink_to(m.folder)
    with serving(models, tmp_path) as server:
        restarted = Served(server, m.folder.parent, m.name)
        assert restarted.ask() == (3, 3)
        assert restarted.states == {3: "ready", 22: "failed"}
        assert restarted.about()["reason"] == reason
    assert m.ask() == (2, 2)

    write_card(m.folder, versions=[3])
    m.await_answer(3, 3)
    eventually(lambda: m.states == {3: "ready"})
    assert "reason" not in m.about()
    failed, ready, *unloaded = m.events[len(events) :]
    assert failed == f"(version 22) failed to load: {reason.removeprefix('version 22: ')}"
    assert ready == "(version 3) ready"
    assert sorted(unloaded) == ["(version 1) unloaded", "(version 2) unloaded"]


def test_a_listed_version_whose_folder_goes_answers_until_another_can(m: Served) -> None:
    put(m.folder / "1", 1)
    put(m.folder / "2", 2)
    write_card(m.folder, versions=[2], aliases={"second": 2})
    m.await_ready()
    shutil.rmtree(m.folder / "2")
    eventually(lambda: m.states == {1: "ready", 2: "failed"})
    assert m.ask() == (1, 1)
    refused = m.server.post(f"/api/{m.name}?version=second", json=ROWS)
    assert refused.status_code == 503
    assert f"there is no folder {m.name}/2" in refused.json()["error"]["message"]
    write_card(m.folder)
    eventually(lambda: m.states == {1: "ready"})
    assert "reason" not in m.about()


def _both(m: Served, query: str) -> list[httpx.Response]:
    path = f"{m.name}?version={query}"
    return [m.server.post(f"/api/{path}", json=ROWS), m.server.get(f"/api/models/{path}")]


def test_versions_that_are_not_there(m: Served) -> None:
    put(m.folder / "1", 1)
    write_card(m.folder, aliases={"stable": 1})
    m.await_ready()
    for unknown in ("3", "new", "-1", "9" * 15, "a" * 100):
        for response in _both(m, unknown):
            error = response.json()["error"]
            assert (response.status_code, error["code"]) == (404, "model_not_found")
            assert "the versions are: 1; the aliases are: stable (1)" in error["message"]
    for wrong in ("", "a b", "1%0A", "9" * 16, "a" * 101):
        for response in _both(m, wrong):
            error = response.json()["error"]
            assert (response.status_code, error["code"]) == (422, "invalid_input")
            assert error["details"][0]["field"] == "version"


def test_an_alias_moves_without_a_reload(m: Served) -> None:
    put(m.folder / "1", 1)
    put(m.folder / "2", 2)
    write_card(m.folder, versions="all", aliases={"stable": 1})
    eventually(lambda: m.is_known and m.states == {1: "ready", 2: "ready"})
    loaded = [m.about(f"?version={n}")["loaded_at"] for n in (1, 2)]
    assert m.ask("?version=stable") == (1, 1)
    write_card(m.folder, versions="all", aliases={"stable": 2, "old": 1})
    eventually(lambda: m.ask("?version=stable") == (2, 2))
    assert m.ask("?version=old") == (1, 1)
    assert [m.about(f"?version={n}")["loaded_at"] for n in (1, 2)] == loaded
    assert m.events == ["(version 2) ready", "(version 1) ready"]


def test_the_card_of_a_version_says_nothing_of_versions(m: Served) -> None:
    put(m.folder / "1", 1, aliases={"stable": 1}, canary={"version": 1, "percent": 1})
    eventually(lambda: m.about().get("state") == "failed")
    assert m.about()["reason"] == (
        "model.yaml: aliases, canary: this is said for all versions at once, in "
        f"{m.name}/model.yaml"
    )


def test_the_canary_has_its_share(m: Served) -> None:
    put(m.folder / "1", 1)
    (m.folder / "2").mkdir()
    (m.folder / "2/model.keras").write_text("no model")
    write_card(m.folder, canary={"version": 2, "percent": 100})
    eventually(lambda: m.is_known and m.states == {1: "ready", 2: "failed"})
    # One that failed takes nothing.
    assert m.ask() == (1, 1)
    put(m.folder / "2", 2)
    eventually(lambda: m.states == {1: "ready", 2: "ready"})
    assert {m.ask() for _ in range(20)} == {(2, 2)}
    assert {m.ask("?version=1") for _ in range(20)} == {(1, 1)}

    # The share itself: tests/unit/test_entry.py.
    write_card(m.folder, canary={"version": 2, "percent": 0})
    eventually(lambda: m.about()["canary"] == {"version": 2, "percent": 0})
    assert {m.ask() for _ in range(20)} == {(1, 1)}
    assert m.about()["version"] == 1
