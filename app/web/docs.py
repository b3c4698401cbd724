"""The page on which programs' authors read the API and try it: Swagger UI, from our own origin."""

from __future__ import annotations

from importlib.resources import as_file, files

from flask import Blueprint, Response, render_template, send_from_directory

# Of the package, the two files that the page loads.
_FILES = ("swagger-ui-bundle.js", "swagger-ui.css")


def add_docs(routes: Blueprint) -> None:
    """`/docs`, and the files of Swagger UI under it."""
    with as_file(files("flask_swagger_ui") / "dist") as folder:
        swagger_ui = folder

    @routes.get("/docs")
    def docs() -> str:
        return render_template("docs.html")

    @routes.get(f"/docs/<any({', '.join(map(repr, _FILES))}):name>")
    def swagger_ui_file(name: str) -> Response:
        return send_from_directory(swagger_ui, name)
