"""The policy of versions: which of a model are served, and under which names."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

# Such as 3, 0004 or 20261121093000; every language holds them exactly.
_NUMBER = re.compile(r"[0-9]{1,15}", re.ASCII)
_ALIAS = re.compile(r"(?![0-9]+\Z)[A-Za-z0-9._-]{1,100}")

Version = Annotated[int, Field(ge=0, lt=10**15)]


def version_number(text: str) -> int | None:
    """Return the version that a folder's name, or a part of an address, stands for; None for any
    other text."""
    return int(text) if _NUMBER.fullmatch(text) else None


def is_alias(text: str) -> bool:
    """Tell whether a version may have this name: letters, digits, - _ and ., not digits alone,
    which are numbers of versions."""
    return _ALIAS.fullmatch(text) is not None


def _checked(alias: object) -> object:
    # YAML reads 3 as a number.
    text = str(alias) if isinstance(alias, int) and not isinstance(alias, bool) else alias
    if isinstance(text, str) and not is_alias(text):
        raise ValueError(
            f"{text[:100]!r} cannot name a version: use letters, digits, - _ and ., not digits "
            "alone"
        )
    return text


class Canary(BaseModel):
    """A version that answers `percent` of the requests that name no version."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    version: Version
    percent: Annotated[float, Field(ge=0, le=100)]


class Policy(BaseModel):
    """The part of a card about versions. It counts in the card of the model's own folder."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    versions: Literal["latest", "all"] | Annotated[tuple[Version, ...], Field(strict=False)] = (
        "latest"
    )
    aliases: dict[Annotated[str, BeforeValidator(_checked)], Version] = {}
    canary: Canary | None = None

    @field_validator("versions")
    @classmethod
    def _some(cls, value: Literal["latest", "all"] | tuple[int, ...]) -> Any:
        if not value:
            raise ValueError("the list is empty: expected numbers, or 'latest' or 'all'")
        return value

    @property
    def versions_text(self) -> str:
        """`versions` as the card has it."""
        return self.versions if isinstance(self.versions, str) else str([*self.versions])

    def default_candidates(self, present: Collection[int]) -> list[int]:
        """Candidates for the default version, best first. present: the versions that have a
        folder."""
        known = present if isinstance(self.versions, str) else self.versions
        return sorted(self._without_canary(known), reverse=True)

    def fallbacks(self, present: Collection[int]) -> list[int]:
        """Fallbacks where no default candidate is ready, best first: the other versions that have a
        folder."""
        others = self._without_canary(present) - set(self.default_candidates(present))
        return sorted(others, reverse=True)

    def _without_canary(self, versions: Collection[int]) -> set[int]:
        canary = self.canary.version if self.canary else None
        # A canary that is alone has all requests to itself.
        return set(versions) - {canary} or set(versions)

    def wanted(
        self, present: Collection[int], failed: Collection[int], serving: int | None = None
    ) -> list[int]:
        """Return the versions to serve, in the order in which to load them; some may have no
        folder.

        failed: those that could not be loaded. Of `latest`, the next lower one is served in place
        of one that failed, so that a restart loses no model to a broken new version. serving: the
        version that answers by default now. If no listed version can be served (wrong number,
        broken file), the serving one stays, and after a restart the highest present one is served.
        """
        first = self.default_candidates(present)
        if self.versions == "latest":
            first = _up_to_a_good_one(first, failed)
        elif all(version in failed or version not in present for version in first):
            fallbacks = self.fallbacks(present)
            first += [serving] if serving in fallbacks else _up_to_a_good_one(fallbacks, failed)
        named = {*self.aliases.values(), *([self.canary.version] if self.canary else [])}
        return first + sorted(named - set(first), reverse=True)


def _up_to_a_good_one(versions: list[int], failed: Collection[int]) -> list[int]:
    good = next((i for i, v in enumerate(versions) if v not in failed), len(versions))
    return versions[: good + 1]
