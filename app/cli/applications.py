"""`add`: a model of Keras Applications, with its weights and class names, as a model folder."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.errors import LoadError
from app.serving.cards.card import CARD_FILE, LABELS_FILE, Card, ImageInput, name_problem
from app.serving.cards.read import dump_card
from app.serving.quiet import quiet_import
from app.serving.signature import Scale

with quiet_import():
    import keras

CLASSES = 1000
# What each family's `preprocess_input` does to pixels. "none": the model begins with it.
SCALES: dict[str, Scale] = {
    "convnext": "none",
    "densenet": "torch",
    "efficientnet": "none",
    "efficientnet_v2": "none",
    "inception_resnet_v2": "-1..1",
    "inception_v3": "-1..1",
    "mobilenet": "-1..1",
    "mobilenet_v2": "-1..1",
    "mobilenet_v3": "none",
    "nasnet": "-1..1",
    "resnet": "caffe",
    "resnet_v2": "-1..1",
    "vgg16": "caffe",
    "vgg19": "caffe",
    "xception": "-1..1",
}


def architectures() -> dict[str, tuple[str, Callable[..., Any], Scale]]:
    """Every architecture that Keras brings: its name in lower case to the name as Keras spells it,
    the function that builds it, and the scale of its pixels."""
    found = {}
    for name in dir(keras.applications):
        build = getattr(keras.applications, name)
        family = getattr(build, "__module__", "").rpartition(".")[2]
        if callable(build) and family in SCALES:
            found[name.lower()] = (name, build, SCALES[family])
    return found


def add(architecture: str, models: Path, name: str | None = None) -> Path:
    """Download the ImageNet weights and class names of `architecture` and write the folder
    `models/NAME` (default: the architecture in lower case). Returns it.

    Raises LoadError for an unknown architecture, a name that cannot be served, a folder that
    exists, and a failed download.
    """
    known = architectures()
    key = architecture.lower().replace("-", "").replace("_", "")
    if key not in known:
        raise LoadError(
            f"Keras has no architecture {architecture!r}; it has: "
            + ", ".join(sorted(n for n, _, _ in known.values()))
        )
    title, build, scale = known[key]
    if name is not None and (problem := name_problem(name)):
        raise LoadError(f"--name {name!r}: {problem}")
    folder = models / (name or key)
    if folder.exists():
        raise LoadError(f"{folder} exists already: remove it, or choose another --name")
    try:
        model = build(weights="imagenet")
        labels = _class_names()
    except Exception as error:  # urllib's, Keras's own and plain OSErrors
        raise LoadError(
            f"the weights of {title} cannot be downloaded: {' '.join(str(error).split())[:500]}. "
            "This needs the network once; on a machine without it, copy the folder from another"
        ) from None
    _write(folder, model, labels, _card(title, model, scale))
    return folder


def _class_names() -> list[str]:
    """Return the 1,000 class names in the order of the outputs, through Keras's own table."""
    one_hot = keras.ops.convert_to_numpy(keras.ops.eye(CLASSES))
    decoded = keras.applications.imagenet_utils.decode_predictions(one_hot, top=1)
    return [row[0][1].replace("_", " ") for row in decoded]


def _card(title: str, model: Any, scale: Scale) -> Card:
    _, height, width, _ = model.input_shape
    return Card(
        task="image-classification",
        title=title,
        description=f"{title} of Keras Applications, trained on ImageNet: one of 1,000 things.",
        labels=LABELS_FILE,
        input=ImageInput(size=(height, width), color="rgb", scale=scale, resize="crop"),
    )


def _write(folder: Path, model: Any, labels: list[str], card: Card) -> None:
    """Written beside its place and moved there whole, so that no server sees half of it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        model.save(partial / "model.keras")
        (partial / LABELS_FILE).write_text("\n".join(labels) + "\n", encoding="utf-8")
        (partial / CARD_FILE).write_text(dump_card(card), encoding="utf-8")
        partial.chmod(0o755)
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial)
        raise
