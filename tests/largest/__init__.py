"""The largest requests of each kind that a server with its default settings takes, or refuses only
once it has read them."""

from __future__ import annotations

from pathlib import Path

from tests.largest.bodies import WIDE, Largest
from tests.largest.kinds import series, sounds, texts
from tests.largest.pages import pages
from tests.largest.pictures import drawn, pictures
from tests.largest.protocols import v1, v2
from tests.largest.tables import native
from tests.support import ROOT

__all__ = ["Largest", "largest_requests", "save_largest_models"]


def save_largest_models(folder: Path) -> None:
    """A model of each kind: `mpg`, `kinds` (100 labels), `several` (three numbers a row), `wide`
    (1,000 columns), `three` and `cats-dogs` (pictures), `writer` (text), and the echoes `numbers`,
    `texts` and `pair`; `half` takes examples, `couple` two pictures and fields, `sentiment` texts,
    `stars` the ids of their words, `any-sound` recordings of any length, `sound` short ones,
    `series` rows in time order; `crowded` gives boxes, `membranes` and `streets` give masks,
    `doubled` pictures."""
    from tests.detectors import save_crowded
    from tests.drawn import save_drawn
    from tests.kinds import save_couple
    from tests.models import (
        save_echo,
        save_half_plus_two,
        save_picture_model,
        save_tabular_model,
        save_text_model,
    )
    from tests.texts import save_layout
    from tests.time_kinds import save_time_kinds

    folder.mkdir()
    for name in ("mpg", "cats-dogs"):
        (folder / name).symlink_to(ROOT / "models" / name)
    save_tabular_model(
        folder / "kinds",
        "task: tabular-classification\ntop: 10\n"
        f"labels: [{', '.join(f'label {i}' for i in range(100))}]\n"
        "fields: [{name: a}, {name: b}]\n",
        columns=2,
        units=100,
        activation="softmax",
    )
    save_tabular_model(
        folder / "several",
        "task: tabular-regression\nfields: [{name: a}, {name: b}]\n",
        columns=2,
        units=10,
    )
    save_tabular_model(folder / "wide", "task: tabular-regression\n", columns=WIDE)
    (folder / "three").mkdir()
    save_picture_model(folder / "three" / "model.keras", rescales=True)
    card = "task: image-classification\nlabels: [ant, bee, fly]\n"
    (folder / "three" / "model.yaml").write_text(card)
    save_text_model(folder / "writer")
    save_couple(folder / "couple")
    for name in ("sentiment", "stars"):
        save_layout(folder / name, name)
    save_crowded(folder / "crowded")
    save_drawn(folder, "membranes", "streets", "doubled")
    save_time_kinds(folder, ("any-sound", "sound", "series"))
    save_half_plus_two(folder / "half" / "1")
    for name, *datatypes in (("numbers", "FP32"), ("texts", "BYTES"), ("pair", "FP32", "INT32")):
        save_echo(folder / name, *datatypes)
        # Beyond the default, so that one row is as long as a body can be.
        card = "task: tensor\nruntime: {max_length: 10000000}\n"
        (folder / name / "model.yaml").write_text(card)


def largest_requests() -> list[Largest]:
    """All of them; the paths are those of `save_largest_models`."""
    return [
        *(*native(), *v1(), *v2(), *pages(), *pictures()),
        *(*texts(), *sounds(), *series(), *drawn()),
    ]
