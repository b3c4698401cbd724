"""Generated texts as server-sent events (WHATWG HTML, section 9.2)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any

import orjson
from flask import Request, Response

from app.api.http.answers import request_id
from app.api.http.disconnect import cancel_on_disconnect
from app.api.http.errors import describe
from app.api.telemetry.record import record_of
from app.errors import KeraportError
from app.serving.call import Call
from app.serving.tasks.base import Payload

if TYPE_CHECKING:
    from app.serving.models.text_model import TextModel

EVENTS = "text/event-stream"
# Seconds without a word after which a comment is sent, so that no proxy takes the silence of a
# queue for the end.
HEARTBEAT_S = 10.0


def wants_events(request: Request) -> bool:
    """Whether the client asks for events rather than JSON."""
    return request.accept_mimetypes.best_match(["application/json", EVENTS]) == EVENTS


def event_stream(model: TextModel, payload: Payload, call: Call, request: Request) -> Response:
    """Return a response of events: `start`, a `word` for each token, then `done` or `error`.

    Raises the errors of the request itself, before anything is sent.
    """
    with ExitStack() as stack:
        stack.enter_context(closing(payload))
        stack.enter_context(cancel_on_disconnect(request.environ, [call]))
        order, pieces = stack.enter_context(model.writing(payload, call, HEARTBEAT_S))
        record = record_of(request.environ)
        head = {"id": request_id(), "model": model.name, "version": model.version}
        opened = stack.pop_all()

    def events() -> Iterator[bytes]:
        start = {**head, "seed": order.seed}
        if order.unknown:
            start["unknown_words"] = order.unknown
        yield _event("start", start)
        text = ""
        try:
            for piece in pieces:
                if piece is None:
                    yield b": still waiting\n\n"
                    continue
                piece = piece if text else piece.lstrip()
                text += piece
                yield _event("word", {"text": piece})
        except KeraportError as error:
            record.code = error.code
            yield _event("error", {"id": head["id"], "error": describe(error)})
        else:
            yield _event("done", {**head, "predictions": [order.answer(text)]})

    response = Response(events(), mimetype=EVENTS)
    response.headers["Cache-Control"] = "no-store"
    # nginx would otherwise collect the words.
    response.headers["X-Accel-Buffering"] = "no"
    response.call_on_close(opened.close)
    return response


def _event(name: str, data: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), orjson.dumps(data))
