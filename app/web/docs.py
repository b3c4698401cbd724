"""The page on which developers read and try the API: Swagger UI, served by this server."""

from __future__ import annotations

from importlib.resources import as_file, files

from flask import Blueprint, Response, render_template, send_from_directory

# The two files of the package that the page loads.
_FILES = ("swagger-ui-bundle.js", "swagger-ui.css")


def add_docs(routes: Blueprint) -> None:
    """Add `/docs`, and the files of Swagger UI below it."""
    with as_file(files("flask_swagger_ui") / "dist") as folder:
        swagger_ui = folder

    @routes.get("/docs")
    def docs() -> str:
        return render_template("docs.html")

    @routes.get(f"/docs/<any({', '.join(map(repr, _FILES))}):name>")
    def swagger_ui_file(name: str) -> Response:
        return send_from_directory(swagger_ui, name)
