"""The page of a model that takes a picture."""

from __future__ import annotations

from io import BytesIO
from typing import Any, cast

from flask import Request, Response, request
from wtforms import Form

from app.api.http.requests import read_payload
from app.api.native.drawings import drawn_outputs
from app.api.native.explain import wants_explanation
from app.api.native.picture_zip import zip_response
from app.api.native.scale import scale_of
from app.errors import Detail, InvalidInput
from app.serving.call import Call
from app.serving.models.explanation import explain
from app.serving.models.model import Model
from app.serving.tasks import Payload, RowTask
from app.serving.tasks.base import Drawing
from app.serving.tasks.examples import Example
from app.web.models.answers.heat import explain_context, heats
from app.web.models.answers.readings import (
    PictureRoom,
    cosine,
    for_script,
    readings,
    shown_outputs,
    value_of,
)
from app.web.models.model_page import ModelPage, problem_text, scale_context, tried_scale
from app.web.models.picture_form import picture_form

# Pictures with which the vector of another is compared.
MOST_COMPARED = 5


class ImagePage(ModelPage):
    """Pictures, one or many."""

    template = "models/image.html"

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self._room = PictureRoom()
        self._file: Response | None = None

    def form(self, data: Any = None) -> Form:
        """Return a form with a field for files; the files themselves stay in the body."""
        return picture_form("Choose pictures", several=True)

    def context(self) -> dict[str, Any]:
        """Return the outputs for the script, and the text of the button."""
        outputs = shown_outputs(self.model)
        classes = all(out.kind == "classes" for out in outputs)
        return {
            "outputs": for_script(outputs),
            "action": "Classify" if classes else "Predict",
            "max_pixels": self.model.task.input_schema()["max_pixels"],
            "download": self._download,
            **scale_context(self.model),
            **explain_context(self.model, self._action),
        }

    @property
    def _download(self) -> str | None:
        """The address that answers masks and pictures as a file."""
        if not drawn_outputs(self.model):
            return None
        return f"{self._action}&download" if self._action else "?download"

    @property
    def _action(self) -> str:
        """The address of the page, with the scale that it tries."""
        tried = tried_scale(self.model)
        return f"?scale={tried}" if tried else ""

    def read(self, request: Request, call: Call) -> tuple[Form, Payload | None]:
        """Read the pictures with the API's own reader, which spools large uploads."""
        scale = scale_of(request, self.model)
        payload = read_payload(request, frozenset({"files"}), call)
        return self.form(), payload if scale is None else payload.at(scale)

    def try_example(self, example: Example) -> tuple[Form, Payload]:
        """Return the picture of an example as if it was chosen."""
        files = [*example.files.values()]
        spools = [BytesIO(file.data) for file in files]
        payload = Payload("files", files=spools, names=[file.name for file in files])
        return self.form(), payload.at(tried_scale(self.model))

    def file_fields(self, example: Example) -> list[str]:
        """Return the only field."""
        return ["image"]

    def predict(self, payload: Payload, call: Call) -> list[Any]:
        """Return a row per picture, or the only one with where the model looks."""
        if wants_explanation(request, self.model):
            return [self._explained(payload, call)]
        if self._download is not None and "download" in request.args:
            self._file = self._zipped(payload, call)
            return []
        return self._predicted(payload, call)

    def _zipped(self, payload: Payload, call: Call) -> Response:
        names = [out.name for out in drawn_outputs(self.model)]
        wanted = payload.drawn(Drawing(as_files=True))
        return zip_response(self.model.name, names, self.model.predict(wanted, call), payload, call)

    def download(self, request: Request) -> Response | None:
        """Return the pictures of the answers as a zip."""
        return self._file

    def _explained(self, payload: Payload, call: Call) -> dict[str, Any]:
        if len(payload.files) > 1:
            raise InvalidInput("choose one picture at a time to see where the model looks")
        found = explain(self.model, payload, call)
        name = payload.names[0] if payload.names else "picture"
        outputs = shown_outputs(self.model)
        row = self._answered(name, found["predictions"][0])
        return {**row, "heats": heats(found["explanation"], outputs)}

    def _predicted(self, payload: Payload, call: Call) -> list[Any]:
        """Return a row per picture: `{name, prediction, readings}`, or `{name, problem}` for one
        that cannot be read, so that the others still get their answer.

        Raises InvalidInput if none can be read, or if they are too large together.
        """
        names = payload.names or ["picture"] * len(payload.files)
        if len(payload.files) < 2:
            return [
                self._answered(name, prediction)
                for name, prediction in zip(names, self.model.predict(payload, call), strict=True)
            ]
        cast("RowTask", self.model.task).measure(payload, call)
        rows = [
            self._row(name, file, payload, call)
            for name, file in zip(names, payload.files, strict=True)
        ]
        self._compare([row for row in rows if "prediction" in row])
        problems = [Detail(row["name"], row["problem"]) for row in rows if "problem" in row]
        if len(problems) == len(rows):
            raise InvalidInput("none of these pictures can be read", problems)
        return rows

    def _row(self, name: str, file: Any, payload: Payload, call: Call) -> dict[str, Any]:
        try:
            (prediction,) = self.model.predict(
                Payload("files", files=[file], scale=payload.scale), call
            )
        except InvalidInput as invalid:
            return {"name": name, "problem": "; ".join(map(problem_text, invalid.details))}
        return self._answered(name, prediction)

    def _compare(self, rows: list[dict[str, Any]]) -> None:
        """Add to each vector how similar those before it are."""
        outputs = shown_outputs(self.model)
        for at, out in enumerate(outputs):
            if out.kind != "vector":
                continue
            vectors = [value_of(row["prediction"], outputs, out).tolist() for row in rows]
            for i, row in enumerate(rows):
                found = [
                    (rows[j]["name"], f"{similarity:.3f}")
                    for j in range(max(0, i - MOST_COMPARED), i)
                    if (similarity := cosine(vectors[i], vectors[j])) is not None
                ]
                row["readings"][at].similar = found

    def _answered(self, name: str, prediction: Any) -> dict[str, Any]:
        prediction = self._room.fitted(prediction)
        found = readings(prediction, shown_outputs(self.model))
        return {"name": name, "prediction": prediction, "readings": found}
