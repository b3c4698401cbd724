"""What the pages of all models share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from flask import Request, Response
from wtforms import Form

from app.errors import Detail
from app.serving.call import Call
from app.serving.tasks.base import Payload

if TYPE_CHECKING:  # it needs TensorFlow, which takes seconds to import
    from app.serving.model import Model


class ModelPage(ABC):
    """The page of one model: its form, and how what is sent becomes a request.

    template: in `frontend/templates`. It works without JavaScript: the form is sent to the page's
    own address, which answers with the page and the predictions in it.
    """

    template: str

    def __init__(self, model: Model) -> None:
        self.model = model

    @abstractmethod
    def form(self, data: Any = None) -> Form:
        """The form; `data` is what was sent of it, if anything."""

    @abstractmethod
    def read(self, request: Request, call: Call) -> tuple[Form, Payload | None]:
        """What was sent, and the request of the model in it; None where the form has problems.

        Raises RequestError for a body that is no form.
        """

    def predict(self, payload: Payload, call: Call) -> Sequence[Any]:
        """Ask the model. Raises what the model raises."""
        return self.model.predict(payload, call)

    def download(self, request: Request) -> Response | None:
        """What was predicted as a file, where `request` asks for one."""
        return None

    def context(self) -> dict[str, Any]:
        """What else the template shows."""
        return {}

    def field_of(self, form: Form, detail: Detail) -> str | None:
        """The field of the form that a problem which the model found belongs to, if any."""
        return detail.field if detail.field in form else None


def add_problems(page: ModelPage, form: Form, details: list[Detail]) -> list[Detail]:
    """Put problems that the model found beside the fields that they are about. Returns those that
    belong to none."""
    left = []
    for detail in details:
        name = page.field_of(form, detail)
        if name is None:
            left.append(detail)
            continue
        named = detail.field in (name, form[name].label.text)
        where = "" if named else f"{detail.field}: "
        form[name].errors = [*form[name].errors, where + problem_text(detail)]
    return left


def problem_text(detail: Detail) -> str:
    """A problem in one line, for beside the field that it is about."""
    expected = "" if detail.expected is None else f": expected {detail.expected}"
    return f"{detail.problem}{expected}"
