"""Texts: as they are, or as the ids of their words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from app.errors import BadRequest, Detail, LimitDetail, short
from app.json_body import ENCODED_TWICE, is_wrapped, read_json
from app.serving.arrays import Array
from app.serving.cards.card import FieldSpec
from app.serving.cards.kinds import Kind
from app.serving.cards.text_input import TextInput
from app.serving.limits import MAX_CHARACTERS, Limits
from app.serving.tasks.base import ENOUGH, Part, Payload, invalid, parse_json
from app.serving.tasks.inputs.input import FILE, Input, Parsed, Where, with_columns
from app.serving.tasks.inputs.tokens import Tokens, room
from app.serving.tasks.parts import Parts, words
from app.serving.tasks.tables.csv_columns import check_columns
from app.serving.tasks.tables.csv_table import read_table
from app.serving.tensors import numpy_dtype
from app.thread_slices import checkpoint, free_rows_afterwards

# The name of a text in JSON, a form or a CSV, beside that of the model's input.
KEY = "text"
_ROW = "a text, or an object with {name}"
_HINT = f'; expected a text, as "…" or {{"{KEY}": "…"}}'


class Text(Input):
    """One text a row. Raises CardError from `__init__` if card and model do not fit.

    tokens: what makes ids of them; None for a model that takes texts as they are.
    """

    kind = "text"
    has_parts = True
    accepts = frozenset({"json", "csv", "form"})
    # A part of a form is the text itself.
    plain = True

    def __init__(self, kind: Kind[TextInput], limits: Limits) -> None:
        super().__init__(kind.name, kind.specs, limits)
        self.fields = [FieldSpec(name=kind.name, type="text")]
        index = kind.card.index
        self.tokens = None if index is None else Tokens(index)

    def body(self, payload: Payload) -> Parsed:
        """Read a text, a list of texts, objects, a CSV with a header, or a form."""
        if payload.kind == "csv":
            return self._table(payload.data, keep=payload.keep_extra)
        if payload.kind == "form":
            return self._form(payload.parts, keep=payload.keep_extra)
        value = parse_json(payload.data, self.limits, _HINT, texts=True)
        if is_wrapped(value) and self._holds_text(value):
            raise BadRequest(f"the body is a text with a request in it: {ENCODED_TWICE}")
        many = isinstance(value, list)
        if many and not value:
            raise BadRequest("the list is empty: expected at least one text")
        if many and (excess := self.limits.excess("body", len(value))):
            raise invalid(excess)
        rows = value if many else [value]
        return self._objects(rows, lambda i: f"[{i}]" if many else "")

    def _holds_text(self, text: str) -> bool:
        """Whether a text is a whole request itself: an object with nothing but a text. Other JSON
        may be what the model reads."""
        if len(text) > MAX_CHARACTERS:
            return False
        try:
            value = read_json(text.encode(), self.limits.max_json_depth)
        except (ValueError, BadRequest):
            return False
        return isinstance(value, dict) and [*value] in ([self.name], [KEY])

    def values(self, values: Sequence[Any], where: Where) -> Parsed:
        """Read texts."""
        if excess := self._excess(len(values)):
            raise invalid(excess)
        texts: list[Any] = []
        details: list[Detail] = []
        shares = np.zeros(len(values), np.float32)
        (spec,) = self.specs
        ids = None
        if self.tokens is not None:
            ids = room(len(values), self.tokens.index.length, spec.dtype)
        for i, value in enumerate(values):
            found = self._problem(value)
            if found is None and ids is not None and self.tokens is not None:
                row, shares[i] = self.tokens.ids(value)
                self.tokens.fill(ids[i], row)
                found = self._unknown(shares[i])
            elif found is None:
                texts.append(value.encode())
            if found is not None:
                problem, sent, expected = found
                details.append(Detail(where(i) or self.name, problem, sent, expected))
                if len(details) > ENOUGH:
                    raise invalid(details, more=i + 1 < len(values))
            checkpoint()
        if details:
            return Parsed(details=details)
        # Of many rows no one asks for them, and to free many takes long.
        own = {self.name: values[0]} if len(values) == 1 else {}
        if ids is not None:
            return Parsed({spec.name: ids}, unknown={self.name: shares}, texts=own)
        return Parsed({spec.name: self._as_tensor(texts)}, texts=own)

    def _as_tensor(self, texts: Sequence[bytes]) -> Array:
        array = np.empty(len(texts), object)
        array[:] = texts
        return array[:, None] if len(self.specs[0].row_shape) == 1 else array

    def most_bytes(self, count: int) -> int:
        """Return the most bytes that the ids of `count` texts take."""
        if self.tokens is None:
            return 0
        (spec,) = self.specs
        most = min(self.limits.max_elements, count * self.tokens.index.length)
        return most * numpy_dtype(spec.dtype).itemsize

    def parts(self, arrays: Mapping[str, Array], texts: Mapping[str, str], most: int) -> Parts:
        """Return the words, or groups of words that stand together."""
        return words(texts[self.name], most, self._encoded)

    def _encoded(self, texts: Sequence[str]) -> dict[str, Array]:
        """Return what the model is fed with for texts, which may be empty."""
        (spec,) = self.specs
        if self.tokens is None:
            return {spec.name: self._as_tensor([text.encode() for text in texts])}
        ids = room(len(texts), self.tokens.index.length, spec.dtype)
        for row, text in zip(ids, texts, strict=True):
            self.tokens.fill(row, self.tokens.ids(text)[0])
        return {spec.name: ids}

    def cells(self, rows: Sequence[dict[str, str]]) -> Parsed:
        """Read rows of a CSV with a column of texts."""
        return self.values([row.get(self.name, "") for row in rows], lambda i: f"[{i}].{self.name}")

    def encoded(self, texts: Sequence[bytes], where: Where) -> Parsed:
        """Read texts of v1 and v2, in UTF-8: those that become ids. Others are only measured, and
        stay the bytes that they are."""
        if self.tokens is not None:
            return self.values([text.decode(errors="replace") for text in texts], where)
        details: list[Detail] = []
        for i, text in enumerate(texts):
            # No character has less than a byte.
            characters = len(text)
            if characters > MAX_CHARACTERS:
                characters = len(text.decode(errors="replace"))
            if characters > MAX_CHARACTERS:
                details.append(Detail(where(i), *_too_long(characters)))
                if len(details) > ENOUGH:
                    raise invalid(details, more=i + 1 < len(texts))
            checkpoint()
        return Parsed(details=details)

    def _objects(self, rows: Sequence[Any], row: Where) -> Parsed:
        """Read texts, objects with a text, and lists of one text, as tensors have them."""
        values: list[Any] = []
        details: list[Detail] = []
        expected = _ROW.format(name=self.name)
        for i, each in enumerate(rows):
            if isinstance(each, dict):
                names = [name for name in (self.name, KEY) if name in each]
                details += [
                    Detail(_in(row(i), short(name)), "unexpected", expected=f"only {self.name}")
                    for name in [*each][: len(names) + 2]
                    if name not in names[:1]
                ]
                if not names:
                    details.append(Detail(_in(row(i), self.name), "missing", expected="a text"))
                each = each[names[0]] if names else ""
            elif isinstance(each, list) and len(each) == 1:
                each = each[0]
            if not isinstance(each, str):
                details.append(Detail(row(i) or self.name, "wrong type", short(each), expected))
            if len(details) > ENOUGH:
                raise invalid(details, more=i + 1 < len(rows))
            values.append(each)
        if details:
            raise invalid(details)
        objects = [isinstance(each, dict) for each in rows]
        read = self.values(values, lambda i: _in(row(i), self.name) if objects[i] else row(i))
        if read.details:
            raise invalid(read.details)
        return read

    def _table(self, data: bytes, *, keep: bool) -> Parsed:
        """Read a column of a CSV. keep: whether others are left out, not refused."""
        table = read_table(data, [self.name, KEY], self.limits)
        free_rows_afterwards(table.rows, len(table.header))
        column = self.name if self.name in table.header else KEY
        checked = check_columns(table, [column], keep=keep)
        texts = [row.get(column, "") for row in checked.rows]
        read = with_columns(checked, lambda: self.values(texts, lambda i: f"[{i}].{column}"))
        if read.details:
            raise invalid(read.details)
        return read

    def _form(self, parts: Sequence[Part], *, keep: bool) -> Parsed:
        """Read a part a text, or the upload of a CSV."""
        texts = [part for part in parts if part.name in (self.name, KEY)]
        tables = [part for part in parts if part.name == FILE and part.filename]
        if len(tables) == 1 and not texts:
            return self._table(tables[0].file.read(), keep=keep)
        if not texts:
            found = ", ".join(repr(short(part.name)) for part in parts[:10]) or "nothing"
            raise BadRequest(
                f"expected texts as fields {self.name!r}, or one CSV as the field {FILE!r}, found "
                f"{found}"
            )
        if excess := self.limits.excess("body", len(texts)):
            raise invalid(excess)
        values = [part.file.read().decode(errors="replace") for part in texts]
        many = len(values) > 1
        read = self.values(values, lambda i: f"{self.name}[{i}]" if many else self.name)
        if read.details:
            raise invalid(read.details)
        return read

    def _problem(self, value: Any) -> tuple[str, Any, str] | None:
        """Return what is wrong with a value, what was sent, and what was expected."""
        if not isinstance(value, str):
            return "wrong type", short(value), self.expected()
        if len(value) > MAX_CHARACTERS:
            return _too_long(len(value))
        if not value.strip():
            return "empty", short(value), self.expected()
        return None

    def _unknown(self, share: float) -> tuple[str, Any, str] | None:
        assert self.tokens is not None
        if share < 1:
            return None
        level = self.tokens.index.level
        return (
            f"no known {level}",
            None,
            f"a text with at least one {level} that the model knows",
        )

    def _excess(self, count: int) -> list[Detail]:
        """Return the problem of more texts than a request may have; empty for few enough."""
        if self.tokens is None:
            return self.limits.excess(self.name, count)
        length = self.tokens.index.length
        most = max(1, self.limits.max_elements // length)
        if count <= most:
            return self.limits.excess(self.name, count)
        problem = f"{count:,} texts of {length:,} tokens each"
        expected = f"at most {most:,} in one request (KERAPORT_MAX_BODY_MB)"
        return [LimitDetail(self.name, problem, count, expected)]

    def example(self) -> Mapping[str, Array]:
        """Return a text, or one of known words."""
        return self.values([self.example_text], lambda i: "").arrays

    @cached_property
    def example_text(self) -> str:
        """A text that the model takes."""
        return "An example of a text." if self.tokens is None else self.tokens.example()

    def body_schema(self) -> dict[str, Any]:
        """JSON Schema of a row."""
        value = self.value_schema()
        named = [
            {
                "type": "object",
                "properties": {name: value},
                "required": [name],
                "additionalProperties": False,
            }
            for name in dict.fromkeys((self.name, KEY))
        ]
        return {"anyOf": [value, *named], "examples": [self.example_text]}

    def value_schema(self) -> dict[str, Any]:
        """JSON Schema of a text."""
        return {
            "type": "string",
            "minLength": 1,
            "maxLength": MAX_CHARACTERS,
            "pattern": r"\S",
            "examples": [self.example_text],
        }

    def expected(self) -> str:
        """A text."""
        return "a text"

    def about(self) -> dict[str, dict[str, Any]]:
        """The limit, and what becomes of texts."""
        tokens = {} if self.tokens is None else self.tokens.about()
        return {self.name: {"kind": self.kind, "max_characters": MAX_CHARACTERS, **tokens}}


def _too_long(characters: int) -> tuple[str, str, str]:
    return "too long", f"{characters:,} characters", f"at most {MAX_CHARACTERS:,} characters"


def _in(row: str, name: str) -> str:
    return f"{row}.{name}" if row else name
