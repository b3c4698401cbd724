"""The memory that decoding pictures takes, measured in a separate process."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from app.serving.tasks.files.pictures import MOST_BYTES, PictureSpec, opened
from tests.support import ROOT
from tests.unit.test_picture_limits import COSTLY, damages, png, tiled_tiff
from tests.unit.test_pictures import encode


def bomb() -> bytes:
    """A PNG of 196 million grey pixels in 200 kB."""
    side = 14_000
    row = zlib.compressobj(9)
    data = b"".join(row.compress(bytes(side + 1)) for _ in range(side)) + row.flush()
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)), (b"IDAT", data))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in (*chunks, (b"IEND", b""))
    )


MEASURE = """
import io, re, resource, sys
from pathlib import Path
from app.serving.tasks.files.pictures import PictureSpec, UnreadablePicture, decode

def megabytes(what):
    found = re.search(what + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) // 1024

data = Path(sys.argv[1]).read_bytes()
before = megabytes("VmHWM")
if len(sys.argv) > 3:
    most = megabytes("VmSize") + int(sys.argv[3]) << 20
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
try:
    decode(io.BytesIO(data), PictureSpec((8, 8), "L", "stretch", int(sys.argv[2])))
except UnreadablePicture as error:
    print(error.problem)
else:
    print("decoded")
print(megabytes("VmHWM") - before)
"""


def decoded_apart(data: bytes, max_pixels: int, folder: Path, *limit: int) -> tuple[str, int]:
    """What a process of its own says to `data`, and the megabytes that it took for it. limit: the
    megabytes of address space that it may add."""
    (folder / "data").write_bytes(data)
    command = [sys.executable, "-c", MEASURE, str(folder / "data"), *map(str, (max_pixels, *limit))]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    said, megabytes = run.stdout.splitlines()
    return said, int(megabytes)


def test_a_bomb_is_refused_before_its_pixels_are_read(tmp_path: Path) -> None:
    data = bomb()
    assert len(data) < 1_000_000
    said, megabytes = decoded_apart(data, 64_000_000, tmp_path)
    assert said == "the picture has 14000x14000 pixels"
    assert megabytes < 20
    # The measure itself can tell: without the limit the pixels are there.
    said, megabytes = decoded_apart(data, 196_000_000, tmp_path)
    assert said == "decoded"
    assert megabytes > 100


def test_a_picture_for_which_memory_is_short(tmp_path: Path) -> None:
    said, _ = decoded_apart(bomb(), 196_000_000, tmp_path, 100)
    assert said == "the picture needs more memory than there is"


@pytest.mark.parametrize("kind", ["plain", "big", "decoy"])
def test_a_tile_of_a_tiff_that_is_a_bomb_is_refused(kind: str, tmp_path: Path) -> None:
    data = tiled_tiff(12_000, big=kind == "big", decoy=kind == "decoy")
    assert len(data) < 1_000_000
    said, megabytes = decoded_apart(data, 64_000_000, tmp_path)
    assert said == "the picture is made of tiles of 144,000,000 pixels"
    assert megabytes < 20


def test_a_large_picture_of_16_bits_takes_no_more_than_a_few_copies(tmp_path: Path) -> None:
    data = encode(Image.fromarray(np.zeros((5000, 5000), np.uint16)), compress_level=1)
    said, megabytes = decoded_apart(data, 64_000_000, tmp_path)
    assert said == "decoded"
    assert megabytes < 5 * 50


@pytest.mark.parametrize("format", ["JPEG", "MPO"])
def test_a_jpeg_is_not_decoded_larger_than_need_be(format: str, tmp_path: Path) -> None:
    """Whole, 8000x6000 grey pixels take 46 MB; at the eighth that is enough here, less than one."""
    more: dict[str, Any] = {"save_all": True, "append_images": [Image.new("L", (8, 8))]}
    data = encode(Image.new("L", (8000, 6000), 99), format, **(more if format == "MPO" else {}))
    said, megabytes = decoded_apart(data, 64_000_000, tmp_path)
    assert said == "decoded"
    assert megabytes < 20


def test_a_palette_takes_little_more_than_its_own_bytes(tmp_path: Path) -> None:
    """64 MB; by way of RGBA and white it was 760."""
    data = png(3, 8000)
    assert len(data) < 100_000
    said, megabytes = decoded_apart(data, 64_000_000, tmp_path)
    assert said == "decoded"
    assert megabytes < 64 + 20


@pytest.mark.parametrize("kind", COSTLY)
def test_a_picture_takes_no_more_memory_than_its_headers_say(kind: str, tmp_path: Path) -> None:
    data = COSTLY[kind]()
    spec = PictureSpec((8, 8), "L", "stretch", 64_000_000)
    with opened(io.BytesIO(data), spec) as found:
        most = found.cost.memory
    assert most <= MOST_BYTES * 16_000_000 * 1.1
    said, megabytes = decoded_apart(data, 64_000_000, tmp_path)
    assert said == "decoded"
    assert megabytes <= most / 1e6 + 12


def gif_of_a_large_frame() -> bytes:
    """100 bytes whose frame, to be cleared after it was shown, has 4,294,836,225 pixels."""
    screen = b"GIF89a" + struct.pack("<HHBBB", 8, 8, 0x80, 0, 0) + bytes(6)
    control = b"!\xf9\x04" + struct.pack("<BHB", 2 << 2, 0, 0) + b"\0"
    return screen + control + b"," + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0) + b"\x02\0;"


def test_a_gif_whose_frame_is_a_bomb_is_refused_before_it_is_opened(tmp_path: Path) -> None:
    said, megabytes = decoded_apart(gif_of_a_large_frame(), 64_000_000, tmp_path, 1000)
    assert said == "the picture has 65535x65535 pixels"
    assert megabytes < 20


def test_damaged_files_decode_or_are_unreadable_and_leave_no_trace() -> None:
    """In a process where every warning is an error and whatever is printed can be seen, C
    libraries included. (Within pytest its own filters come before ours.)"""
    code = "from tests.unit.test_picture_limits import decode_damaged; print(*decode_damaged())"
    command = [sys.executable, "-W", "error", "-c", code]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")
    good, bad = map(int, run.stdout.split())
    assert good + bad == sum(1 for _ in damages()) > 5000
    assert min(good, bad) > 1000
