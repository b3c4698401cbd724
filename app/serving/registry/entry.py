"""The versions of a model as the registry lists them, each in its state, and the default one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

from app.errors import FAILED_RETRY_S, LOADING_RETRY_S, ModelNotFound, ModelUnavailable
from app.serving.cards.card import Card
from app.serving.cards.versions import Policy
from app.serving.models.model import Model

State = Literal["loading", "ready", "failed"]


@dataclass(eq=False)
class Entry:
    """A version of a model, whether it can be served or not. A version that is loaded again gets a
    new entry, which replaces this one once it is ready.

    path: a model file or a folder; None for a version that has none. home: the folder of the
    model, whose card may hold for all its versions; None for a bare file.
    reason: for people, why it failed; for a ready version, why its changed files are not being
    served. model: set once ready, and kept if it hangs later. made_from: the state of the files
    that it was loaded from. tried: that of the last attempt to load, which may have failed.
    leases: requests that use the model, counted by the registry.
    """

    group: Group = field(repr=False)
    version: int = 1
    path: Path | None = None
    home: Path | None = None
    state: State = "loading"
    reason: str | None = None
    model: Model | None = None
    card: Card | None = None
    loaded_at: float | None = None
    made_from: object = field(default=None, repr=False)
    tried: object = field(default=None, repr=False)
    leases: int = 0

    @property
    def name(self) -> str:
        """The name of the model."""
        return self.group.name

    @property
    def title(self) -> str:
        """The name for people: that of the card, else `name`."""
        return (self.card and self.card.title) or self.name

    @property
    def label(self) -> str:
        """The name for logs, with the version where it is one of several."""
        numbered = self.path is None or self.home not in (None, self.path)
        return f"{self.name} (version {self.version})" if numbered else self.name

    @property
    def hangs(self) -> bool:
        """Whether it was ready, and then given up by the watchdog."""
        return self.state == "failed" and self.model is not None

    @property
    def trouble(self) -> str | None:
        """Its own reason and, for the default version, the problems of the others."""
        if self is not self.group.default:
            return self.reason
        return self.group.trouble

    def ready_model(self) -> Model:
        """Return the model. Raises ModelUnavailable unless it is ready."""
        if self.hangs:
            raise ModelUnavailable(
                f"the model {self.label!r} hangs, and this process is about to be restarted: "
                f"{self.reason}",
                LOADING_RETRY_S,
            )
        if self.model is not None:
            return self.model
        if self.state == "failed":
            raise ModelUnavailable(
                f"the model {self.label!r} failed to load: {self.trouble}", FAILED_RETRY_S
            )
        raise ModelUnavailable(f"the model {self.label!r} is still loading", LOADING_RETRY_S)


class ModelLease:
    """A context for a version that a request uses, and its model, which stays usable until the
    block ends. end: called then, with the entry."""

    __slots__ = ("_end", "entry", "model")

    def __init__(self, entry: Entry, model: Model, end: Callable[[Entry], None]) -> None:
        self.entry = entry
        self.model = model
        self._end: Callable[[Entry], None] | None = end

    def __enter__(self) -> ModelLease:
        return self

    def __exit__(self, *_: object) -> None:
        if self._end is not None:
            self._end(self.entry)

    def prolonged(self) -> Callable[[], None]:
        """Keep the model usable beyond the block, until the returned function is called."""
        end, self._end = self._end, None
        assert end is not None, "a lease is prolonged once"
        return partial(end, self.entry)


def no_folder(entry: Entry) -> str:
    """Return the reason why a version that the card names cannot be loaded: it has no folder."""
    return f"there is no folder {entry.name}/{entry.version}, which the card names"


class Group:
    """All versions of one model. policy: what its card says of versions; problem: why what it says
    now cannot be read; logged_problem: the last such reason that was logged. present: the versions
    that have a folder.

    Written by the thread that loads, in the registry's lock; `versions` is replaced as a whole, so
    that it can be read without.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.policy = Policy()
        self.problem: str | None = None
        self.logged_problem: str | None = None
        self.present: frozenset[int] = frozenset()
        self.versions: Mapping[int, Entry] = {}
        self._default: Entry | None = None

    @property
    def default(self) -> Entry:
        """The version that answers requests that name none."""
        assert self._default is not None, "a group is made with its first version"
        return self._default

    def put(self, entry: Entry) -> None:
        """Add a version, or replace the entry that it has."""
        self.versions = dict(sorted({**self.versions, entry.version: entry}.items()))
        self.choose()

    def remove(self, version: int) -> None:
        """Take a version away; at least one stays."""
        self.versions = {n: entry for n, entry in self.versions.items() if n != version}
        self.choose()

    def choose(self) -> None:
        """Choose the default version: the first candidate of the policy that is ready. Until one
        is, the last default stays, even where the policy has changed meanwhile; then a fallback.
        Versions whose folder is gone answer only where nothing else is ready."""
        own = self.policy.default_candidates(self.present)
        fallbacks = self.policy.fallbacks(self.present)
        last = [self._default.version] if self._default else []
        # Not just any version: what has only an alias, or is the canary, is not meant.
        may = [*own, *last, *fallbacks]
        present = [number for number in may if number in self.present]
        order = ((present, "ready"), (may, "ready"), (may, "loading"), (may, "failed"))
        found = (
            entry
            for numbers, state in order
            for entry in map(self.versions.get, numbers)
            if entry is not None and entry.state == state
        )
        fallback = max(self.versions.values(), key=lambda entry: entry.version)
        self._default = next(found, fallback)

    def may_unload(self, version: int) -> bool:
        """Tell whether a version that is no longer wanted may go: not while nothing else answers by
        default. Where the policy names only versions that cannot be served, all that have a folder
        stay."""
        default = self.default
        if default.state != "ready" or default.version not in self.present:
            return False
        return version not in self.present or default.version in self.policy.default_candidates(
            self.present
        )

    def pick(self, version: int | str) -> Entry:
        """Return the version of that number or alias. Raises ModelNotFound."""
        number = self.policy.aliases.get(version) if isinstance(version, str) else version
        found = None if number is None else self.versions.get(number)
        if found is None:
            what = (
                f"the alias {version[:100]!r}" if isinstance(version, str) else f"version {version}"
            )
            aliases = ", ".join(f"{a} ({n})" for a, n in self.policy.aliases.items()) or "none"
            lacks = f"the model {self.name!r} does not have {what}"
            if number in self.present:
                lacks = (
                    f"{what} of the model {self.name!r} is there but not served, for its card says "
                    f"'versions: {self.policy.versions_text}'"
                )
            raise ModelNotFound(
                f"{lacks}; the versions are: {', '.join(map(str, self.versions))}; "
                f"the aliases are: {aliases}"
            )
        return found

    @property
    def trouble(self) -> str | None:
        """The problems of all versions and of the card, as one text; None if there are none."""
        reasons = [self.default.reason] if self.default.reason else []
        reasons += [
            f"version {entry.version}: {entry.reason}"
            for entry in self.versions.values()
            if entry.reason and entry is not self.default
        ]
        if self.problem and not any(self.problem in reason for reason in reasons):
            reasons.append(self.problem)
        return "; ".join(reasons) or None
