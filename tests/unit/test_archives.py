"""Archives: what is unpacked, and what is refused."""

from __future__ import annotations

import gzip
import io
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from app.errors import PullError
from app.sources import archives
from app.sources.archives import unpack
from app.sources.files import Room
from tests.elsewhere import tree

MB = 1_000_000


def tar_of(*members: tuple[tarfile.TarInfo, bytes], packed: bool = True) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz" if packed else "w") as tar:
        for member, content in members:
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def file(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    return member


def zip_of(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in files.items():
            packed.writestr(name, content)
    return buffer.getvalue()


def zip_link(name: str, target: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        entry = zipfile.ZipInfo(name)
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        packed.writestr(entry, target)
    return buffer.getvalue()


def unpacked(tmp_path: Path, content: bytes, name: str, most: int = MB) -> Path:
    (tmp_path / "archive").write_bytes(content)
    return unpack(tmp_path / "archive", name, tmp_path / "out", Room(most))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("m.tar.gz", tar_of((file("a/b.txt"), b"1"), (file("c"), b"2"))),
        ("m.tar", tar_of((file("./a/b.txt"), b"1"), (file("c"), b"2"), packed=False)),
        ("m.tgz", tar_of((file("d/a/b.txt"), b"1"), (file("d/c"), b"2"))),
        ("m.ZIP", zip_of(**{"a/b.txt": b"1", "c": b"2", ".hidden": b"3", "__MACOSX/c": b"4"})),
        ("m.zip", zip_of(**{"d/": b"", "d/a/b.txt": b"1", "d/c": b"2"})),
    ],
)
def test_an_archive_becomes_a_folder(tmp_path: Path, name: str, content: bytes) -> None:
    assert tree(unpacked(tmp_path, content, name)) == {"a/b.txt": b"1", "c": b"2"}


def test_a_numbered_folder_that_is_alone_stays_one(tmp_path: Path) -> None:
    folder = unpacked(tmp_path, zip_of(**{"3/c": b"2"}), "m.zip")
    assert tree(folder) == {"3/c": b"2"}


def claims(size: int) -> bytes:
    """A tar with a header of this many bytes, which tarfile would read at once."""
    member = file("x", tarfile.XHDTYPE)
    member.size = size
    return gzip.compress(member.tobuf() + b"\0" * 10_000)


def lies() -> bytes:
    """A zip whose entry unpacks to more than it says."""
    content = bytearray(zip_of(x=b"\0" * 100_000))
    at = content.rindex(b"PK\x01\x02")
    content[at + 24 : at + 28] = struct.pack("<I", 10)
    return bytes(content)


REFUSED: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "outside": ("m.tar.gz", lambda: tar_of((file("../x"), b"1")), "leads out"),
    "absolute": ("m.tar.gz", lambda: tar_of((file("/etc/x"), b"1")), "leads out"),
    "outside of a zip": ("m.zip", lambda: zip_of(**{"a/../../x": b"1"}), "leads out"),
    "backslash": ("m.zip", lambda: zip_of(**{"..\\x": b"1"}), "leads out"),
    "link": ("m.tar", lambda: tar_of((file("x", tarfile.SYMTYPE, "/etc/passwd"), b"")), "link"),
    "hard link": ("m.tar", lambda: tar_of((file("x", tarfile.LNKTYPE, "y"), b"")), "link"),
    "device": ("m.tar", lambda: tar_of((file("x", tarfile.CHRTYPE), b"")), "device"),
    "link in a zip": ("m.zip", lambda: zip_link("x", "/etc/passwd"), "link"),
    "bomb": ("m.tar.gz", lambda: tar_of((file("x"), b"\0" * 2 * MB)), "more than 0.001 GB"),
    "hidden bomb": ("m.tar.gz", lambda: tar_of((file(".x"), b"\0" * 2 * MB)), "more than 0.001"),
    "zip bomb": ("m.zip", lambda: zip_of(x=b"\0" * 2 * MB), "more than 0.001 GB"),
    "many": ("m.zip", lambda: zip_of(x=b"\0" * MB, y=b"1"), "more than 0.001 GB"),
    "long header": ("m.tar.gz", lambda: claims(10 * 1000 * MB), "header"),
    "lying zip": ("m.zip", lies, "m.zip cannot be unpacked|ended after"),
    "twice": ("m.tar", lambda: tar_of((file("x"), b"1"), (file("x"), b"2")), "'x' twice"),
    "file and folder": ("m.tar", lambda: tar_of((file("x"), b""), (file("x/y"), b"")), "twice"),
    "cut": ("m.tar.gz", lambda: tar_of((file("x"), bytes(range(256))))[:-20], "cannot be unpacked"),
    "cut zip": ("m.zip", lambda: zip_of(x=b"1")[:-5], "cannot be unpacked"),
    "no archive": ("m.zip", lambda: b"<html>", "cannot be unpacked"),
    "no tar": ("m.tar.gz", lambda: b"<html>" * 1000, "cannot be unpacked"),
    "empty": ("m.zip", lambda: zip_of(), "is empty"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_dangerous_or_broken_is_refused(tmp_path: Path, case: str) -> None:
    name, content, said = REFUSED[case]
    with pytest.raises(PullError, match=said):
        unpacked(tmp_path, content(), name)
    # Nothing outside, and no more than was allowed.
    assert {path.name for path in tmp_path.iterdir()} == {"archive", "out"}
    assert sum(map(len, tree(tmp_path / "out").values())) <= MB


def test_the_number_of_files_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_FILES", 2)
    with pytest.raises(PullError, match="more than 2 files"):
        unpacked(tmp_path, zip_of(a=b"", b=b"", c=b""), "m.zip")
