"""The 1,000 class names of ImageNet, as Keras Applications orders them."""

from __future__ import annotations

import json
import os
from pathlib import Path

from app.errors import CardError

# Where Keras keeps what it has downloaded, and under which name.
INDEX_FILE = Path("models") / "imagenet_class_index.json"


def imagenet_labels() -> list[str]:
    """The names out of Keras's cache, `$KERAS_HOME` or `~/.keras`. Raises CardError.

    Serving never downloads anything: `python -m app add` writes the names beside the model.
    """
    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    try:
        index = json.loads((home / INDEX_FILE).read_text(encoding="utf-8"))
        return [index[str(i)][1].replace("_", " ") for i in range(1000)]
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise CardError(
            f"labels: imagenet: {home / INDEX_FILE} cannot be read ({type(error).__name__}): "
            "put it there, or write the names into labels.txt, one a line"
        ) from None
