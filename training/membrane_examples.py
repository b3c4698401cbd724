"""Draw the example slices of `models/membranes`: cells, membranes and grain, out of random numbers.

The slices that the model was trained on are for research, so none of them is part of the project.

    python training/membrane_examples.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

SIDE = 256
CELLS = (18, 34)
MEMBRANE = 7.0  # width in pixels

Array = npt.NDArray[Any]


def smooth(values: Array, radius: float) -> Array:
    """Blur an array (height, width) of about -4..4."""
    image = Image.fromarray(np.clip(values * 30 + 128, 0, 255).astype(np.uint8))
    blurred = image.filter(ImageFilter.GaussianBlur(radius))
    found: Array = (np.asarray(blurred, np.float32) - 128) / 30
    return found


def waves(rng: np.random.Generator, radius: float) -> Array:
    """Noise of a scale, with deviation 1."""
    values = smooth(rng.normal(size=(SIDE, SIDE)) * radius, radius)
    found: Array = (values - values.mean()) / values.std()
    return found


def slice_of(cells: int, seed: int) -> Image.Image:
    """Return a picture of cells: the regions nearest to random points, bent by waves."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    y, x = y + 7 * waves(rng, 12), x + 7 * waves(rng, 12)
    points = rng.uniform(-20, SIDE + 20, (cells, 2))
    sizes = rng.uniform(0.7, 1.4, cells)
    distances = np.hypot(y[..., None] - points[:, 0], x[..., None] - points[:, 1]) / sizes
    nearest = np.sort(distances, axis=-1)
    edge = np.exp(-(((nearest[..., 1] - nearest[..., 0]) / MEMBRANE) ** 2))
    inside = 172 + 9 * waves(rng, 6) + 12 * waves(rng, 1.2)
    dark = rng.normal(0, 12, (SIDE, SIDE))
    pixels = inside * (1 - edge) + (74 + 8 * waves(rng, 2)) * edge + dark
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


@click.command()
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("models/membranes"),
    show_default=True,
    help="Folder to write the PNGs into.",
)
def main(out: Path) -> None:
    """Draw the slices."""
    for number, cells in enumerate(CELLS, 1):
        slice_of(cells, number).save(out / f"slice{number}.png", optimize=True)


if __name__ == "__main__":
    main()
