"""Pages from their templates."""

from __future__ import annotations

from typing import Any

from flask import current_app

from app.serving.rounds import spread


def render(template: str, **context: Any) -> str:
    """As Flask's `render_template`, but other requests have their turns meanwhile: a page may have
    a thousand fields, or list hundreds of models. Blocks the greenlet."""
    current_app.update_template_context(context)
    return "".join(spread(current_app.jinja_env.get_template(template).generate(context)))
