"""The base class of the pages of models."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from flask import Request, Response, request
from werkzeug.datastructures import MultiDict
from wtforms import Form

from app.api.http.requests import read_form
from app.api.native.scale import guessed_takers, other_scales, takers
from app.errors import Detail
from app.serving.call import Call
from app.serving.models.model import Model
from app.serving.signature import Scale
from app.serving.tasks import Payload
from app.serving.tasks.examples import Example


class ModelPage(ABC):
    """The page of one model: its form, and how a submitted form becomes a request.

    template: in `frontend/templates`. It works without JavaScript: the form is sent to the page's
    own address, which answers with the page and the predictions in it.
    """

    template: str

    def __init__(self, model: Model) -> None:
        self.model = model

    @abstractmethod
    def form(self, data: Any = None) -> Form:
        """Return the form. data: the fields that were submitted, if any."""

    @abstractmethod
    def read(self, request: Request, call: Call) -> tuple[Form, Payload | None]:
        """Read a submitted form: the form itself, and the payload for the model; None if the form
        has problems.

        Raises RequestError for a body that is not a form.
        """

    def predict(self, payload: Payload, call: Call) -> Sequence[Any]:
        """Ask the model. Raises what the model raises."""
        return self.model.predict(payload, call)

    def example_fields(self, example: Example) -> dict[str, str]:
        """Return what fields of the form hold for an example; without files."""
        return {}

    def try_example(self, example: Example) -> tuple[Form, Payload]:
        """Return the form filled with an example, and the request."""
        form = self.form(MultiDict(self.example_fields(example)))
        return form, example.payload.at(tried_scale(self.model))

    def file_fields(self, example: Example) -> list[str]:
        """Return the fields of the form for the files of an example."""
        return []

    def download(self, request: Request) -> Response | None:
        """Return the answer as a file, if `request` asks for one."""
        return None

    def context(self) -> dict[str, Any]:
        """Return further values for the template."""
        return {}

    def field_of(self, form: Form, detail: Detail) -> str | None:
        """Return the name of the form's field that a problem found by the model belongs to, if
        any."""
        return detail.field if detail.field in form else None


class JsonPage(ModelPage):
    """The page of a model that takes JSON, made from the fields of a form."""

    @abstractmethod
    def body(self, form: Form) -> bytes:
        """Return the JSON for the model. form: submitted and valid."""

    def read(self, request: Request, call: Call) -> tuple[Form, Payload | None]:
        """Read the form and validate it."""
        form = self.form(read_form(request, call))
        return form, Payload("json", self.body(form)) if form.validate() else None


def scale_context(model: Model) -> dict[str, Any]:
    """Return the scales that the page offers to try where the model's is a guess, the one that is
    used, and the names of the inputs that it is used for where others have a scale that is known.
    """
    guessed = guessed_takers(model)
    own = list(dict.fromkeys(each.feed.scale for each in guessed))
    several = len(takers(model)) > len(guessed)
    return {
        "scales": other_scales(model),
        "scale": tried_scale(model) or ", ".join(own),
        "scale_of": [each.name for each in guessed] if several else [],
        "scale_tried": tried_scale(model) is not None,
    }


def tried_scale(model: Model) -> Scale | None:
    """Return the scale that the address of the page has, where the model's is a guess."""
    wanted = request.args.get("scale")
    return next((scale for scale in other_scales(model) if scale == wanted), None)


def add_problems(page: ModelPage, form: Form, details: list[Detail]) -> list[Detail]:
    """Add problems found by the model to the form's fields. Return those that belong to no
    field."""
    left = []
    for detail in details:
        name = page.field_of(form, detail)
        if name is None:
            left.append(detail)
            continue
        label = form[name].label.text
        named = detail.field in (name, label) or detail.field.endswith(f".{label}")
        where = "" if named else f"{detail.field}: "
        form[name].errors = [*form[name].errors, where + problem_text(detail)]
    return left


def problem_text(detail: Detail) -> str:
    """Return a problem as one line, to be shown beside its field."""
    expected = "" if detail.expected is None else f": expected {detail.expected}"
    return f"{detail.problem}{expected}"
