"""Error pages, which say what to do."""

from __future__ import annotations

from typing import Any

from flask import Response, make_response, render_template

from app.api.http.answers import request_id
from app.web.login import login_page

# By status: what happened, and what to do.
_TEXTS = {
    400: ("This could not be read", "Go back, check what was sent, and try again."),
    403: ("Your key is not for this", "Pick a model from the list, or ask for another key."),
    404: ("There is no such page", "Check the address, or pick a model from the list."),
    405: ("This address does not accept that", "Go back to the page and use its form."),
    413: ("This is too large", "Send a smaller file, or fewer at once."),
    415: ("This kind of file is not accepted", "Send what the page of the model asks for."),
    422: ("The model cannot take this", "Go back, change what is named above, and try again."),
    429: ("Too many requests", "Wait a few seconds, then try again."),
    500: ("Something went wrong", "Try again. If it fails again, tell the operator of this "
          "server the number of the request below."),
    503: ("Not available just now", "Wait a few seconds, then try again."),
    504: ("No answer in time", "Try again, with less at once if you sent much."),
}  # fmt: skip


def error_page(status: int, error: dict[str, Any]) -> Response:
    """Return the page for an error; for 401, the login page.

    error: as in the API's answers, `{"code", "message", "details"}`.
    """
    if status == 401:
        return login_page(error)
    title, advice = _TEXTS.get(status) or _TEXTS[500 if status >= 500 else 400]
    page = render_template(
        "error.html", status=status, title=title, advice=advice, error=error, id=request_id()
    )
    response = make_response(page, status)
    response.headers["Vary"] = "Accept"
    return response
