"""Pictures that come out of a model."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from app.serving.arrays import Array
from app.serving.cards.drawn_outputs import PictureOutput
from app.serving.cards.kinds import Kind
from app.serving.reductions import PictureReduction
from app.serving.signature import Signature
from app.serving.tasks.base import Drawing
from app.serving.tasks.files.placement import Placement
from app.serving.tasks.outputs.drawn import Drawn, drawn_schema, png_of
from app.serving.threads import Check


class PictureOut(Drawn):
    """A picture of 1, 3 or 4 channels, in the size that the model gives it. Raises CardError from
    `__init__` where card and model do not fit."""

    kind = "picture"
    resized = False
    reduction: PictureReduction

    def __init__(self, kind: Kind[PictureOutput], signature: Signature) -> None:
        (spec,) = kind.specs
        super().__init__(kind.name, spec, kind.card.covers, signature.grids.get(spec.name))
        shape = spec.shape
        fits = shape is not None and (
            len(shape) == 3 or (len(shape) == 4 and shape[3] in (1, 3, 4))
        )
        if not fits or spec.dtype in ("string", "bool"):
            raise kind.place.problem(
                "needs an output of shape (rows, height, width, 1, 3 or 4 channels) or (rows, "
                f"height, width), this model's is {spec.dtype} of shape {shape}"
            )
        self.reduction = PictureReduction(kind.card.scale or "none")

    def draw(self, row: Array, placed: Placement | None, drawing: Drawing, check: Check) -> Any:
        """Return the picture, without what was padded."""
        row, place = self.shown(row, placed)
        pixels = row[..., 0] if row.ndim == 3 and row.shape[2] == 1 else row
        image = Image.fromarray(np.ascontiguousarray(pixels))
        return {
            "size": [image.height, image.width],
            "png": png_of(image, drawing, check),
            **({} if place is None or place.whole else {"box": place.box}),
        }

    def schema(self) -> dict[str, Any]:
        """JSON Schema of a value."""
        return drawn_schema("A PNG.")

    def about(self) -> dict[str, Any]:
        """The scale of its numbers."""
        return {"scale": self.reduction.scale}
