"""A model as the registry lists it: its versions, which state each is in, and who speaks for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from app.errors import ModelNotFound, ModelUnavailable
from app.serving.versions import Policy

if TYPE_CHECKING:
    from app.serving.card import Card
    from app.serving.model import Model

State = Literal["loading", "ready", "failed"]
# Of the card, what concerns nobody outside, is too long to show, or said beside it.
HIDDEN: Any = {
    "trusted": True,
    "file": True,
    "text": {"vocabulary", "starts"},
    **dict.fromkeys(Policy.model_fields, True),
}
# When to ask again for what is still loading, and for what failed.
LOADING_RETRY_S = 5
FAILED_RETRY_S = 60


@dataclass(eq=False)
class Entry:
    """A version of a model, whether it can be served or not. A version that is loaded anew gets a
    new entry, which takes the place of this one once it is ready.

    path: a model file or a folder; None for a version that has none. home: the folder of the
    model, whose card may hold for all its versions; None for a bare file.
    reason: for people, why it failed; of a version that is ready, why a change of it is not served.
    model: set once ready, and kept where it hangs later. made_from: the state of the files that it
    is from. tried: that of the last attempt to load, which may have failed.
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
        """The model's."""
        return self.group.name

    @property
    def title(self) -> str:
        """For people: the card's, else the name."""
        return (self.card and self.card.title) or self.name

    @property
    def label(self) -> str:
        """The name, and the version where it is one of numbered ones: for logs."""
        numbered = self.path is None or self.home not in (None, self.path)
        return f"{self.name} (version {self.version})" if numbered else self.name

    @property
    def hangs(self) -> bool:
        """Whether it was ready, and then given up."""
        return self.state == "failed" and self.model is not None

    @property
    def trouble(self) -> str | None:
        """Why not all is well: its own reason and, of the version that speaks for the model, what
        is wrong with the others."""
        if self is not self.group.default:
            return self.reason
        return self.group.trouble

    def summary(self) -> dict[str, Any]:
        """The entry as `GET /api/models` lists it."""
        card, policy = self.card, self.group.policy
        out: dict[str, Any] = {
            "name": self.name,
            "title": self.title,
            "description": card.description if card else None,
            "task": card.task if card else None,
            "state": self.state,
            "version": self.version,
            "versions": [entry.brief() for entry in self.group.versions.values()],
            "aliases": policy.aliases,
            "canary": policy.canary.model_dump() if policy.canary else None,
            "metrics": card.metrics if card else {},
        }
        if trouble := self.trouble:
            out["reason"] = trouble
        return out

    def brief(self) -> dict[str, Any]:
        """The version, its state, and the reason where there is one."""
        out = {"version": self.version, "state": self.state}
        return out if self.reason is None else {**out, "reason": self.reason}

    def describe(self) -> dict[str, Any]:
        """The entry as `GET /api/models/NAME` shows it: the summary, the card, inputs, outputs."""
        out = self.summary()
        if self.card is not None:
            out["card"] = self.card.model_dump(mode="json", exclude=HIDDEN)
        if self.model is not None:
            out["input"] = self.model.task.input_schema()
            out["signature"] = self.model.signature.describe()
            out["parameters"] = self.model.signature.parameters
            out["loaded_at"] = self.loaded_at
            out["waiting"] = self.model.waiting
            out |= self.model.details()
        return out

    def ready_model(self) -> Model:
        """The model. Raises ModelUnavailable unless it is ready."""
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


def no_folder(entry: Entry) -> str:
    """The reason of a version that the card names and nobody has put there."""
    return f"there is no folder {entry.name}/{entry.version}, which the card names"


class Group:
    """All versions of one model. policy: what its card says of versions; problem: why what it says
    now cannot be read; told: the last such reason that was logged. there: the versions that have a
    folder.

    Written by the thread that loads, in the registry's lock; `versions` is replaced as a whole, so
    that it can be read without.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.policy = Policy()
        self.problem: str | None = None
        self.told: str | None = None
        self.there: frozenset[int] = frozenset()
        self.versions: Mapping[int, Entry] = {}
        self._default: Entry | None = None

    @property
    def default(self) -> Entry:
        """The version that answers whoever names none."""
        assert self._default is not None, "a group is made with its first version"
        return self._default

    def put(self, entry: Entry) -> None:
        """Add a version, or put it in the place of the one that is there."""
        self.versions = dict(sorted({**self.versions, entry.version: entry}.items()))
        self.choose()

    def remove(self, version: int) -> None:
        """Take a version away; at least one stays."""
        self.versions = {n: entry for n, entry in self.versions.items() if n != version}
        self.choose()

    def choose(self) -> None:
        """Anew, which version answers by default: the first that is ready of those that the policy
        means. Until one is, the last one goes on, even where the policy has changed meanwhile; then
        one that stands in. Whose folder is gone answers only where nothing else is ready."""
        own = self.policy.by_default(self.there)
        instead = self.policy.instead(self.there)
        last = [self._default.version] if self._default else []
        # Not just any version: what has only an alias, or is the canary, is not meant.
        may = [*own, *last, *instead]
        there = [number for number in may if number in self.there]
        order = ((there, "ready"), (may, "ready"), (may, "loading"), (may, "failed"))
        found = (
            entry
            for numbers, state in order
            for entry in map(self.versions.get, numbers)
            if entry is not None and entry.state == state
        )
        fallback = max(self.versions.values(), key=lambda entry: entry.version)
        self._default = next(found, fallback)

    def may_unload(self, version: int) -> bool:
        """Whether the model can do without a version that should not be served any more: not while
        nothing else answers by default. Where the policy names only what cannot be served, all goes
        on that has a folder."""
        default = self.default
        if default.state != "ready" or default.version not in self.there:
            return False
        return version not in self.there or default.version in self.policy.by_default(self.there)

    def pick(self, version: int | str) -> Entry:
        """The version of that number or alias. Raises ModelNotFound."""
        number = self.policy.aliases.get(version) if isinstance(version, str) else version
        found = None if number is None else self.versions.get(number)
        if found is None:
            what = (
                f"the alias {version[:100]!r}" if isinstance(version, str) else f"version {version}"
            )
            aliases = ", ".join(f"{a} ({n})" for a, n in self.policy.aliases.items()) or "none"
            lacks = f"the model {self.name!r} does not have {what}"
            if number in self.there:
                lacks = (
                    f"{what} of the model {self.name!r} is there but not served, for its card says "
                    f"'versions: {self.policy.said}'"
                )
            raise ModelNotFound(
                f"{lacks}; the versions are: {', '.join(map(str, self.versions))}; "
                f"the aliases are: {aliases}"
            )
        return found

    @property
    def trouble(self) -> str | None:
        """What is wrong with any version, and with the card."""
        said = [self.default.reason] if self.default.reason else []
        said += [
            f"version {entry.version}: {entry.reason}"
            for entry in self.versions.values()
            if entry.reason and entry is not self.default
        ]
        if self.problem and not any(self.problem in reason for reason in said):
            said.append(self.problem)
        return "; ".join(said) or None
