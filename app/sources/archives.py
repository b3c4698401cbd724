"""Archives become folders: plain files only, none outside, no more bytes than allowed."""

from __future__ import annotations

import gzip
import io
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from app.errors import PullError
from app.serving.cards.versions import version_number
from app.sources.files import MAX_FILES, Room, checked_path, write_file

_BLOCK = 1_000_000
# The path below the folder, the content and its size; no path for what is left out.
Entry = tuple[str | None, IO[bytes] | None, int]
_BROKEN = (
    gzip.BadGzipFile,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,  # a compression that zipfile does not know
    RuntimeError,  # encrypted
    UnicodeError,
)


def unpack(archive: Path, name: str, folder: Path, room: Room) -> Path:
    """Unpack an archive into `folder`, and return the folder that holds the model: `folder`, or the
    only folder in it. name: that of the file at the source. Raises PullError."""
    folder.mkdir()
    try:
        read = _unzip if name.lower().endswith(".zip") else _untar
        for count, (path, file, size) in enumerate(read(archive), 1):
            if count > MAX_FILES:
                raise PullError(f"{name} holds more than {MAX_FILES:,} files")
            if path is None or file is None:
                room.take(size)  # it is read over
            else:
                write_file(folder / path, _pieces(file), size, room)
    except _BROKEN as error:
        reason = str(error) or type(error).__name__
        raise PullError(f"{name} cannot be unpacked: {reason}") from None
    except (FileExistsError, NotADirectoryError) as error:
        raise PullError(f"{name} holds {Path(error.filename).name!r} twice") from None
    entries = [*folder.iterdir()]
    if not entries:
        raise PullError(f"{name} is empty")
    alone = len(entries) == 1 and entries[0].is_dir() and version_number(entries[0].name) is None
    return entries[0] if alone else folder


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    while piece := file.read(_BLOCK):
        yield piece


def _untar(archive: Path) -> Iterator[Entry]:
    with archive.open("rb") as plain, gzip.open(archive) as packed:
        is_packed = plain.read(2) == b"\x1f\x8b"
        plain.seek(0)
        source = _Reads(packed if is_packed else plain)
        with tarfile.open(fileobj=source, mode="r:") as tar:
            for member in tar:
                path = checked_path(member.name)
                if not (member.isreg() or member.isdir()):
                    raise _not_plain(member.name)
                file = tar.extractfile(member)
                yield (path, file, member.size) if file else (None, None, 0)
        # Up to its end, where gzip has a checksum.
        while rest := source.read(_BLOCK):
            yield None, None, len(rest)


class _Reads(io.BufferedIOBase):
    """A file of which no header gets more than its share: tarfile takes some as a whole, of any
    length that they claim."""

    def __init__(self, file: io.BufferedIOBase) -> None:
        self._file = file

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to another place."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the place."""
        return self._file.tell()

    def read(self, size: int | None = -1) -> bytes:
        """Read at most `size` bytes."""
        if size is None or not 0 <= size <= 2 * _BLOCK:
            raise tarfile.ReadError("a header claims to be longer than any is")
        return self._file.read(size)


def _unzip(archive: Path) -> Iterator[Entry]:
    with zipfile.ZipFile(archive) as packed:
        for entry in packed.infolist():
            path = checked_path(entry.filename)
            if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _not_plain(entry.filename)
            if entry.is_dir():
                yield None, None, 0
                continue
            with packed.open(entry) as file:
                yield path, file, entry.file_size


def _not_plain(name: str) -> PullError:
    return PullError(f"{name[:100]!r} in the archive is a link or a device, not a plain file")
