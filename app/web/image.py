"""The page of a model that classifies pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from flask import Request
from wtforms import Form

from app.api.requests import read_payload
from app.errors import Detail, InvalidInput
from app.serving.call import Call
from app.serving.tasks.base import Payload
from app.web.model_page import ModelPage, problem_text
from app.web.picker import picture_form

if TYPE_CHECKING:
    from app.serving.tasks.image import ImageClassification


class ImagePage(ModelPage):
    """Pictures, one or many."""

    template = "models/image.html"

    def form(self, data: Any = None) -> Form:
        """A field for files; what was sent of files stays in the body."""
        return picture_form("Choose pictures", several=True)

    def read(self, request: Request, call: Call) -> tuple[Form, Payload | None]:
        """By the API's own reader, which spools large uploads."""
        return self.form(), read_payload(request, self.model.task.accepts, call)

    def predict(self, payload: Payload, call: Call) -> list[Any]:
        """A row a picture: `{name, prediction}`, or `{name, problem}` for one that cannot be read,
        so that the others have their answer all the same.

        Raises InvalidInput where none can be read, or they are too large together.
        """
        names = payload.names or ["picture"] * len(payload.files)
        if len(payload.files) < 2:
            return [
                {"name": name, "prediction": prediction}
                for name, prediction in zip(names, self.model.predict(payload, call), strict=True)
            ]
        cast("ImageClassification", self.model.task).measure(payload.files, call)
        rows = [self._row(n, f, call) for n, f in zip(names, payload.files, strict=True)]
        problems = [Detail(row["name"], row["problem"]) for row in rows if "problem" in row]
        if len(problems) == len(rows):
            raise InvalidInput("none of these pictures can be read", problems)
        return rows

    def _row(self, name: str, file: Any, call: Call) -> dict[str, Any]:
        try:
            (prediction,) = self.model.predict(Payload("files", files=[file]), call)
        except InvalidInput as invalid:
            return {"name": name, "problem": "; ".join(map(problem_text, invalid.details))}
        return {"name": name, "prediction": prediction}
