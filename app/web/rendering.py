"""The rendering of pages from templates."""

from __future__ import annotations

from typing import Any

from flask import current_app

from app.serving.hub_rounds import spread


def render(template: str, **context: Any) -> str:
    """Render a template as Flask's `render_template` does, but yield to other requests meanwhile.

    Pages may have a thousand fields, or list hundreds of models. Blocks the greenlet.
    """
    current_app.update_template_context(context)
    return "".join(spread(current_app.jinja_env.get_template(template).generate(context)))
