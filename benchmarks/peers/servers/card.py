"""What the card says of the model that the benchmark asks to be served. Read without TensorFlow,
which the processes of a framework that run no model need not import."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

# The rows that run at once, where a framework makes batches: Keraport's default.
MAX_BATCH = 32
# How long a request may take, where a framework has a limit: as long as the benchmark waits.
TIMEOUT_S = 60


def folder() -> Path:
    """The folder of the model."""
    return Path(os.environ["BENCHMARK_MODEL"])


def card() -> dict[str, Any]:
    """The card in it."""
    found: dict[str, Any] = yaml.safe_load((folder() / "model.yaml").read_text())
    return found


def fields() -> list[str]:
    """The names of the columns of a row."""
    return [field["name"] for field in card().get("fields", [])]
