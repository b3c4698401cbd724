"""Imports point one way: web, api -> serving -> errors, settings."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from tests.support import ROOT

FILES = sorted((ROOT / "app").rglob("*.py"))
_PARTS_OF_HTTP = (
    "flask",
    "werkzeug",
    "app.api",
    "app.web",
    "app.factory",
    "app.handler",
    "app.server",
)
# A folder or file of `app`, and what nothing in it may import.
FORBIDDEN = {
    "serving": (*_PARTS_OF_HTTP, "app.status"),
    "errors.py": ("app", "flask", "werkzeug"),
    "settings.py": ("app", "flask", "werkzeug"),
    "api": ("app.web", "app.factory", "app.handler", "app.server", "tensorflow"),
    "status": (
        "app.api",
        "app.web",
        "app.factory",
        "app.handler",
        "app.server",
        "flask",
        "werkzeug",
        "tensorflow",
    ),
    "handler.py": ("app.web", "app.factory", "app.server", "tensorflow"),
    "web": ("app.factory", "app.handler", "app.server", "tensorflow"),
}
# The files that may know TensorFlow, each in a process or thread of its own.
# These run models…
RUNNING = {"runtime.py", "generation_session.py"}
# …and these are for the process that reads them.
READING = {"loading.py", "reach.py", "saved_model.py", "stepping.py", "generating.py"}
# …and this one writes protocol buffers of TensorFlow's, once a model is there to take them.
WRITING = {"examples.py"}


def imports(source: str, package: str) -> set[str]:
    """Every module that `source` imports anywhere, relative ones resolved against `package`."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: 1 - node.level or None] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return found


def reaches(imported: set[str], forbidden: str) -> bool:
    return any(name == forbidden or name.startswith(f"{forbidden}.") for name in imported)


def package_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).parent.parts)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    imported = imports(path.read_text(encoding="utf-8"), package_of(path))
    part = path.relative_to(ROOT / "app").parts[0]
    for forbidden in FORBIDDEN.get(part, ()):
        assert not reaches(imported, forbidden), f"{path} imports {forbidden}"


def test_few_files_import_tensorflow() -> None:
    found = {
        str(path.relative_to(ROOT / "app" / "serving"))
        for path in FILES
        if reaches(imports(path.read_text(encoding="utf-8"), package_of(path)), "tensorflow")
    }
    assert found == RUNNING | READING | WRITING


SMALL = ("supervisor", "hub_watch", "lines", "native_output")


@pytest.mark.parametrize("name", SMALL)
def test_the_supervisor_needs_nothing_but_python(name: str) -> None:
    """It takes 13 MB, and runs beside each server."""
    source = (ROOT / "app" / f"{name}.py").read_text(encoding="utf-8")
    for module in imports(source, "app"):
        package, _, rest = module.partition(".")
        assert package in sys.stdlib_module_names or rest.split(".")[0] in SMALL, module


@pytest.mark.parametrize(
    ("source", "module"),
    [
        ("import flask", "flask"),
        ("import flask.views as v", "flask"),
        ("from flask import Flask", "flask"),
        ("def f():\n    from app import api", "app.api"),
        ("from app.api.errors import install", "app.api"),
        ("from .. import api", "app.api"),
        ("from ..api import errors", "app.api"),
        ("from . import runtime", "app.serving.runtime"),
    ],
)
def test_the_test_sees_an_import(source: str, module: str) -> None:
    assert reaches(imports(source, "app.serving"), module)


def test_the_test_sees_whole_names_only() -> None:
    assert not reaches(imports("import flasks, app.apian", "app.serving"), "flask")
    assert not reaches(imports("import flasks, app.apian", "app.serving"), "app.api")


@pytest.mark.parametrize(
    "path", [f for f in FILES if f.parent.name in ("api", "web")], ids=lambda p: p.stem
)
def test_views_see_the_models_through_their_access(path: Path) -> None:
    """Or a request would get what its key is not for, and the metrics would not know of it."""
    knows = reaches(imports(path.read_text(), package_of(path)), "app.serving.registry")
    # The metrics tell of every model.
    assert knows == (path.stem in ("access", "metrics", "model_metrics"))
