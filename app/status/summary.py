"""The summary of a status: whether everything works, in a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from app.status.schema import LostReplica, ReplicaStatus, Summary

# Errors that are not the client's. The words have no numbers, since screen readers read the
# sentence aloud whenever it changes.
_FAILURES = {
    "overloaded": "has turned requests away",
    "deadline_exceeded": "was too slow for requests",
    "internal": "has failed on requests",
    "non_finite_output": "has answered NaN or Infinity",
}


def summarise(replicas: Sequence[ReplicaStatus | LostReplica]) -> Summary:
    """Summarise the problems, the worst first; one that several replicas have is named once."""
    problems: dict[str, Literal["problem", "notice"]] = {}
    models: dict[str, None] = {}
    for replica in replicas:
        if isinstance(replica, LostReplica):
            problems[f"{replica.name} cannot be reached"] = "problem"
            continue
        if replica.state == "draining":
            problems[f"{replica.name} is shutting down"] = "notice"
        if replica.state == "loading":
            problems[f"{replica.name} is loading its models"] = "notice"
        for source in replica.sources:
            problems[f'the source of the model "{source.name}" fails'] = "problem"
        for model in replica.models:
            models[model.name] = None
            if model.hangs:
                problems[f'the model "{model.name}" hangs'] = "problem"
            elif model.state == "failed":
                problems[f'the model "{model.name}" failed to load'] = "problem"
            elif model.reason:
                problems[f'a change of the model "{model.name}" is not served'] = "problem"
            for code, words in _FAILURES.items():
                if model.errors.get(code):
                    problems[f'the model "{model.name}" {words} in the last minute'] = "problem"
    counted = f"{_count(len(replicas), 'replica')}, {_count(len(models), 'model')}"
    if not problems:
        return Summary(level="ok", text=f"{counted}: {'all ready' if models else 'ready'}")
    ordered = sorted(problems, key=lambda text: problems[text] == "notice")
    level = problems[ordered[0]]
    return Summary(level=level, text=f"{counted}: {'; '.join(ordered)}")


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
