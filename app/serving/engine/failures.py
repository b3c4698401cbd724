"""The errors of runs that are too late, not finite, or never end."""

from __future__ import annotations

from app.errors import LOADING_RETRY_S, DeadlineExceeded, ModelUnavailable, NonFiniteOutput


def late() -> DeadlineExceeded:
    """Return the error for a request whose deadline passed before its run ended."""
    return DeadlineExceeded("the model gave no answer within the time allowed")


def non_finite() -> NonFiniteOutput:
    """Return the error for an answer of NaN or Infinity."""
    return NonFiniteOutput()


def hangs(name: str) -> ModelUnavailable:
    """Return the error for requests that were still waiting when a model hung."""
    return ModelUnavailable(
        f"the model {name!r} hangs: this process is about to be restarted", LOADING_RETRY_S
    )


def given_up(name: str) -> DeadlineExceeded:
    """Return the error for requests whose run does not end. Not ModelUnavailable, after which nginx
    would send the same request to the other replica, and that would hang as well."""
    return DeadlineExceeded(f"the model {name!r} hangs on this request, or on one beside it")
