"""What lies in the folder of models: which models, which versions of them, and of which files.

Looking there takes names, sizes and times only. What is read is the card of a model's own folder,
for what it says of versions, and so that a change of that alone reloads nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from app.errors import CardError
from app.serving.card import CARD_FILE, MODEL_SUFFIXES, name_problem, parse_card
from app.serving.versions import Policy, version_number

SAVED_MODEL = "saved_model.pb"
_IGNORED = "__pycache__"
_POLICY_KEYS = set(Policy.model_fields)

# Of each file its path inside the folder, size, time of the last change in ns, and inode: what
# replaces a file with one of the same size and time has another inode.
Files = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Seen:
    """A version as it lies there; equal as long as nothing about its files has changed.

    path: a model file or a folder. home: the folder of the model, whose card may hold for all of
    its versions; `path` itself unless that is a numbered folder in it; None for a bare file.
    files, shared: what is in the two; of numbered folders, each has its own only.
    problem: why it cannot be served, whatever is in the files.
    """

    name: str
    version: int
    path: Path
    home: Path | None = None
    files: Files = ()
    shared: Files = ()
    problem: str | None = None

    @property
    def numbered(self) -> bool:
        """Whether it lies in a folder that is called by its number."""
        return self.home is not None and self.home != self.path


# By name and number.
Sight = Mapping[tuple[str, int], Seen]


@dataclass(frozen=True, slots=True)
class Source:
    """A version to be loaded. state: equal as long as loading it would come to the same."""

    seen: Seen
    state: object


@dataclass(frozen=True, slots=True)
class Found:
    """A model with at least one version. policy: None where its card cannot be read, for the
    reason `problem`."""

    name: str
    versions: Mapping[int, Source]
    policy: Policy | None
    problem: str | None = None


def look(folder: Path) -> Sight:
    """Every version of every model in `folder`, by name. Raises CardError if there is no such
    folder, or it cannot be read."""
    try:
        paths = sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        raise CardError(f"there is no folder {str(folder)!r}: set KERAPORT_MODELS_DIR") from None
    except OSError as error:
        raise CardError(f"the folder {str(folder)!r} cannot be read: {error.strerror}") from None
    by_name: dict[str, tuple[Path, list[Seen]]] = {}
    for path in paths:
        if path.name.startswith((".", "_")):
            continue
        for seen in look_at(path):
            first, versions = by_name.setdefault(seen.name, (path, []))
            versions.append(seen)
            if first != path:
                twice = f"two models have this name: {first.name} and {path.name}"
                versions[:] = [replace(each, problem=twice) for each in versions]
    return {(name, v.version): v for name, (_, versions) in by_name.items() for v in versions}


def look_at(path: Path) -> Iterator[Seen]:
    """The versions of the model at `path`, none where that is no model."""
    name = path.name
    try:
        if not path.is_dir():
            if path.suffix.lower() in MODEL_SUFFIXES:
                files = tuple(_file(path, name))
                yield Seen(path.stem, 1, path, files=files, problem=name_problem(path.stem))
            return
        numbered = numbered_folders(path)
        shared = tuple(_files(path, leave_out=numbered))
    except OSError as error:
        yield Seen(name, 1, path, path, problem=name_problem(name) or _unreadable(error))
        return
    if not numbered:
        yield Seen(name, 1, path, path, shared=shared, problem=name_problem(name))
    for each in numbered:
        yield _look_at_version(path, each, shared, numbered)


def _look_at_version(home: Path, path: Path, shared: Files, numbered: list[Path]) -> Seen:
    version = version_number(path.name)
    assert version is not None, "its name is a number"
    problem = name_problem(home.name)
    same = [p.name for p in numbered if version_number(p.name) == version]
    if len(same) > 1:
        problem = problem or f"several folders are version {version}: {', '.join(same)}"
    files: Files = ()
    try:
        files = tuple(_files(path))
    except OSError as error:
        problem = problem or _unreadable(error)
    return Seen(home.name, version, path, home, files, shared, problem)


def numbered_folders(folder: Path) -> list[Path]:
    """The folders of versions in the folder of a model. Raises OSError where it cannot be read."""
    if (folder / SAVED_MODEL).exists():
        return []
    paths = sorted(folder.iterdir())
    return [p for p in paths if version_number(p.name) is not None and p.is_dir()]


def _unreadable(error: OSError) -> str:
    return f"{error.filename} cannot be read: {error.strerror}"


def _files(
    folder: Path,
    prefix: str = "",
    leave_out: Collection[Path] = (),
    above: tuple[tuple[int, int], ...] = (),
) -> Iterator[tuple[str, int, int, int]]:
    """What is in `folder` and below, links followed, hidden files left out. Raises OSError for what
    cannot be read; what goes away meanwhile is not there."""
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


def discover(folder: Path) -> list[Found]:
    """The models in `folder` as they are now, by name. Raises CardError if there is no such
    folder."""
    return understand(look(folder))


def understand(sight: Sight) -> list[Found]:
    """The models of which something was seen."""
    by_name: dict[str, list[Seen]] = {}
    for seen in sight.values():
        by_name.setdefault(seen.name, []).append(seen)
    return [_understand(name, by_name[name]) for name in sorted(by_name)]


def _understand(name: str, versions: list[Seen]) -> Found:
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
    found = {v.version: Source(v, _state(v, card, named)) for v in versions}
    return Found(name, found, policy, problem)


def _state(seen: Seen, card: object, named: Collection[str]) -> object:
    """named: the files that the card of the model's own folder names. Of that folder they are all
    that counts, unless the model file lies there: then anything may be a part of it."""
    own = (seen.path, seen.files, seen.problem)
    if any(file[0] == CARD_FILE for file in seen.files):  # then no other card counts
        return own
    shared = (file for file in seen.shared if file[0] != CARD_FILE)
    return (*own, tuple(f for f in shared if f[0] in named or not seen.numbered), card)
