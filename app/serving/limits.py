"""The budget of a request, in one place: every limit on what a single request may cost."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.errors import Detail

if TYPE_CHECKING:
    from app.settings import Settings

# Problems that an error lists; a list of a million helps no one.
MAX_DETAILS = 100
# Pixels of all pictures of a request, in largest pictures.
_PICTURES = 4
# A table may have columns that the model does not use, a few times as many as it does.
_COLUMNS = 1_000
_COLUMNS_PER_FIELD = 10
# Bytes of a number as a client sends it in binary form (float32).
_BYTES_OF_ELEMENT = 4


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request may cost, from the server's settings.

    max_pixels: of a picture, width times height. max_rows: predictions of one request.
    max_json_depth: levels of lists and objects in a body. max_streams: texts that are written at
    once, over all models. max_body_bytes: of a body, after decompression.
    """

    max_pixels: int = 64_000_000
    max_rows: int = 100_000
    max_json_depth: int = 64
    max_streams: int = 256
    max_body_bytes: int = 16_000_000

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """Those of a server."""
        return cls(
            settings.max_pixels,
            settings.max_rows,
            settings.max_json_depth,
            settings.max_streams,
            settings.max_body_bytes,
        )

    @classmethod
    def offline(cls, settings: Settings) -> Limits:
        """Those of commands: a file of one's own may have as many rows as fit into memory."""
        return cls(settings.max_pixels, max_rows=sys.maxsize, max_body_bytes=sys.maxsize)

    @property
    def max_request_pixels(self) -> int:
        """Of all pictures of a request together."""
        return _PICTURES * self.max_pixels

    @property
    def max_elements(self) -> int:
        """Of a tensor that is written as JSON: as many as the largest body holds in binary form,
        so that a digit and a comma cost no more memory than a float32."""
        return self.max_body_bytes // _BYTES_OF_ELEMENT

    def columns(self, fields: int) -> int:
        """The most columns of a table, or keys of a row, for a model of so many fields."""
        return max(_COLUMNS, _COLUMNS_PER_FIELD * fields)

    def excess(self, field: str, rows: int) -> list[Detail]:
        """What is wrong with so many rows: nothing, or one problem of `field`."""
        if rows <= self.max_rows:
            return []
        expected = f"at most {self.max_rows:,} in one request (KERAPORT_MAX_ROWS)"
        return [Detail(field, f"{rows:,} rows", rows, expected)]
