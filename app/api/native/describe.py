"""Models and their versions as JSON, for the native API and for the pages."""

from __future__ import annotations

from typing import Any

from app.serving.cards.versions import Policy
from app.serving.models.explanation import METHOD, explanation_problem
from app.serving.models.model import Model
from app.serving.registry.entry import Entry

# Fields of the card that concern no client, are too long to show, or are shown beside the card.
HIDDEN: Any = {
    "trusted": True,
    "file": True,
    "examples": True,
    "text": {"vocabulary", "starts"},
    **dict.fromkeys(Policy.model_fields, True),
}
# Fields that belong to a task: a card of kinds says them of each input and output.
OF_TASKS = ("input", "output", "labels", "threshold", "top", "fields", "text")


def model_summary(entry: Entry) -> dict[str, Any]:
    """Return a model as the list of `GET /api/models` has it."""
    card, policy = entry.card, entry.group.policy
    out: dict[str, Any] = {
        "name": entry.name,
        "title": entry.title,
        "description": card.description if card else None,
        "task": card.task if card else None,
        "state": entry.state,
        "version": entry.version,
        "versions": [_version(other) for other in entry.group.versions.values()],
        "aliases": policy.aliases,
        "canary": policy.canary.model_dump() if policy.canary else None,
        "metrics": card.metrics if card else {},
    }
    if trouble := entry.trouble:
        out["reason"] = trouble
    return out


def model_details(entry: Entry) -> dict[str, Any]:
    """Return the answer to `GET /api/models/NAME`: the summary, the card, the inputs and the
    outputs."""
    out = model_summary(entry)
    if entry.card is not None:
        hidden = HIDDEN if entry.card.task else {**HIDDEN, **dict.fromkeys(OF_TASKS, True)}
        out["card"] = entry.card.model_dump(mode="json", exclude=hidden)
    if (model := entry.model) is not None:
        out |= model_form(model)
        out["guessed"] = [guess.key for guess in model.guessed]
        out["examples"] = [example.name for example in model.examples]
        out["explain"] = [] if explanation_problem(model) else [METHOD]
        out["parameters"] = model.signature.parameters
        out["loaded_at"] = entry.loaded_at
        out["waiting"] = model.waiting
        out |= model.details()
    return out


def model_form(model: Model) -> dict[str, Any]:
    """What requests and answers look like: the task, the input, the kinds and the signature."""
    return {
        "task": model.card.task,
        "input": model.task.input_schema(),
        **model.task.about(),
        "signature": model.signature.describe(),
    }


def _version(entry: Entry) -> dict[str, Any]:
    """Return a version, its state, and the reason if there is one."""
    out = {"version": entry.version, "state": entry.state}
    return out if entry.reason is None else {**out, "reason": entry.reason}
