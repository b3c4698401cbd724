"""Make the pictures that the card of `models/cats-dogs` names as examples.

The cat is a photograph that anyone may use: Chelsea, CC0 by Stefan van der Walt, from the package
scikit-image (`skimage/data/chelsea.png`). No photograph of a dog with such a licence was at hand
besides those that the model was trained on, so the dog is drawn here.

    python training/examples.py chelsea.png
"""

from __future__ import annotations

import random
from pathlib import Path

import click
from PIL import Image, ImageDraw, ImageFilter

FOLDER = Path(__file__).parents[1] / "models" / "cats-dogs"
SIDE = 600
QUALITY = 80
SKY, GRASS, HORIZON = (150, 190, 225), (96, 140, 62), 0.72
FUR, EARS, LIGHT = (190, 140, 80), (110, 70, 35), (228, 178, 118)
BLADES, HAIRS = 2500, 14_000
# One ear; the other is its mirror image.
EAR = ((0.30, 0.18), (0.16, 0.34), (0.19, 0.58), (0.30, 0.52), (0.36, 0.26))

Colour = tuple[int, int, int]


def dog() -> Image.Image:
    """Draw a dog that sits in the grass."""
    chance = random.Random(1)
    image = Image.new("RGB", (SIDE, SIDE), SKY)
    draw = ImageDraw.Draw(image)
    draw.rectangle(_box(0, HORIZON, 1, 1), fill=GRASS)
    for _ in range(BLADES):
        x, y = chance.randrange(SIDE), chance.randrange(round((HORIZON - 0.02) * SIDE), SIDE)
        top = (x + chance.randrange(-6, 6), y - chance.randrange(8, 26))
        green = chance.randrange(90, 170)
        draw.line((x, y, *top), fill=(green // 2 + 20, green, green // 3), width=2)
    draw.ellipse(_box(0.27, 0.5, 0.73, 1.05), fill=FUR)
    draw.ellipse(_box(0.38, 0.58, 0.62, 1), fill=LIGHT)
    for mirrored in (False, True):
        ear = [((1 - x if mirrored else x) * SIDE, y * SIDE) for x, y in EAR]
        draw.polygon(ear, fill=EARS)
    draw.ellipse(_box(0.28, 0.12, 0.72, 0.62), fill=FUR)
    draw.ellipse(_box(0.36, 0.38, 0.64, 0.66), fill=LIGHT)
    draw.ellipse(_box(0.44, 0.40, 0.56, 0.49), fill=(25, 22, 22))
    draw.line((SIDE / 2, 0.48 * SIDE, SIDE / 2, 0.55 * SIDE), fill=(40, 30, 30), width=5)
    for left in (0.4, 0.5):
        draw.arc(_box(left, 0.48, left + 0.1, 0.58), 20, 160, fill=(40, 30, 30), width=5)
    draw.ellipse(_box(0.455, 0.56, 0.545, 0.68), fill=(224, 110, 120))
    for eye in (0.39, 0.61):
        draw.ellipse(_box(eye - 0.035, 0.28, eye + 0.035, 0.355), fill=(45, 30, 20))
        draw.ellipse(_box(eye - 0.005, 0.295, eye + 0.018, 0.318), fill=(250, 250, 250))
    image = image.filter(ImageFilter.GaussianBlur(2))
    _add_hairs(image, chance)
    return image.filter(ImageFilter.GaussianBlur(1)).resize((400, 400))


def _add_hairs(image: Image.Image, chance: random.Random) -> None:
    """Draw short strokes over all that is not sky, a little lighter or darker than what is there:
    without a texture the model would see anything."""
    draw = ImageDraw.Draw(image)
    for _ in range(HAIRS):
        x, y = chance.randrange(SIDE), chance.randrange(SIDE)
        found = image.getpixel((x, y))
        if found == SKY:
            continue
        assert isinstance(found, tuple)
        share = chance.uniform(0.82, 1.18)
        colour = tuple(min(255, int(value * share)) for value in found)
        end = (x + chance.randrange(-4, 4), y + chance.randrange(4, 14))
        draw.line((x, y, *end), fill=colour, width=1)


def _box(left: float, top: float, right: float, bottom: float) -> tuple[float, ...]:
    """A rectangle in pixels. All as shares of a side."""
    return tuple(SIDE * each for each in (left, top, right, bottom))


@click.command()
@click.argument("photograph", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def main(photograph: Path) -> None:
    """Write `cat.jpg` and `dog.jpg` into the model's folder."""
    cat = Image.open(photograph).convert("RGB")
    for name, image in (("cat", cat), ("dog", dog())):
        path = FOLDER / f"{name}.jpg"
        image.save(path, quality=QUALITY)
        print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
