"""Where pictures lie in what models are fed with, for all ways of fitting them in."""

from __future__ import annotations

import io
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from app.serving.tasks.files.pictures import ORIENTATION_TAG, SIDEWAYS, PictureSpec, opened
from app.serving.tasks.files.placement import Placement, reduced

Resize = Literal["stretch", "crop", "pad"]
sizes = st.tuples(st.integers(1, 700), st.integers(1, 700))


def saved(size: tuple[int, int], format: str, orientation: int = 1, **options: Any) -> bytes:
    """A picture whose left, upper quarter is white, as people see it. size: of it upright."""
    width, height = size
    pixels = np.zeros((height, width), np.uint8)
    pixels[: height // 2, : width // 2] = 255
    if orientation != 1:
        # What undoes it.
        turned = Image.fromarray(pixels)
        turns = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
        pixels = np.asarray(turned.transpose(Image.Transpose(turns[orientation])))
        exif = Image.Exif()
        exif[ORIENTATION_TAG] = orientation
        options["exif"] = exif
    out = io.BytesIO()
    Image.fromarray(pixels).convert("RGB").save(out, format, **options)
    return out.getvalue()


def decoded(data: bytes, spec: PictureSpec) -> tuple[np.ndarray, Placement]:
    with opened(io.BytesIO(data), spec) as picture:
        return picture.decode(), picture.placement


def fitted(size: tuple[int, int] | None, resize: Resize, max_side: int = 0) -> PictureSpec:
    return PictureSpec(size, "RGB", resize, 64_000_000, max_side)


def corner(pixels: np.ndarray, placement: Placement) -> tuple[float, float]:
    """Where the white quarter ends, in pixels of the picture."""
    white = pixels[..., 0] > 127
    rows, columns = np.flatnonzero(white.any(1)), np.flatnonzero(white.any(0))
    box = np.array([[columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]], np.float64)
    found = placement.in_picture(box)[0]
    return float(found[2]), float(found[3])


@pytest.mark.parametrize("resize", ["stretch", "crop", "pad", "own"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("size", [(600, 200), (200, 600), (403, 301)])
def test_a_place_in_the_input_is_found_again_in_the_picture(
    size: tuple[int, int], format: str, orientation: int, resize: Resize | Literal["own"]
) -> None:
    """To within two pixels of the input, whatever the file's orientation and the JPEG's scale."""
    spec = fitted(None, "stretch", 150) if resize == "own" else fitted((90, 120), resize)
    pixels, placement = decoded(saved(size, format, orientation), spec)
    assert placement.size == size
    assert placement.fed == pixels.shape[1::-1]
    coarse = max(size[0] / 90, size[1] / 90) * 2
    assert corner(pixels, placement) == pytest.approx((size[0] // 2, size[1] // 2), abs=coarse)
    if resize == "own":
        assert placement.fed == reduced(size, 150)
    elif resize == "crop":
        left, top, right, bottom = placement.part
        assert (right - left) / (bottom - top) == pytest.approx(120 / 90)
        assert left + right == pytest.approx(size[0])
        assert top + bottom == pytest.approx(size[1])


@given(sizes, sizes, st.sampled_from(["stretch", "crop", "pad"]), st.sampled_from(["PNG", "JPEG"]))
def test_the_area_of_a_picture_is_its_part(
    size: tuple[int, int], wanted: tuple[int, int], resize: Resize, format: str
) -> None:
    _, placement = decoded(saved(size, format), fitted((wanted[1], wanted[0]), resize))
    assert placement.fed == wanted
    found = placement.in_picture(np.array([placement.area], np.float64))[0]
    assert found.tolist() == pytest.approx(placement.part)
    if resize != "crop":
        assert placement.part == pytest.approx((0, 0, *size))
    if resize == "stretch":
        assert placement.area == (0, 0, *wanted)
    # What lies outside is cut off, wherever it is.
    wild = np.array([[-np.inf, -1e300, np.inf, 1e300], [-5, -5, -1, -1]])
    left, top, right, bottom = placement.in_picture(wild).T
    assert left.min() >= 0
    assert top.min() >= 0
    assert right.max() <= size[0]
    assert bottom.max() <= size[1]


@given(sizes, st.integers(1, 300))
def test_a_picture_of_its_own_size_is_reduced_to_the_longest_side(
    size: tuple[int, int], most: int
) -> None:
    width, height = reduced(size, most)
    assert max(width, height) == min(most, max(size))
    assert min(width, height) >= 1
    if max(size) <= most:
        assert (width, height) == size
    else:
        scale = most / max(size)
        assert abs(width - size[0] * scale) <= 1
        assert abs(height - size[1] * scale) <= 1


def test_pixels_of_a_small_picture_are_its_own() -> None:
    for orientation in range(1, 9):
        data = saved((31, 20), "PNG", orientation)
        pixels, placement = decoded(data, fitted(None, "stretch", 64))
        assert pixels.shape == (20, 31, 3)
        assert corner(pixels, placement) == (15, 10)
        assert (orientation in SIDEWAYS) == (Image.open(io.BytesIO(data)).size == (20, 31))
