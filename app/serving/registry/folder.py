"""Scans the models folder: its models, their versions and files.

A scan takes names, sizes and times only. The card of a model's own folder is read, for what it says
of versions, and so that a change of that alone reloads nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from app.errors import CardError
from app.serving.cards import architecture_files
from app.serving.cards.card import CARD_FILE, name_problem
from app.serving.cards.labels import LABEL_FILES
from app.serving.cards.read import parse_card
from app.serving.cards.text_input import VOCABULARY_FILES
from app.serving.cards.versions import Policy, version_number
from app.serving.reading.model_files import HDF5_SUFFIXES, MODEL_SUFFIXES, SAVED_MODEL

_IGNORED = "__pycache__"
_POLICY_KEYS = set(Policy.model_fields)

# For each file: its path inside the folder, size, modification time in ns, and inode. A replacement
# of the same size and time has another inode.
FileStamps = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True, slots=True)
class ScannedVersion:
    """A version as the scan found it; equal as long as nothing about its files has changed.

    path: a model file or a folder. home: the folder of the model, whose card may hold for all of
    its versions; `path` itself unless that is a numbered folder in it; None for a bare file.
    files, shared: what is in the two; of numbered folders, each has its own only.
    problem: why it cannot be served, whatever is in the files.
    """

    name: str
    version: int
    path: Path
    home: Path | None = None
    files: FileStamps = ()
    shared: FileStamps = ()
    problem: str | None = None

    @property
    def numbered(self) -> bool:
        """Whether it lies in a folder that is called by its number."""
        return self.home is not None and self.home != self.path


# By name and number.
Scan = Mapping[tuple[str, int], ScannedVersion]


@dataclass(frozen=True, slots=True)
class VersionSource:
    """A version to be loaded. state: equal as long as loading it gives the same result."""

    scanned: ScannedVersion
    state: object


@dataclass(frozen=True, slots=True)
class ScannedModel:
    """A model with at least one version. policy: None if its card cannot be read, for the
    reason `problem`."""

    name: str
    versions: Mapping[int, VersionSource]
    policy: Policy | None
    problem: str | None = None


def scan(folder: Path) -> Scan:
    """Scan `folder`: every version of every model. Raises CardError if the folder is missing, or
    cannot be read."""
    try:
        paths = sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        raise CardError(f"there is no folder {str(folder)!r}: set KERAPORT_MODELS_DIR") from None
    except OSError as error:
        raise CardError(f"the folder {str(folder)!r} cannot be read: {error.strerror}") from None
    by_name: dict[str, tuple[Path, list[ScannedVersion]]] = {}
    for path in paths:
        if path.name.startswith((".", "_")):
            continue
        for scanned in scan_model(path):
            first, versions = by_name.setdefault(scanned.name, (path, []))
            versions.append(scanned)
            if first != path:
                twice = f"two models have this name: {first.name} and {path.name}"
                versions[:] = [replace(each, problem=twice) for each in versions]
    return {(name, v.version): v for name, (_, versions) in by_name.items() for v in versions}


def scan_model(path: Path) -> Iterator[ScannedVersion]:
    """Yield the versions of the model at `path`, none where that is no model."""
    name = path.name
    try:
        if not path.is_dir():
            if path.suffix.lower() in MODEL_SUFFIXES:
                files = tuple(_bare_files(path))
                yield ScannedVersion(
                    path.stem, 1, path, files=files, problem=name_problem(path.stem)
                )
            return
        numbered = numbered_folders(path)
        shared = tuple(_files(path, leave_out=numbered))
    except OSError as error:
        yield ScannedVersion(name, 1, path, path, problem=name_problem(name) or _unreadable(error))
        return
    if not numbered:
        yield ScannedVersion(name, 1, path, path, shared=shared, problem=name_problem(name))
    for each in numbered:
        yield _scan_version(path, each, shared, numbered)


def _bare_files(path: Path) -> Iterator[tuple[str, int, int, int]]:
    """Return the file, and the one with its architecture where that lies beside it."""
    yield from _file(path, path.name)
    if path.suffix.lower() in HDF5_SUFFIXES and (design := architecture_files.beside(path)):
        yield from _file(design, design.name)


def _scan_version(
    home: Path, path: Path, shared: FileStamps, numbered: list[Path]
) -> ScannedVersion:
    version = version_number(path.name)
    assert version is not None, "its name is a number"
    problem = name_problem(home.name)
    same = [p.name for p in numbered if version_number(p.name) == version]
    if len(same) > 1:
        problem = problem or f"several folders are version {version}: {', '.join(same)}"
    files: FileStamps = ()
    try:
        files = tuple(_files(path))
    except OSError as error:
        problem = problem or _unreadable(error)
    return ScannedVersion(home.name, version, path, home, files, shared, problem)


def numbered_folders(folder: Path) -> list[Path]:
    """List the folders of versions in the folder of a model. Raises OSError if it cannot be
    read."""
    if (folder / SAVED_MODEL).exists():
        return []
    paths = sorted(folder.iterdir())
    return [p for p in paths if version_number(p.name) is not None and p.is_dir()]


def _unreadable(error: OSError) -> str:
    return f"{error.filename} cannot be read: {error.strerror}"


def files_below(folder: Path) -> list[Path]:
    """List the files that make up the model in `folder`, links followed, hidden files left out.
    Raises OSError for files that cannot be read."""
    return [folder / found[0] for found in _files(folder)]


def _files(
    folder: Path,
    prefix: str = "",
    leave_out: Collection[Path] = (),
    above: tuple[tuple[int, int], ...] = (),
) -> Iterator[tuple[str, int, int, int]]:
    """List what is in `folder` and below, links followed, hidden files left out. Raises OSError for
    what cannot be read; files that disappear meanwhile are omitted."""
    status = folder.stat()
    here = (status.st_dev, status.st_ino)
    if here in above:  # a link to a folder that it is in
        return
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name == _IGNORED or path in leave_out:
            continue
        try:
            if path.is_dir():
                yield from _files(path, f"{prefix}{path.name}/", above=(*above, here))
            else:
                yield from _file(path, prefix + path.name)
        except FileNotFoundError:
            continue


def _file(path: Path, shown: str) -> Iterator[tuple[str, int, int, int]]:
    try:
        status = path.stat()
    except FileNotFoundError:
        return
    yield shown, status.st_size, status.st_mtime_ns, status.st_ino


# --- reading the cards ---------------------------------------------------------------------------


def discover(folder: Path) -> list[ScannedModel]:
    """Scan `folder` and read the cards of its models. Raises CardError if the folder is missing."""
    return read_cards(scan(folder))


def read_cards(scanned: Scan) -> list[ScannedModel]:
    """Read the cards of the models of a scan."""
    by_name: dict[str, list[ScannedVersion]] = {}
    for version in scanned.values():
        by_name.setdefault(version.name, []).append(version)
    return [_read_card(name, by_name[name]) for name in sorted(by_name)]


def _read_card(name: str, versions: list[ScannedVersion]) -> ScannedModel:
    policy: Policy | None = Policy()
    card: object = None
    named: set[str] = set()
    problem = None
    home = versions[0].home
    try:
        read = parse_card(home) if home is not None else None
    except CardError as error:
        policy, card, problem = None, error.message, error.message
    else:
        if read is not None:
            policy = Policy.model_validate(read.model_dump(include=_POLICY_KEYS))
            card, named = read.model_dump(exclude=_POLICY_KEYS), read.files()
        else:
            named = {*LABEL_FILES, *VOCABULARY_FILES}
    found = {v.version: VersionSource(v, _state(v, card, named)) for v in versions}
    return ScannedModel(name, found, policy, problem)


def _state(scanned: ScannedVersion, card: object, named: Collection[str]) -> object:
    """named: the files that the card of the model's own folder names. Only these files of that
    folder count, unless it contains the model file; then every file does."""
    own = (scanned.path, scanned.files, scanned.problem)
    own_card = any(file[0] == CARD_FILE for file in scanned.files)
    if own_card and not architecture_files.looks_like_one(scanned.path / CARD_FILE):
        return own  # then no other card counts
    shared = (file for file in scanned.shared if file[0] != CARD_FILE or card is None)
    return (*own, tuple(f for f in shared if f[0] in named or not scanned.numbered), card)
