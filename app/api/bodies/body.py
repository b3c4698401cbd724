"""The body of a request, read from the connection."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from io import BufferedReader

import gevent

from app.api.bodies.framing import MAX_EXTENSION_BYTES, FramingError, chunk_size, read_trailers
from app.errors import BadRequest, ClientDisconnected
from app.serving.hub_rounds import next_round

# Bytes of a refused body that are read and discarded, so that the client sees the answer.
DISCARD_BYTES = 64 * 1024 * 1024
DISCARD_TIMEOUT_S = 10
PIECE = 64 * 1024
# Seconds until other greenlets get a turn: a client that sends as fast as the server reads would
# otherwise keep the hub busy.
TURN_S = 0.002


class Body:
    """`wsgi.input`: a body of known length, or in chunks. Reading blocks the greenlet.

    file: the connection's input. length: in bytes; None for chunks. proceed: asks a client that
    waits for `100 Continue` to send the body. received: bytes so far. ended: whether all of it was
    read. discarded: the most unread bytes to discard so that the client can still read the
    response; if there are more, the connection closes.
    """

    def __init__(
        self, file: BufferedReader, length: int | None, proceed: Callable[[], None] | None = None
    ) -> None:
        self._file = file
        self._chunked = length is None
        self._left = length or 0  # of the body, or of the current chunk
        self._extensions = 0
        self._failure: BadRequest | ClientDisconnected | None = None
        self._proceed = proceed
        self._turn = time.monotonic()
        self.received = 0
        self.discarded = DISCARD_BYTES
        self.ended = length == 0

    @property
    def failed(self) -> bool:
        """Whether nothing more of it can be read."""
        return self._failure is not None

    @property
    def awaited(self) -> bool:
        """Whether the client waits for `100 Continue` before it sends the body."""
        return self._proceed is not None and not self.ended

    def read(self, size: int | None = -1) -> bytes:
        """Read `size` bytes, fewer at the end, or everything left. Raises BadRequest for malformed
        chunks, and ClientDisconnected if the connection ends too early."""
        wanted = sys.maxsize if size is None or size < 0 else size
        pieces = []
        while wanted > 0 and not self.ended and (piece := self._piece(min(wanted, PIECE))):
            pieces.append(piece)
            wanted -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def readline(self, size: int | None = -1) -> bytes:
        """Read up to the end of a line, as PEP 3333 requires."""
        line = bytearray()
        while (size is None or size < 0 or len(line) < size) and (byte := self.read(1)):
            line += byte
            if byte == b"\n":
                break
        return bytes(line)

    def readlines(self, hint: int | None = None) -> list[bytes]:
        """Read all lines, as PEP 3333 requires."""
        return list(self)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.readline, b"")

    def _discard(self) -> None:
        """Read what is left, up to a limit, so that the client can still read the response. Called
        by pywsgi."""
        # A client that still waits for `100 Continue` sends no body.
        if self.ended or self._failure is not None or self._proceed is not None:
            return
        left = self.discarded
        try:
            with gevent.Timeout(DISCARD_TIMEOUT_S, False):  # type: ignore[arg-type]
                while left > 0 and (piece := self._piece(PIECE)):
                    left -= len(piece)
        except (BadRequest, ClientDisconnected):
            pass  # the body has not ended, so the connection closes

    def _piece(self, size: int) -> bytes:
        """Read at most `size` bytes; none at the end."""
        if self._failure is not None:
            raise self._failure
        if self.ended:
            return b""
        if time.monotonic() - self._turn > TURN_S:
            next_round()
            self._turn = time.monotonic()
        try:
            if self._proceed is not None:
                self._proceed()
                self._proceed = None
            return self._chunked_piece(size) if self._chunked else self._plain_piece(size)
        except FramingError as error:
            quoted = f": {error.quoted!r}" if error.quoted else ""
            self._failure = BadRequest(f"the body cannot be read: {error.problem}{quoted}")
        except (EOFError, OSError):
            self._failure = ClientDisconnected(
                "the client closed the connection before its body was sent"
            )
        except BaseException:  # a deadline
            if self._chunked:  # perhaps in the middle of a line
                self._failure = BadRequest("the body was not read in time")
            raise
        raise self._failure

    def _plain_piece(self, size: int) -> bytes:
        data = self._file.read1(min(size, self._left))
        if not data:
            raise EOFError
        self.received += len(data)
        self._left -= len(data)
        self.ended = self._left == 0
        return data

    def _chunked_piece(self, size: int) -> bytes:
        if not self._left:
            self._left = self._chunk()
            if not self._left:
                read_trailers(self._file.readline)
                self.ended = True
                return b""
        data = self._file.read1(min(size, self._left))
        if not data:
            raise EOFError
        self.received += len(data)
        self._left -= len(data)
        if not self._left and (end := self._file.read(2)) != b"\r\n":
            if len(end) < 2:
                raise EOFError
            raise FramingError(400, "a chunk is longer than its size says", end)
        return data

    def _chunk(self) -> int:
        """Read the size of the next chunk."""
        line = self._file.readline(MAX_EXTENSION_BYTES)
        if not line.endswith(b"\n") and len(line) < MAX_EXTENSION_BYTES:
            raise EOFError
        self._extensions += max(0, len(line) - 20)
        if self._extensions > MAX_EXTENSION_BYTES:
            raise FramingError(400, "the extensions of its chunks are too long")
        return chunk_size(line)
