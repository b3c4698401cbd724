"""The examples of models on pages: their pictures, and what the home page shows of them."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, abort, request, url_for
from werkzeug.http import generate_etag

from app.api.http.access import ModelAccess
from app.serving.registry.entry import Entry
from app.serving.tasks.examples import Example, ExampleFile

# Characters of an example on the home page.
MOST_SHOWN = 90


def add_examples(routes: Blueprint, access: ModelAccess) -> None:
    """Add the files of examples, by the number of the example and that of its file."""

    @routes.get("/models/<name>/examples/<int:number>/<int:place>")
    def example_file(name: str, number: int, place: int) -> Response:
        """Answer a file as it lies in the model's folder."""
        file = _file(access, name, number, place)
        return _cached(file.data, file.media_type)

    @routes.get("/models/<name>/examples/<int:number>/<int:place>/small")
    def example_thumbnail(name: str, number: int, place: int) -> Response:
        """Answer a small picture of a file."""
        file = _file(access, name, number, place)
        if file.thumbnail is None:
            abort(404)
        return _cached(file.thumbnail, "image/webp")


def _file(access: ModelAccess, name: str, number: int, place: int) -> ExampleFile:
    with access.leased(name, canary=False) as lease:
        examples = lease.model.examples
        files = [*examples[number].files.values()] if number < len(examples) else []
        if place >= len(files):
            abort(404)
        return files[place]


def _cached(data: bytes, media_type: str) -> Response:
    """Return a response that browsers keep, and ask about: another version of the model may have
    other files."""
    response = Response(data, mimetype=media_type)
    response.headers["Cache-Control"] = "no-cache"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.set_etag(generate_etag(data))
    response.make_conditional(request)
    return response


def file_address(name: str, number: int, place: int, *, small: bool = False) -> str:
    """Return the address of a file of an example."""
    endpoint = "pages.example_thumbnail" if small else "pages.example_file"
    return url_for(endpoint, name=name, number=number, place=place)


def thumbnail_address(name: str, number: int, example: Example) -> str | None:
    """Return the address of the first small picture of an example; None if it has none."""
    for place, file in enumerate(example.files.values()):
        if file.thumbnail is not None:
            return file_address(name, number, place, small=True)
    return None


def shown_example(entry: Entry) -> dict[str, Any]:
    """Return the first example of a model for the home page: the address of a small picture
    (`thumbnail`) and its `name`, or a text (`words`)."""
    if entry.model is None or not entry.model.examples:
        return {}
    example = entry.model.examples[0]
    if address := thumbnail_address(entry.name, 0, example):
        return {"thumbnail": address, "name": example.name}
    return {"words": _words(example)}


def _words(example: Example) -> str:
    """The values of an example in a line; empty for lists of numbers."""
    (first, *others) = example.values.values()
    if isinstance(first, str) and not others:
        text = f"“{' '.join(first.split())}”"
    elif isinstance(first, dict) and not others:
        plain = {n: v for n, v in first.items() if not isinstance(v, dict | list)}
        text = ", ".join(f"{name} {value}" for name, value in plain.items())
    else:
        return ""
    return text if len(text) <= MOST_SHOWN else f"{text[: MOST_SHOWN - 1].rstrip()}…"
