"""The tasks: how a request becomes tensors, and outputs an answer.

A task turns a `Payload` into rows of tensors and the model's outputs into an answer. It knows
neither HTTP nor TensorFlow. Models of rows are composed of inputs and outputs, one module a kind.
"""

from __future__ import annotations

from app.serving.tasks.base import Limits, Payload
from app.serving.tasks.rows import RowTask

__all__ = ["Limits", "Payload", "RowTask"]
