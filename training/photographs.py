"""Make the sheet of small photographs by which the reader finds out how a model scales pictures.

Six photographs without copyright restrictions, each of them in one folder as `NAME.png`:

    astronaut      NASA's portrait of Eileen Collins, public domain     scikit-image, data/
    chelsea        a cat, CC0 by Stefan van der Walt                    scikit-image, data/
    coffee         a cup, CC0 by Rachel Michetti                        scikit-image, data/
    rocket         a launch of SpaceX, CC0                              scikit-image, data/
    raccoon        public-domain-image.com                              scipy 1.9, misc/face.dat
    grace_hopper   the US Navy's portrait, public domain                matplotlib, sample_data/

    python training/photographs.py FOLDER

Four squares of each are cut out and shrunk. Then one linear map of the colours gives all of them
together the mean and the covariance of ImageNet's pixels, so that their statistics are those of
photographs in general.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import numpy.typing as npt
from PIL import Image

NAMES = ("astronaut", "chelsea", "coffee", "rocket", "raccoon", "grace_hopper")
SIDE = 224
# Of the shorter side of a photograph; the places are fractions of what is left over.
SQUARES = ((1.0, 0.5, 0.5), (0.62, 0.1, 0.2), (0.62, 0.9, 0.3), (0.5, 0.5, 0.85))
SHEET = Path(__file__).parents[1] / "app" / "serving" / "reading" / "picture_scale"
QUALITY = 70
# Of RGB in 0..1: the mean as in keras.applications; eigenvectors and eigenvalues of the covariance
# as in Krizhevsky et al. 2012, section 4.1, with the figures of fb.resnet.torch.
MEAN = np.array([0.485, 0.456, 0.406])
EIGENVALUES = np.array([0.2175, 0.0188, 0.0045])
EIGENVECTORS = np.array(
    [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]]
)
# Clipping to 0..255 changes the statistics again.
ROUNDS = 20

Array = npt.NDArray[np.float64]


def tiles(photograph: Image.Image) -> list[Array]:
    """Cut the squares out of a photograph: float (SIDE, SIDE, 3) in 0..1 each."""
    short = min(photograph.size)
    found = []
    for part, across, down in SQUARES:
        side = round(part * short)
        left = round(across * (photograph.width - side))
        top = round(down * (photograph.height - side))
        square = photograph.crop((left, top, left + side, top + side))
        small = square.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
        found.append(np.asarray(small, np.float64) / 255)
    return found


def recoloured(pixels: Array) -> Array:
    """Map the colours of pixels (n, 3) linearly to ImageNet's mean and covariance."""
    wanted = EIGENVECTORS @ np.diag(EIGENVALUES) @ EIGENVECTORS.T
    mean, root, start = MEAN.copy(), _root(wanted), pixels
    for _ in range(ROUNDS):
        centred = start - start.mean(0)
        whitened = centred @ np.linalg.inv(_root(np.cov(start.T)))
        pixels = np.clip(whitened @ root + mean, 0, 1)
        mean += MEAN - pixels.mean(0)
        root = root @ np.linalg.inv(_root(np.cov(pixels.T))) @ _root(wanted)
    return pixels


def _root(covariance: Array) -> Array:
    values, vectors = np.linalg.eigh(covariance)
    root: Array = vectors @ np.diag(np.sqrt(values)) @ vectors.T
    return root


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
def main(folder: Path) -> None:
    """Write the sheet: one photograph a row, its squares side by side."""
    cut = [tiles(Image.open(folder / f"{name}.png").convert("RGB")) for name in NAMES]
    rows = np.array(cut)
    coloured = recoloured(rows.reshape(-1, 3)).reshape(rows.shape)
    sheet = coloured.transpose(0, 2, 1, 3, 4).reshape(len(NAMES) * SIDE, len(SQUARES) * SIDE, 3)
    image = Image.fromarray(np.rint(255 * sheet).astype(np.uint8))
    SHEET.mkdir(exist_ok=True)
    path = SHEET / "photographs.webp"
    image.save(path, quality=QUALITY, method=6)
    print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
