"""A MobileNet with random weights, which cost what trained ones do.

python -m benchmarks.mobilenet MODEL_FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import keras


def main() -> None:
    """Save it, with a card, into the folder."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True)
    keras.applications.MobileNet(weights=None).save(folder / "model.keras")
    (folder / "model.yaml").write_text("task: tensor\n")


if __name__ == "__main__":
    main()
