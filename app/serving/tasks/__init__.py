"""What a request is and what an answer looks like, one module a task.

A task turns a `Payload` into rows of tensors and the model's outputs into an answer. It knows
neither HTTP nor TensorFlow.
"""

from __future__ import annotations

from app.serving.card import Card
from app.serving.signature import Signature
from app.serving.tasks.base import Limits, Payload, Task
from app.serving.tasks.image import ImageClassification
from app.serving.tasks.tabular import TabularClassification, TabularRegression
from app.serving.tasks.tensor import TensorTask

__all__ = ["Limits", "Payload", "Task", "make_task"]

_TASKS: dict[str, type[Task]] = {
    "image-classification": ImageClassification,
    "tabular-regression": TabularRegression,
    "tabular-classification": TabularClassification,
    "tensor": TensorTask,
}


def make_task(card: Card, signature: Signature, limits: Limits) -> Task:
    """The task that the card names. Raises CardError where card and model do not fit."""
    return _TASKS[card.task](card, signature, limits)
