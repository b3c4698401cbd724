"""Scanning the models folder, before anything is loaded."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from app.errors import CardError
from app.serving.cards.versions import Policy
from app.serving.registry.folder import Scan, ScannedModel, ScannedVersion, discover, scan


def _touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def _found(folder: Path) -> dict[str, ScannedModel]:
    return {found.name: found for found in discover(folder)}


def _seen(folder: Path, name: str = "m", version: int = 1) -> ScannedVersion:
    return scan(folder)[name, version]


def _state(folder: Path, name: str = "m", version: int = 1) -> object:
    return _found(folder)[name].versions[version].state


# --- models and versions --------------------------------------------------------------------------


def test_files_folders_and_savedmodels_are_models(tmp_path: Path) -> None:
    _touch(tmp_path, "a.keras", "b.h5", "c.hdf5", "d/model.h5", "e/saved_model.pb", "f/g/model.h5")
    assert list(_found(tmp_path)) == ["a", "b", "c", "d", "e", "f"]
    assert all(list(found.versions) == [1] for found in _found(tmp_path).values())


def test_other_files_hidden_and_underscored_ones_are_left_alone(tmp_path: Path) -> None:
    _touch(tmp_path, "README.md", ".gitkeep", ".a.h5", "_b/model.h5", "c.txt")
    assert _found(tmp_path) == {}


def test_numbered_folders_are_versions(tmp_path: Path) -> None:
    _touch(tmp_path, "m/2/model.h5", "m/10/model.h5", "m/old/model.h5", "m/model.yaml", "m/3")
    assert set(_found(tmp_path)["m"].versions) == {2, 10}
    scanned = _seen(tmp_path, version=10)
    assert (scanned.path, scanned.home, scanned.numbered) == (
        tmp_path / "m/10",
        tmp_path / "m",
        True,
    )


def test_version_numbers_may_have_leading_zeros(tmp_path: Path) -> None:
    _touch(tmp_path, "m/00000123/saved_model.pb")
    assert set(_found(tmp_path)["m"].versions) == {123}


def test_two_folders_of_one_number_fail(tmp_path: Path) -> None:
    _touch(tmp_path, "m/3/model.h5", "m/003/model.h5", "m/4/model.h5")
    assert _seen(tmp_path, version=3).problem == "several folders are version 3: 003, 3"
    assert _seen(tmp_path, version=4).problem is None


def test_a_savedmodel_is_no_folder_of_versions(tmp_path: Path) -> None:
    _touch(tmp_path, "m/saved_model.pb", "m/1/x")
    assert _seen(tmp_path).path == tmp_path / "m"
    assert not _seen(tmp_path).numbered


def test_two_models_of_one_name_fail(tmp_path: Path) -> None:
    _touch(tmp_path, "m.h5", "m/7/model.h5", "n.h5")
    sight = scan(tmp_path)
    assert sight["m", 1].problem == sight["m", 7].problem == "two models have this name: m and m.h5"
    assert sight["n", 1].problem is None


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("models", "reserved: /api/models is the list of models"),
        ("status", "reserved: /api/status is"),
        ("with space", "letters, digits"),
        ("ümlaut", "letters, digits"),
    ],
)
@pytest.mark.parametrize("file", ["{}.h5", "{}/model.h5", "{}/3/model.h5"])
def test_names_that_no_address_can_hold_fail(
    tmp_path: Path, name: str, says: str, file: str
) -> None:
    _touch(tmp_path, file.format(name))
    (scanned,) = scan(tmp_path).values()
    assert scanned.name == name
    assert says in str(scanned.problem)


def test_a_missing_folder_names_the_setting(tmp_path: Path) -> None:
    with pytest.raises(CardError, match="KERAPORT_MODELS_DIR"):
        scan(tmp_path / "none")


def test_a_folder_that_cannot_be_followed_fails_alone(tmp_path: Path) -> None:
    """A link to itself stands for what the file system refuses: root may read everything else."""
    _touch(tmp_path, "m/1/model.h5", "n.h5")
    loop = tmp_path / "m/1/loop"
    loop.symlink_to(loop)
    sight = scan(tmp_path)
    assert "cannot be read: Too many levels" in str(sight["m", 1].problem)
    assert sight["n", 1].problem is None


# --- fingerprints ---------------------------------------------------------------------------------


def _changes(folder: Path, before: Scan) -> set[int]:
    after = scan(folder)
    return {v for n, v in {*before, *after} if before.get((n, v)) != after.get((n, v))}


def test_a_look_twice_sees_the_same(tmp_path: Path) -> None:
    _touch(tmp_path, "m/1/a/b/model.h5", "m/labels.txt", "n.h5")
    assert scan(tmp_path) == scan(tmp_path)


def test_every_change_of_a_file_is_seen(tmp_path: Path) -> None:
    _touch(tmp_path, "m/1/a/b/variables", "m/2/model.h5")
    file = tmp_path / "m/1/a/b/variables"
    before = scan(tmp_path)
    file.write_bytes(b"x")
    assert _changes(tmp_path, before) == {1}

    before = scan(tmp_path)
    status = file.stat()
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert _changes(tmp_path, before) == {1}

    before = scan(tmp_path)
    other = tmp_path / "other"
    shutil.copy2(file, other)  # of the same size and time
    other.replace(file)
    assert _changes(tmp_path, before) == {1}

    before = scan(tmp_path)
    file.rename(file.with_name("renamed"))
    assert _changes(tmp_path, before) == {1}

    before = scan(tmp_path)
    file.with_name("renamed").unlink()
    assert _changes(tmp_path, before) == {1}


def test_a_bare_file_is_seen_to_change(tmp_path: Path) -> None:
    _touch(tmp_path, "m.h5")
    before = scan(tmp_path)
    (tmp_path / "m.h5").write_bytes(b"x")
    assert _changes(tmp_path, before) == {1}


def test_hidden_files_and_what_python_leaves_do_not_count(tmp_path: Path) -> None:
    _touch(tmp_path, "m/1/model.h5")
    before = scan(tmp_path)
    _touch(tmp_path, "m/1/.part", "m/1/__pycache__/custom.pyc", "m/.DS_Store", ".x/model.h5")
    assert _changes(tmp_path, before) == set()


def test_links_are_followed(tmp_path: Path) -> None:
    """Kubernetes mounts files as links, whose target changes."""
    _touch(tmp_path, "elsewhere/old/model.h5", "elsewhere/new/model.h5", "models/m/labels.txt")
    (tmp_path / "elsewhere/new/model.h5").write_bytes(b"new")
    models = tmp_path / "models"
    data = models / "m/..data"
    data.symlink_to(tmp_path / "elsewhere/old")
    (models / "m/model.h5").symlink_to(data / "model.h5")
    (models / "linked").symlink_to(tmp_path / "elsewhere/old")
    before = scan(models)
    data.unlink()
    data.symlink_to(tmp_path / "elsewhere/new")
    assert before["m", 1] != scan(models)["m", 1]
    assert before["linked", 1] == scan(models)["linked", 1]
    (tmp_path / "elsewhere/old/model.h5").write_bytes(b"changed")
    assert before["linked", 1] != scan(models)["linked", 1]


def test_links_in_circles_and_to_nothing_do_no_harm(tmp_path: Path) -> None:
    _touch(tmp_path, "m/1/model.h5")
    (tmp_path / "m/1/again").symlink_to(tmp_path / "m")
    (tmp_path / "m/1/gone").symlink_to(tmp_path / "nothing")
    (tmp_path / "gone.h5").symlink_to(tmp_path / "nothing.h5")
    assert [file[0] for file in _seen(tmp_path).files] == ["model.h5"]
    assert _seen(tmp_path, "gone").files == ()  # and loading it will say why


# --- what makes a difference ----------------------------------------------------------------------


def test_what_the_card_says_of_versions_reloads_nothing(tmp_path: Path) -> None:
    _touch(tmp_path, "m/1/model.h5")
    card = tmp_path / "m/model.yaml"
    card.write_text("task: tensor\n")
    before = _state(tmp_path)
    card.write_text("# moved\nversions: all\naliases: {stable: 1}\ntask: tensor\n")
    assert _state(tmp_path) == before
    assert _found(tmp_path)["m"].policy == Policy(versions="all", aliases={"stable": 1})
    card.write_text("task: tensor\ntop: 3\n")
    assert _state(tmp_path) != before


@pytest.mark.parametrize(
    ("card", "counting"),
    [
        (None, {"labels.txt", "vocabulary.txt"}),
        ("title: Reviews", {"labels.txt", "vocabulary.txt"}),
        (
            "inputs: {x: {kind: text, vocabulary: ./sub/names.txt}}",
            {"labels.txt", "sub/names.txt"},
        ),
        ("task: tensor", {"labels.txt"}),
        ("task: tensor\nlabels: ./sub/names.txt", {"sub/names.txt"}),
        ("task: tensor\nlabels: [cat, dog]", set()),
        ("task: tensor\nlabels: imagenet", set()),
        ("task: text-generation", {"labels.txt", "vocabulary.txt"}),
        (
            "task: text-generation\ntext: {vocabulary: [a, b], starts: starts.txt}",
            {"labels.txt", "starts.txt"},
        ),
    ],
)
def test_beside_numbered_folders_only_what_the_card_names_counts(
    tmp_path: Path, card: str | None, counting: set[str]
) -> None:
    names = ["labels.txt", "sub/names.txt", "vocabulary.txt", "starts.txt"]
    others = ["README.md", "m2.keras", "custom.py", "old/model.h5", "imagenet"]
    if card is not None:
        (tmp_path / "m").mkdir()
        (tmp_path / "m/model.yaml").write_text(card)
    _touch(tmp_path / "m", "1/model.h5", *names, *others)
    counted = set()
    for name in names + others:
        before = _state(tmp_path)
        (tmp_path / "m" / name).write_bytes(b"changed")
        changed = _state(tmp_path)
        (tmp_path / "m" / name).unlink()
        assert (_state(tmp_path) != changed) == (changed != before)
        if changed != before:
            counted.add(name)
    assert counted == counting


def test_beside_the_model_file_everything_counts(tmp_path: Path) -> None:
    """A custom.py may read any file, and a SavedModel is a folder."""
    for folder in (tmp_path / "m", tmp_path / "n/1"):
        _touch(folder, "model.h5", "README.md")
        before = _state(tmp_path, folder.relative_to(tmp_path).parts[0])
        (folder / "README.md").write_bytes(b"changed")
        assert _state(tmp_path, folder.relative_to(tmp_path).parts[0]) != before


def test_the_card_of_a_folder_without_numbers_counts_the_same(tmp_path: Path) -> None:
    _touch(tmp_path, "m/model.h5")
    card = tmp_path / "m/model.yaml"
    card.write_text("task: tensor\n")
    before = _state(tmp_path)
    card.write_text("task: tensor\naliases: {stable: 1}\n")
    assert _state(tmp_path) == before
    (tmp_path / "m/model.h5").write_bytes(b"x")
    assert _state(tmp_path) != before


def test_a_version_with_a_card_of_its_own_does_not_care_for_the_other(tmp_path: Path) -> None:
    _touch(tmp_path, "m/1/model.h5", "m/2/model.h5", "m/labels.txt")
    (tmp_path / "m/model.yaml").write_text("task: tensor\n")
    (tmp_path / "m/2/model.yaml").write_text("task: tensor\n")
    one, two = _state(tmp_path, version=1), _state(tmp_path, version=2)
    (tmp_path / "m/labels.txt").write_text("cat\ndog\n")
    assert (_state(tmp_path, version=1) != one, _state(tmp_path, version=2) != two) == (True, False)
    (tmp_path / "m/2/model.yaml").write_text("task: tensor\ntop: 1\n")
    assert _state(tmp_path, version=2) != two


def test_a_card_that_cannot_be_read_says_nothing_of_versions(tmp_path: Path) -> None:
    _touch(tmp_path, "m/1/model.h5")
    before = _state(tmp_path)
    (tmp_path / "m/model.yaml").write_text("task: tensor\nversion: all\n")
    found = _found(tmp_path)["m"]
    assert found.policy is None
    assert "unknown key 'version'" in str(found.problem)
    assert found.versions[1].state != before


# --- architectures beside weights -----------------------------------------------------------------

DESIGN = '{"class_name": "Sequential", "config": {}}'
YAML_DESIGN = "backend: tensorflow\nclass_name: Sequential\nconfig: {}\n"


def _states(folder: Path) -> list[object]:
    return [source.state for found in discover(folder) for source in found.versions.values()]


@pytest.mark.parametrize("weights", ["m.h5", "m.weights.h5"])
def test_a_change_of_the_architecture_beside_a_file_counts(weights: str, tmp_path: Path) -> None:
    (tmp_path / weights).touch()
    (tmp_path / "m.json").write_text(DESIGN)
    before = _states(tmp_path)
    assert len(before) == 1
    (tmp_path / "m.json").write_text(f"{DESIGN} ")
    assert _states(tmp_path) != before


@pytest.mark.parametrize("folder", ["m", "m/3"])
def test_an_architecture_called_as_a_card_is_is_none(folder: str, tmp_path: Path) -> None:
    home = tmp_path / folder
    home.mkdir(parents=True)
    (home / "model.h5").touch()
    (home / "model.yaml").write_text(YAML_DESIGN)
    (found,) = discover(tmp_path)
    assert found.problem is None
    before = _states(tmp_path)
    (home / "model.yaml").write_text(f"{YAML_DESIGN}\n")
    assert _states(tmp_path) != before
    if folder == "m/3":
        (tmp_path / "m" / "model.yaml").write_text("task: tensor\ntitle: a\n")
        with_card = _states(tmp_path)
        (tmp_path / "m" / "model.yaml").write_text("task: tensor\ntitle: b\n")
        assert _states(tmp_path) != with_card
