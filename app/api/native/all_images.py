"""One picture to every image model, for the API and for the page that compares their answers."""

from __future__ import annotations

from contextlib import ExitStack, closing
from typing import Any

import gevent
from flask import Request

from app.api.http.access import ModelAccess
from app.api.http.answers import prediction_answer, request_id
from app.api.http.disconnect import cancel_on_disconnect
from app.api.http.requests import copies, read_payload, start_call
from app.errors import LOADING_RETRY_S, KeraportError, ModelNotFound, ModelUnavailable, RequestError
from app.serving.call import Call
from app.serving.cards.kinds import takes_a_picture
from app.serving.models.model import Model
from app.serving.registry.entry import Entry
from app.serving.tasks.base import Payload
from app.settings import Settings

# The answer of a model, or its error.
Outcome = dict[str, Any] | KeraportError


def image_models(access: ModelAccess) -> list[Entry]:
    """Return the models that are known to take pictures, in any state."""
    return [e for e in access.entries() if e.card is not None and takes_a_picture(e.card)]


def ask_image_models(
    request: Request, settings: Settings, access: ModelAccess, accepts: frozenset[str]
) -> list[tuple[Entry, Outcome]]:
    """Ask all image models at once about the picture of `request`. A model that cannot answer gives
    its error in place of the answer. accepts: kinds of payload that it may come as.

    Raises ModelUnavailable while models load, ModelNotFound where none takes pictures, what
    `read_payload` raises, and RequestError for a picture that none can read.
    """
    if not access.loaded:
        # Which of those that are left take pictures, their cards have yet to say.
        raise ModelUnavailable("the models are still loading", retry_after=LOADING_RETRY_S)
    found = image_models(access)
    if not found:
        raise ModelNotFound("this server has no image model")
    call = start_call(settings.request_timeout_s)
    payload = read_payload(request, accepts, call)
    with closing(payload):
        parts = copies(payload, len(found))
    calls = [start_call(call.remaining) for _ in found]
    with ExitStack() as leases:
        leases.enter_context(cancel_on_disconnect(request.environ, calls))
        # Greenlets of their own know nothing of the request.
        tasks = [
            gevent.spawn(_try, _lease(leases, access, entry.name), part, each, request_id())
            for entry, each, part in zip(found, calls, parts, strict=True)
        ]
        gevent.joinall(tasks)
        outcomes: list[Outcome] = [task.get() for task in tasks]
    mistakes = [o for o in outcomes if isinstance(o, RequestError)]
    if mistakes and all(isinstance(o, KeraportError) for o in outcomes):
        raise mistakes[0]
    return list(zip(found, outcomes, strict=True))


def _lease(leases: ExitStack, access: ModelAccess, name: str) -> Model | KeraportError:
    """Lease a model until `leases` end; the error if that fails."""
    try:
        return leases.enter_context(access.leased(name)).model
    except KeraportError as error:
        return error


def _try(model: Model | KeraportError, payload: Payload, call: Call, id: str) -> Outcome:
    if isinstance(model, KeraportError):
        return model
    try:
        return prediction_answer(model, payload, call, id)
    except KeraportError as error:
        return error
