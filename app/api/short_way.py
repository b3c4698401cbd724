"""The short way of predictions, past Flask's dispatch.

Matching an address, the contexts and the hooks of Flask take a quarter of the time of a row. Here
the same view functions, checks and error answers are called by hand; all other requests, and pages
of other origins, take Flask's way. tests/http/test_short_way.py sends every case both ways.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from flask import Flask, Request, Response

from app.api.http.answers import add_request_id
from app.api.http.current import set_current_request
from app.api.http.draining import check_draining
from app.api.http.errors import ErrorAnswers
from app.api.http.gate import Gate
from app.api.http.prediction_path import prediction_path
from app.api.http.users import UserRates
from app.api.v1.servables import servable_of
from app.lifecycle import Lifecycle
from app.serving.cards.card import RESERVED_NAMES

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

View = Callable[..., Response]


class ShortWay:
    """Answers predictions as `app` does, and passes all other requests to `flask`, its way.

    app: with all routes and error answers. gate: where there are API keys. users: where they have
    a rate.
    """

    def __init__(
        self,
        app: Flask,
        errors: ErrorAnswers,
        lifecycle: Lifecycle,
        gate: Gate | None,
        users: UserRates | None = None,
    ) -> None:
        self._flask: WSGIApplication = app.wsgi_app
        self._request_class: type[Request] = app.request_class
        self._errors = errors
        self._lifecycle = lifecycle
        self._gate = gate
        self._users = users
        views: dict[str, Any] = app.view_functions
        self._native: View = views["native.predict"]
        self._v1: View = views["v1.ask"]
        self._v2: View = views["v2.infer"]

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        view = self._view(environ)
        if view is None:
            return self._flask(environ, start_response)
        set_current_request(self._request_class(environ))
        try:
            response = self._answer(view)
        finally:
            set_current_request(None)
        body = response.response
        if not isinstance(body, list):  # a stream
            return response(environ, start_response)
        start_response(response.status, response.headers.to_wsgi_list())
        return body

    def _view(self, environ: WSGIEnvironment) -> Callable[[], Response] | None:
        """Return the view of a prediction, with its arguments; None for anything else."""
        if environ["REQUEST_METHOD"] != "POST" or "HTTP_ORIGIN" in environ:
            return None
        path = prediction_path(environ["PATH_INFO"])
        if path is None or path.version or path.label:
            return None
        if path.api == "native":
            return None if path.model in RESERVED_NAMES else partial(self._native, path.model)
        if path.api == "v1":
            return partial(self._v1, servable_of(path.model), path.verb)
        return partial(self._v2, path.model)

    def _answer(self, view: Callable[[], Response]) -> Response:
        try:
            if self._gate is not None:
                self._gate.check()
            if self._users is not None:
                self._users.check()
            check_draining(self._lifecycle)
            response = view()
        except Exception as error:
            response = self._errors.answer(error)
        if self._gate is not None:
            self._gate.forbid_caching(response)
        return add_request_id(self._errors.offer_fallback(response))
