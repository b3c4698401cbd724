"""Fields of a form that are called like the fields of an input, in place of a part for all of
them."""

from __future__ import annotations

from collections.abc import Sequence

from app.serving.tasks.base import Part
from app.serving.tasks.inputs.fields import Fields
from app.serving.tasks.inputs.input import Input


class FormFields:
    """The fields of a form that belong to no input by their names. inputs: of the model; fields
    count if no input, and no other field, has their name."""

    def __init__(self, inputs: Sequence[Input]) -> None:
        takers = [each for each in inputs if isinstance(each, Fields)]
        names = [each.name for each in inputs] + [f.name for each in takers for f in each.fields]
        self._owners = {
            f.name: each for each in takers for f in each.fields if names.count(f.name) == 1
        }

    def own(self, part: Part) -> bool:
        """Tell whether a part is one of these fields, as a text."""
        return part.filename is None and part.name in self._owners

    def names(self, each: Input) -> list[str]:
        """Return those that stand for an input: all that it has, or none."""
        found = [name for name, owner in self._owners.items() if owner is each]
        return found if isinstance(each, Fields) and len(found) == len(each.fields) else []

    def rows(self, parts: Sequence[Part]) -> dict[str, list[dict[str, str]]]:
        """Return rows of cells by the names of inputs. parts: of the form; the first of each name
        belong to the first row, and so on. Empty ones are missing, as empty cells of a CSV are."""
        found: dict[str, list[dict[str, str]]] = {}
        counts: dict[str, int] = {}
        for part in parts:
            if not self.own(part):
                continue
            at = counts[part.name] = counts.get(part.name, -1) + 1
            rows = found.setdefault(self._owners[part.name].name, [])
            if at == len(rows):
                rows.append({})
            if text := part.file.read().decode(errors="replace").strip():
                rows[at][part.name] = text
        return found
