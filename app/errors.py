"""The errors of Keraport, with messages for the person on call.

    KeraportError
    ├── RequestError              the client can fix it
    │   ├── BadRequest            not JSON, not UTF-8, no body…
    │   │   └── LimitedBody        over a limit of the settings
    │   ├── InvalidInput          well-formed, but the model cannot take it: all problems at once
    │   │   └── LimitedInput       over a limit of the settings
    │   ├── TooLarge              over a limit on size
    │   ├── UnsupportedMediaType  a body of a kind this model does not read
    │   │   └── UnsupportedCoding  a Content-Encoding that is not read
    │   ├── ModelNotFound         no model (or version) of that name
    │   ├── ExampleNotFound       a model without an example
    │   ├── Unauthorized          a key is needed, and none or an unknown one came
    │   ├── Forbidden             the key is not for this model
    │   └── TooManyRequests       over the rate of the key
    ├── Unavailable               try again: `retry_after` says when
    │   ├── Overloaded            the model's queue is full
    │   ├── ModelUnavailable      still loading, failed to load, or being unloaded
    │   └── Draining              this process is on its way out
    ├── DeadlineExceeded          no answer within the time allowed
    ├── ClientDisconnected        no client is left to read the answer
    ├── SettingsError             KERAPORT_… in the environment: the operator can fix it
    │   └── KeysError             the file of API keys that one of them names
    ├── PullError                 a model cannot be fetched from its source
    └── ModelError                the model author can fix it
        ├── CardError             model.yaml, labels or the folder are wrong
        ├── LoadError             the model file cannot be served
        ├── InferenceError        TensorFlow failed while running the model
        └── NonFiniteOutput       the model answered NaN or Infinity

`code` is the machine-readable name in an answer. Which HTTP status a code gets is the business
of `app.api.http.errors`; nothing here knows of HTTP.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

# Seconds until a client may ask again: for a model that is still loading, and for one that failed.
LOADING_RETRY_S = 5
FAILED_RETRY_S = 60


@dataclass(frozen=True, slots=True)
class Detail:
    """One problem in a request. `field` is a path such as `weight` or `[3].weight`."""

    field: str
    problem: str
    value: Any = None
    expected: Any = None

    def as_dict(self) -> dict[str, Any]:
        """Return the problem as JSON carries it, without the keys that say nothing."""
        out: dict[str, Any] = {"field": self.field, "problem": self.problem}
        if self.value is not None:
            out["value"] = self.value
        if self.expected is not None:
            out["expected"] = self.expected
        return out


class OverLimit:
    """Marks a problem with a limit of this server's settings: another server may have none."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class LimitDetail(Detail, OverLimit):
    """A problem of a request with such a limit."""


def short(value: Any) -> Any:
    """Return a value of the client, cut to the length that an error message can hold."""
    if isinstance(value, str):
        return value if len(value) <= 100 else value[:100] + "…"
    if value is None:
        return "null"
    if isinstance(value, int):
        # What JSON itself can carry.
        return value if -(2**63) <= value < 2**64 else float(value)
    if isinstance(value, float):
        return value
    return "a list" if isinstance(value, list) else "an object"


class KeraportError(Exception):
    """Base of all errors that Keraport raises on purpose."""

    code: ClassVar[str] = "internal"

    def __init__(self, message: str, details: list[Detail] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.details = details or []


class RequestError(KeraportError):
    """The client sent something that it can fix."""

    code = "bad_request"


class BadRequest(RequestError):
    """The body cannot be read at all."""

    code = "bad_request"


class InvalidInput(RequestError):
    """The body was read, but holds values that the model cannot take."""

    code = "invalid_input"


class LimitedBody(BadRequest, OverLimit):
    """The body exceeds a limit of the settings before anything in it is read."""


class LimitedInput(InvalidInput, OverLimit):
    """The input, or its answer, exceeds a limit of the settings."""


class TooLarge(RequestError):
    """The body is over the limit."""

    code = "too_large"


class UnsupportedMediaType(RequestError):
    """The body is of a kind that this model does not read."""

    code = "unsupported_media_type"


class UnsupportedCoding(UnsupportedMediaType):
    """The body has a Content-Encoding that is not read. codings: those that are."""

    def __init__(self, message: str, codings: Sequence[str]) -> None:
        super().__init__(message)
        self.codings = codings


class ModelNotFound(RequestError):
    """No model of that name is in the folder."""

    code = "model_not_found"


class ExampleNotFound(RequestError):
    """A model has no example, and values that are made up would be too long."""

    code = "not_found"


class Unauthorized(RequestError):
    """A key is needed, and none that is known came with the request."""

    code = "unauthorized"


class Forbidden(RequestError):
    """The key is known, but not for this."""

    code = "forbidden"


class TooManyRequests(RequestError):
    """More requests than the key may make; one more is taken in `retry_after` seconds."""

    code = "too_many_requests"

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unavailable(KeraportError):
    """Not now; the same request may succeed in `retry_after` seconds."""

    code = "model_unavailable"

    def __init__(self, message: str, retry_after: int = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Overloaded(Unavailable):
    """The model's queue is full."""

    code = "overloaded"


class ModelUnavailable(Unavailable):
    """The model is loading, failed to load or is being unloaded."""

    code = "model_unavailable"


class Draining(Unavailable):
    """The process takes no new work."""

    code = "draining"


class DeadlineExceeded(KeraportError):
    """The time allowed for the request is over."""

    code = "deadline_exceeded"


class ClientDisconnected(KeraportError):
    """The client closed the connection before the answer was ready."""

    code = "client_disconnected"


class SettingsError(KeraportError):
    """Settings that do not exist, or have no meaning: all of them, before anything starts."""


class KeysError(SettingsError):
    """The file of API keys cannot be read, or has problems: all of them."""


class PullError(KeraportError):
    """A model cannot be fetched from its source, or not put into its place."""


class ModelError(KeraportError):
    """The model or its card is at fault."""

    code = "internal"


class CardError(ModelError):
    """The card, the labels or the folder are wrong."""


class LoadError(ModelError):
    """The model file cannot be served."""


class InferenceError(ModelError):
    """TensorFlow failed while running the model."""


class NonFiniteOutput(ModelError):
    """The model answered NaN or Infinity, which JSON cannot carry."""

    code = "non_finite_output"

    def __init__(self) -> None:
        super().__init__(
            "the model answered NaN or Infinity for this input; check its range, or the model's "
            "weights"
        )
