"""Imports go down only, from package to package, those for types included."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT

FILES = sorted((ROOT / "app").rglob("*.py"))
# The packages and single files of `app`, lowest first: each imports only what stands before it.
# Files of `app` that are not named here, such as errors.py, are the lowest.
LAYERS = (
    "",
    "keys",
    "serving",
    "serving.cards",
    "serving.cards.inference",
    "serving.tasks.files",
    "serving.tasks.tables",
    "serving.tasks",
    "serving.engine",
    "serving.engine.sessions",
    "serving.models",
    "serving.reading",
    "serving.registry",
    "sources",
    "status",
    "api.telemetry",
    "api.bodies",
    "api.http",
    "api.native",
    "api.v1",
    "api.v2",
    "api.grpc",
    "api.openapi",
    "api",
    "web.layout",
    "web.models.answers",
    "web.models",
    "web",
    "factory",
    "server",
    "cli",
    "__main__",
)
HTTP = ("flask", "werkzeug")
# TensorFlow belongs to the process that reads models and to the threads that run them. A
# `tf.Example` is a protocol buffer of TensorFlow.
TENSORFLOW = ("serving.engine.sessions", "serving.reading", "serving.tf_example")


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


def module_of(path: Path) -> str:
    """The name of a file's module, without `app` before it."""
    parts = path.relative_to(ROOT / "app").with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {f"app.{name}" if (name := module_of(path)) else "app": path for path in FILES}


def layer_of(module: str) -> str:
    """The longest of LAYERS that the module is, or lies in. A package of the same name as a file,
    such as `serving`, has the files that lie directly in it."""
    name = module.removeprefix("app").removeprefix(".")
    found = [layer for layer in LAYERS if name == layer or name.startswith(f"{layer}.")]
    return max(found, key=len, default="")


def imported_modules(path: Path) -> set[str]:
    """The modules of `app` that a file imports, those only for types as well."""
    names = imports(path.read_text(encoding="utf-8"), package_of(path))
    found = {name for name in names if name in MODULES}
    # `from app.api import cors` names the package as well.
    return {name for name in found if not any(other.startswith(f"{name}.") for other in found)}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_down_only(path: Path) -> None:
    own = layer_of(module_of(path))
    for module in imported_modules(path):
        layer = layer_of(module)
        assert LAYERS.index(layer) <= LAYERS.index(own), f"{path} imports {module}, from above it"


def test_no_file_imports_itself_by_way_of_others() -> None:
    graph = {name: imported_modules(path) - {name} for name, path in MODULES.items()}
    while leaves := [name for name, needed in graph.items() if not needed & graph.keys()]:
        for name in leaves:
            del graph[name]
    # What is left is a circle, or needs one.
    needed = set().union(*graph.values()) & graph.keys()
    assert not needed


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_serving_and_what_is_below_it_know_no_http(path: Path) -> None:
    if LAYERS.index(layer_of(module_of(path))) <= LAYERS.index("status"):
        imported = imports(path.read_text(encoding="utf-8"), package_of(path))
        for package in HTTP:
            assert not reaches(imported, package), f"{path} imports {package}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_tensorflow_is_for_sessions_and_for_reading(path: Path) -> None:
    name = module_of(path)
    allowed = any(name == part or name.startswith(f"{part}.") for part in TENSORFLOW)
    if not allowed:
        imported = imports(path.read_text(encoding="utf-8"), package_of(path))
        assert not reaches(imported, "tensorflow"), f"{path} imports tensorflow"


def test_the_application_starts_without_tensorflow() -> None:
    """It takes seconds to import, during which no request would get an answer."""
    code = (
        "import sys, app.factory, app.cli.main\n"
        "print([name for name in ('tensorflow', 'keras') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (run.stdout.strip(), run.stderr) == ("[]", "")


SMALL = ("server.supervisor", "server.hub_watchdog", "line_writer", "native_output")


@pytest.mark.parametrize("name", SMALL)
def test_the_supervisor_needs_nothing_but_python(name: str) -> None:
    """It takes 13 MB, and runs beside each server."""
    path = MODULES[f"app.{name}"]
    for module in imports(path.read_text(encoding="utf-8"), package_of(path)):
        own = module in ("app", "app.server") or any(
            module == f"app.{small}" or module.startswith(f"app.{small}.") for small in SMALL
        )
        assert own or module.partition(".")[0] in sys.stdlib_module_names, module


@pytest.mark.parametrize(
    ("source", "module"),
    [
        ("import flask", "flask"),
        ("import flask.views as v", "flask"),
        ("from flask import Flask", "flask"),
        ("def f():\n    from app import api", "app.api"),
        ("from app.api.http.errors import install", "app.api"),
        ("from .. import api", "app.api"),
        ("from ..api import errors", "app.api"),
        ("from . import limits", "app.serving.limits"),
    ],
)
def test_the_test_sees_an_import(source: str, module: str) -> None:
    assert reaches(imports(source, "app.serving"), module)


def test_the_test_sees_whole_names_only() -> None:
    assert not reaches(imports("import flasks, app.apian", "app.serving"), "flask")
    assert not reaches(imports("import flasks, app.apian", "app.serving"), "app.api")


KNOW_THE_REGISTRY = ("api.http.access", "api.telemetry.metrics", "api.telemetry.model_metrics")


@pytest.mark.parametrize(
    "path", [p for p in FILES if p.relative_to(ROOT).parts[1] in ("api", "web")], ids=module_of
)
def test_views_see_the_models_through_their_access(path: Path) -> None:
    """Or a request would get what its key is not for, and the metrics would not know of it."""
    knows = reaches(imports(path.read_text(), package_of(path)), "app.serving.registry.registry")
    # The metrics tell of every model.
    assert knows == (module_of(path) in KNOW_THE_REGISTRY)
