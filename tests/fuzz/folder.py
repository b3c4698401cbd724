"""The models that are fuzzed: those that the repository ships, and a small one of each kind.

`python -m tests.fuzz.folder DIR` fills a folder: in a process of its own, since TensorFlow would
take a gigabyte of the fuzzer's memory.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support import DATA, ROOT

COLUMNS = ("alpha", "beta", "gamma")
LABELS = ("ant", "bee", "fly")


def fill(folder: Path) -> None:
    """Make the models, in another process."""
    subprocess.run([sys.executable, "-m", "tests.fuzz.folder", str(folder)], cwd=ROOT, check=True)


def _fill(folder: Path) -> None:
    import keras

    from tests.detectors import save_ssd
    from tests.drawn import save_drawn
    from tests.kinds import save_couple
    from tests.kinds_matrix import Case, givens, save
    from tests.models import (
        save_caption_model,
        save_echo,
        save_half_plus_two,
        save_picture_model,
        save_tabular_model,
        save_tagged_model,
        save_text_model,
    )
    from tests.texts import save_layout
    from tests.time_kinds import save_time_kinds

    folder.mkdir(parents=True)
    save_time_kinds(folder, ("any-sound", "voice", "series", "together"))
    keras.utils.set_random_seed(1)
    for name in ("cats-dogs", "mpg", "patents", "spam"):
        (folder / name).symlink_to(ROOT / "models" / name)
    (folder / "three").mkdir()
    save_picture_model(folder / "three" / "model.keras", rescales=True)
    (folder / "three" / "model.yaml").write_text(
        f"task: image-classification\nlabels: [{', '.join(LABELS)}]\n"
    )
    fields = ", ".join(f"{{name: {name}, example: 1}}" for name in COLUMNS)
    save_tabular_model(
        folder / "sums",
        f"task: tabular-regression\nfields: [{fields}]\noutput: {{name: sum}}\n",
        columns=len(COLUMNS),
    )
    _save_two_inputs(folder / "apart")
    save_couple(folder / "couple")
    save_ssd(folder / "ssd")
    save_drawn(folder, "membranes", "digits")
    # Takes four pictures at a time, or facts and texts beside them.
    for case in (
        Case(("picture",), ("tensor",)),
        Case(("picture", "fields", "words"), ("vector",)),
    ):
        save(folder, case, givens(), batch=4)
    (folder / "words").mkdir()
    (folder / "words" / "model.keras").symlink_to(DATA / "models" / "keras3_text.keras")
    (folder / "words" / "model.yaml").write_text(
        "task: tabular-classification\nfields: [{name: text, type: text}]\noutput: {name: mood}\n"
    )
    save_text_model(folder / "writer")
    for name in ("sentiment", "stars", "advert"):
        save_layout(folder / name, name)
    save_half_plus_two(folder / "half" / "3")
    save_caption_model(folder / "caption" / "1")
    save_tagged_model(folder / "tagged" / "1")
    save_echo(folder / "numbers" / "1", "FP32")
    save_echo(folder / "texts" / "1", "BYTES")
    (folder / "two.keras").symlink_to(DATA / "models" / "tf2_two_inputs_v3.keras")


def _save_two_inputs(folder: Path) -> None:
    """A table whose columns are inputs of their own; the answer is their sum."""
    import keras

    inputs = [keras.Input((1,), name=name) for name in ("left", "right")]
    model = keras.Model(inputs, keras.layers.Add(name="sum")(inputs))
    folder.mkdir()
    model.save(folder / "model.keras")
    (folder / "model.yaml").write_text(
        "task: tabular-regression\nfields: [{name: left}, {name: right}]\noutput: {name: sum}\n"
    )


if __name__ == "__main__":
    _fill(Path(sys.argv[1]))
