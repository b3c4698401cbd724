"""Which versions of a model are served, and what each may be called."""

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
    """The version that a folder's name, or a part of an address, stands for; None for any other
    text."""
    return int(text) if _NUMBER.fullmatch(text) else None


def is_alias(text: str) -> bool:
    """Whether a version may be called so: letters, digits, - _ and ., not digits alone, which are
    numbers of versions."""
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
    """A version that answers so many percent of the requests that name none."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    version: Version
    percent: Annotated[float, Field(ge=0, le=100)]


class Policy(BaseModel):
    """What a card says of versions. Counts in the card of the model's own folder."""

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
    def said(self) -> str:
        """`versions` as the card has it."""
        return self.versions if isinstance(self.versions, str) else str([*self.versions])

    def by_default(self, there: Collection[int]) -> list[int]:
        """The versions that may answer whoever names none, the first of them that can. there: those
        that have a folder."""
        known = there if isinstance(self.versions, str) else self.versions
        return sorted(self._without_canary(known), reverse=True)

    def instead(self, there: Collection[int]) -> list[int]:
        """Those that answer whoever names none where none of `by_default` can, the first of them
        that can: the others that have a folder."""
        others = self._without_canary(there) - set(self.by_default(there))
        return sorted(others, reverse=True)

    def _without_canary(self, versions: Collection[int]) -> set[int]:
        canary = self.canary.version if self.canary else None
        # A canary that is alone has all requests to itself.
        return set(versions) - {canary} or set(versions)

    def wanted(
        self, there: Collection[int], failed: Collection[int], serving: int | None = None
    ) -> list[int]:
        """The versions to be served, in the order in which to load them; some of them may have no
        folder.

        failed: those that could not be loaded. Of `latest`, the next lower one is served in place
        of one that failed, so that a restart loses no model to a broken new version. serving: the
        version that answers by default now. Where none of a list can be served, because of a wrong
        number or a broken file, that one goes on, and after a restart the highest that there is.
        """
        first = self.by_default(there)
        if self.versions == "latest":
            first = _up_to_a_good_one(first, failed)
        elif all(version in failed or version not in there for version in first):
            instead = self.instead(there)
            first += [serving] if serving in instead else _up_to_a_good_one(instead, failed)
        named = {*self.aliases.values(), *([self.canary.version] if self.canary else [])}
        return first + sorted(named - set(first), reverse=True)


def _up_to_a_good_one(versions: list[int], failed: Collection[int]) -> list[int]:
    good = next((i for i, v in enumerate(versions) if v not in failed), len(versions))
    return versions[: good + 1]
