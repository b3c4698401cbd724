"""The page of a model that takes a picture."""

from __future__ import annotations

from typing import Any, cast

from flask import Request
from wtforms import Form

from app.api.http.requests import read_payload
from app.api.native.scale import scale_of
from app.errors import Detail, InvalidInput
from app.serving.call import Call
from app.serving.tasks import Payload, RowTask
from app.web.models.model_page import ModelPage, problem_text, scale_context
from app.web.models.picture_form import picture_form
from app.web.models.readings import cosine, for_script, readings, shown_outputs, value_of

# Pictures with which the vector of another is compared.
MOST_COMPARED = 5


class ImagePage(ModelPage):
    """Pictures, one or many."""

    template = "models/image.html"

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
            **scale_context(self.model),
        }

    def read(self, request: Request, call: Call) -> tuple[Form, Payload | None]:
        """Read the pictures with the API's own reader, which spools large uploads."""
        scale = scale_of(request, self.model)
        return self.form(), read_payload(request, frozenset({"files"}), call).at(scale)

    def predict(self, payload: Payload, call: Call) -> list[Any]:
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
        found = readings(prediction, shown_outputs(self.model))
        return {"name": name, "prediction": prediction, "readings": found}
