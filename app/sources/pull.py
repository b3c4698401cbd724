"""Brings the models folder in step with a source: what `python -m app pull` does.

One direction, from the source to the folder. A version arrives beside its place and is renamed, so
that servers never see half of it; an unchanged source sends nothing; and a source that is missing,
empty or broken removes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from yaml import YAMLError

from app.errors import PullError
from app.serving.cards.card import CARD_FILE
from app.sources.address import Address
from app.sources.archives import unpack
from app.sources.arriving import Arriving, Listed, Written
from app.sources.files import RemoteFile, Room, Source, check_disk
from app.sources.layout import layout_of
from app.sources.place import Place, opened
from app.strict_yaml import load_yaml

LOCK_FILE = "requirements-sync.lock"


@dataclass(frozen=True, slots=True)
class Options:
    """keep: how many versions of the source stay. delete: remove what the source no longer has.
    max_bytes: the most that arrives at once. every_s: seconds until the next time, for the record.
    """

    keep: int = 3
    delete: bool = False
    max_bytes: int = 20_000_000_000
    every_s: float | None = None


@dataclass
class Outcome:
    """What a pull has changed. arrived, removed: folders of versions. taken: bytes that came."""

    name: str
    arrived: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    taken: int = 0
    seconds: float = 0.0

    @property
    def is_change(self) -> bool:
        """Whether versions have come or gone."""
        return bool(self.arrived or self.removed)

    def __str__(self) -> str:
        parts = []
        if self.arrived:
            amount = f"{self.taken / 1e6:.1f} MB in {self.seconds:.1f} s"
            parts.append(f"version {', '.join(self.arrived)} arrived ({amount})")
        if self.removed:
            parts.append(f"version {', '.join(self.removed)} removed")
        return f"{self.name}: {'; '.join(parts) or 'unchanged'}"


def pull(address: Address, name: str, models: Path, options: Options) -> Outcome:
    """Bring the model `name` in the folder `models` in step with a source, and record how that
    went. Raises PullError, with the versions as they were."""
    began = time.monotonic()
    with opened(models, name) as place:
        run = _Run(address, place, options)
        try:
            run.pull()
        except (PullError, OSError) as error:
            problem = error if isinstance(error, PullError) else _failed(error)
            _record(place, options, problem.message)
            raise problem from None
        _record(place, options, None)
    run.outcome.taken, run.outcome.seconds = run.room.taken, time.monotonic() - began
    return run.outcome


def _failed(error: OSError) -> PullError:
    where = f"{error.filename}: " if error.filename else ""
    return PullError(f"{where}{error.strerror or error}")


def _record(place: Place, options: Options, problem: str | None) -> None:
    place.record.checked_at, place.record.every_s = time.time(), options.every_s
    place.record.problem = problem
    try:
        place.save()
    except OSError as error:
        raise _failed(error) from None


class _Run:
    """One pull. Its methods raise PullError and OSError."""

    def __init__(self, address: Address, place: Place, options: Options) -> None:
        self._address, self._place, self._options = address, place, options
        self.room = Room(options.max_bytes)
        self.outcome = Outcome(place.record.name)

    def pull(self) -> None:
        """Ask the source, and take over what is new."""
        place, record, address = self._place, self._place.record, self._address
        place.check()
        place.clean()
        if record.source != address.shown:
            record.source, record.tag = address.shown, ""
        if address.sha256 is not None and record.tag == f"sha256:{address.sha256}":
            return
        with open_source(address) as source:
            # A tag that is a checksum is ours, and unknown to the source.
            files = source.list("" if record.tag.startswith("sha256:") else record.tag)
            if not files:
                self._nothing()
            elif address.file_name is None:
                self._arrive(Listed(source, files, place.new, self.room, address.shown))
            elif not record.tag or files[0].tag != record.tag:
                self._arrive(self._fetched(source, files[0], address.file_name))
                sha256 = f"sha256:{address.sha256}" if address.sha256 else None
                record.tag = sha256 or files[0].tag

    def _nothing(self) -> None:
        if not self._options.delete:
            stays = "; what has come from it stays" if self._place.record.versions else ""
            raise PullError(f"there is nothing at {self._address.shown}{stays}")
        self.outcome.removed += self._place.remove_all()

    def _fetched(self, source: Source, file: RemoteFile, name: str) -> Arriving:
        """Fetch the single file of a source and, if it is an archive, unpack it."""
        check_disk(self._place.new, [file])
        folder = self._place.new / "model"
        target = self._place.new / "archive" if self._address.is_archive else folder / name
        digest = source.fetch(file, target, self.room)
        if self._address.sha256 not in (None, digest):
            raise PullError(
                f"{self._address.shown} has the SHA-256 {digest}, which is not that of the address"
            )
        if self._address.is_archive:
            folder = unpack(target, name, folder, self.room)
        return Written(folder, self._place.new)

    def _arrive(self, arriving: Arriving) -> None:
        """Take over the versions that are new, then remove the oldest."""
        place, layout = self._place, layout_of(arriving.paths)
        if layout.versions:
            self._arrive_numbered(arriving, layout.versions)
            if layout.beside:
                fingerprint = arriving.fingerprint(layout.beside)
                if fingerprint != place.record.shared:
                    beside = arriving.bring(layout.beside, "")
                    _check_card(beside)
                    place.put_files(beside, fingerprint)
        else:
            fingerprint = arriving.fingerprint(layout.beside)
            if place.newest is None or not place.has(place.newest, fingerprint):
                self._put(arriving.bring(layout.beside, ""), place.next_number(), fingerprint)
        kept = self._newest([*place.record.versions])
        self.outcome.removed += place.keep(kept)

    def _arrive_numbered(self, arriving: Arriving, versions: dict[str, list[str]]) -> None:
        known = self._place.record.versions
        if self._options.delete:
            self.outcome.removed += self._place.keep([*(known.keys() & versions.keys())])
        # What would be removed again at once is not fetched.
        for folder in self._newest([*(known.keys() | versions.keys())]):
            if folder in versions:
                fingerprint = arriving.fingerprint(versions[folder])
                if not self._place.has(folder, fingerprint):
                    self._put(arriving.bring(versions[folder], folder), folder, fingerprint)

    def _put(self, source: Path, folder: str, fingerprint: str) -> None:
        _check_card(source)
        self._place.put(source, folder, fingerprint)
        self.outcome.arrived.append(folder)

    def _newest(self, folders: Sequence[str]) -> list[str]:
        return sorted(folders, key=int)[-self._options.keep :]


def _check_card(folder: Path) -> None:
    """Raise PullError if a card lets the code of its model run. Anyone who can write to the source
    could then run code here."""
    path = folder / CARD_FILE
    if not path.is_file():
        return
    try:
        card = load_yaml(path.read_text(encoding="utf-8-sig"))
    except (ValueError, YAMLError):
        return  # it is refused later, with what is wrong in it
    if isinstance(card, dict) and card.get("trusted"):
        raise PullError(
            f"its {CARD_FILE} says 'trusted: true', which only a card of your own may: write "
            f"models/NAME/{CARD_FILE}, and leave it out at the source"
        )


def open_source(address: Address) -> Source:
    """Open the source at an address. Raises PullError if the packages for it are not installed."""
    try:
        if address.kind == "store":
            from app.sources.object_store import ObjectStore

            return ObjectStore(address)
        if address.kind == "hub":
            from app.sources.hub import HubRepository

            return HubRepository(address)
        from app.sources.web import WebFile
    except ModuleNotFoundError as error:
        raise PullError(
            f"the package {error.name} is not installed, which fetching models needs: "
            f"pip install --no-deps --require-hashes -r {LOCK_FILE}"
        ) from None
    return WebFile(address)
