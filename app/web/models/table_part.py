"""The part of a page that takes files of many rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flask import Request, Response, request

from app.api.http.answers import piecewise_response
from app.api.http.requests import read_payload
from app.api.native.extra import EXTRA, KEEP, with_extra
from app.serving.call import Call
from app.serving.cards.card import FieldSpec
from app.serving.limits import Limits
from app.serving.models.model import Model
from app.serving.tasks import Payload
from app.web.models.answers.readings import Shown
from app.web.models.columns import example_of
from app.web.models.table_file import AnsweredTable, answer_table, template_csv

PREVIEW_ROWS = 10


class TablePart:
    """An upload for a CSV, and its rows with their answers.

    fields: of all inputs. outputs: of the model.
    """

    def __init__(
        self, model: Model, fields: Sequence[FieldSpec], limits: Limits, outputs: Sequence[Shown]
    ) -> None:
        self._model, self._fields, self._limits, self._outputs = model, fields, limits, outputs
        self._table: AnsweredTable | None = None

    def read(self, request: Request, call: Call) -> Payload:
        """Read the file. Raises RequestError for what is no CSV."""
        return with_extra(request, read_payload(request, frozenset({"csv"}), call))

    def predict(self, payload: Payload, call: Call) -> Sequence[Any]:
        """Ask the model about all rows, and keep them for the page."""
        names = [field.name for field in self._fields]
        decimals = {out.name: out.decimals for out in self._outputs}
        self._table = answer_table(self._model, payload, call, names, self._limits, decimals)
        return self._table.predictions

    def download(self, request: Request) -> Response | None:
        """Return the rows with their answers, if `request` asks for the file."""
        if self._table is None or "download" not in request.args:
            return None
        cells = len(self._table.sent) * len(self._table.columns)
        file = piecewise_response(self._table.csv(), cells, mimetype="text/csv")
        file.headers["Content-Disposition"] = f"attachment; filename={self._model.name}-answers.csv"
        return file

    def context(self) -> dict[str, Any]:
        """Return the rows, and what the upload says of files."""
        return {
            "table": self._table,
            "keeps_extra": request.args.get(EXTRA) == KEEP,
            "shown": self._table.rows(0, PREVIEW_ROWS) if self._table else [],
            "template_csv": template_csv([(f.name, example_of(f)) for f in self._fields]),
            "max_mb": f"{((request.max_content_length or 1) - 1) / 1_000_000:g}",
        }
