"""The budget of a request, in one place: every limit on what a single request may cost."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.errors import Detail, LimitDetail, LimitedInput

if TYPE_CHECKING:
    from app.settings import Settings

# Problems that an error lists; a list of a million helps no one.
MAX_DETAILS = 100
# Pixels of all pictures of a request, in largest pictures: 32 photos of 12 megapixels, even where
# they have to be decoded at their full size.
_PICTURES = 8
# Bodies of all requests at once: less than the stack has for uploads (tmpfs), and, with what is
# made of them, than an application has memory.
_BODIES_BYTES = 256_000_000
# Rows of all requests at once that files and texts become: about what one request of the most
# pictures has for a model of 400 x 400.
_ROWS_BYTES = 512_000_000
# A table may have columns that the model does not use, a few times as many as it does.
_COLUMNS = 1_000
_COLUMNS_PER_FIELD = 10
# Characters of one text: far more than any window of tokens; a longer one is a mistake or worse.
MAX_CHARACTERS = 10_000
# Bytes of a number as a client sends it in binary form (float32).
_BYTES_OF_ELEMENT = 4
# The limit on an open dimension of an input if the card sets none. Attention takes memory and time
# for each pair: 16 million of them.
DEFAULT_LENGTH = 4_096


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a request, from the server's settings.

    max_pixels: of a picture, width times height. max_rows: predictions of one request.
    max_json_depth: levels of lists and objects in a body. max_streams: texts that are written at
    once, over all models. max_body_bytes: of a body, after decompression. max_answer_bytes: of an
    answer as it is written, and of the arrays that one run of a model answers.
    """

    max_pixels: int = 64_000_000
    max_rows: int = 100_000
    max_json_depth: int = 64
    max_streams: int = 256
    max_body_bytes: int = 16_000_000
    max_answer_bytes: int = 64_000_000

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """Return the limits of a server."""
        return cls(
            settings.max_pixels,
            settings.max_rows,
            settings.max_json_depth,
            settings.max_streams,
            settings.max_body_bytes,
            settings.max_answer_bytes,
        )

    @classmethod
    def offline(cls, settings: Settings) -> Limits:
        """Return the limits of commands: a file of one's own may have as many rows as fit into
        memory."""
        return cls(
            settings.max_pixels,
            max_rows=sys.maxsize,
            max_body_bytes=sys.maxsize,
            max_answer_bytes=sys.maxsize,
        )

    @property
    def max_request_pixels(self) -> int:
        """The most pixels of all pictures of a request together, as far as they have to be
        decoded."""
        return _PICTURES * self.max_pixels

    @property
    def max_elements(self) -> int:
        """The most elements of a tensor that is written as JSON, and of samples of all recordings
        of a request: as many as the largest body holds in binary form, so that a digit and a comma,
        or a second of silence, cost no more memory than a float32."""
        return self.max_body_bytes // _BYTES_OF_ELEMENT

    @property
    def max_bodies_bytes(self) -> int:
        """The most bytes of the bodies of all requests at work in the process."""
        return max(_BODIES_BYTES, 2 * self.max_body_bytes)

    @property
    def max_rows_bytes(self) -> int:
        """The most bytes of the rows that files and texts of all requests become; a request that
        needs more has them alone."""
        return _ROWS_BYTES

    def columns(self, fields: int) -> int:
        """Return the most columns of a table, or keys of a row, for a model of `fields` fields."""
        return max(_COLUMNS, _COLUMNS_PER_FIELD * fields)

    def excess(self, field: str, rows: int) -> list[Detail]:
        """Return the problem of too many rows, named `field`; empty if there are few enough."""
        if rows <= self.max_rows:
            return []
        expected = f"at most {self.max_rows:,} in one request (KERAPORT_MAX_ROWS)"
        return [LimitDetail(field, f"{rows:,} rows", rows, expected)]

    def check_answer(self, size: int, rows: int) -> None:
        """Raise InvalidInput if an answer of about `size` bytes for `rows` rows is too large."""
        if size <= self.max_answer_bytes:
            return
        expected = (
            f"at most {megabytes(self.max_answer_bytes)} (KERAPORT_MAX_ANSWER_MB): "
            "send fewer or shorter rows at a time"
        )
        problem = f"about {megabytes(size)} for {rows:,} {'row' if rows == 1 else 'rows'}"
        detail = LimitDetail("answer", problem, size, expected)
        raise LimitedInput(f"answer: {problem}, expected {expected}", [detail])


def too_many_elements(field: str, elements: int, most: int) -> list[Detail]:
    """Return the problem of too many numbers or texts in JSON, named `field`; empty if there
    are few enough."""
    if elements <= most:
        return []
    expected = f"at most {most:,} in JSON (a quarter of the bytes of KERAPORT_MAX_BODY_MB)"
    return [LimitDetail(field, f"{elements:,} elements", elements, expected)]


def megabytes(size: int) -> str:
    """Return bytes in words: `64 MB`, `1.5 MB`."""
    return f"{size / 1e6:,.0f} MB" if size >= 10_000_000 else f"{size / 1e6:,.1f} MB"
