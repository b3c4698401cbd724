"""What pyproject.toml declares: the packages that app/ imports, and no second version."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from gevent import pywsgi

from app import __version__
from app.api.bodies.body import Body
from app.server import handler
from tests.support import ROOT

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
# Used without an import: the pages serve the files of Swagger UI.
NOT_IMPORTED = {"flask-swagger-ui"}
# Modules that only type checkers know.
ONLY_TYPES = {"_typeshed"}
# The private names of pywsgi that app/server/handler.py overrides or uses. A change in one of them
# is not announced: read gevent's changes before raising the bound in pyproject.toml.
PRIVATE = {"_log_error", "_orig_status", "_sendall", "_write", "_write_with_headers"}


def canonical(name: str) -> str:
    """The name of a distribution as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def declared() -> dict[str, str]:
    """Distributions to their bounds. `tensorflow` stands for either of its builds."""
    matches = [re.match(r"[\w.-]+", each) for each in PROJECT["project"]["dependencies"]]
    names = [match[0] for match in matches if match]
    bounds = zip(names, PROJECT["project"]["dependencies"], strict=True)
    return {"tensorflow": "", **{canonical(name): each[len(name) :] for name, each in bounds}}


def of_pull() -> set[str]:
    """What `python -m app pull` needs, and is not installed otherwise."""
    return {canonical(re.split("[<>=]", each)[0]) for each in PROJECT["dependency-groups"]["sync"]}


def imported() -> dict[str, Path]:
    """The top-level modules that app/ imports, each with a file that does."""
    found = {}
    for path in sorted((ROOT / "app").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found.update({alias.name.partition(".")[0]: path for alias in node.names})
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found[node.module.partition(".")[0]] = path
    return {
        name: path
        for name, path in found.items()
        if name not in sys.stdlib_module_names | ONLY_TYPES | {"app"}
    }


def distributions() -> dict[str, set[str]]:
    """Modules to the distributions that hold them."""
    names = {
        module: {canonical(each) for each in found}
        for module, found in packages_distributions().items()
    }
    return names | {"tensorflow": {"tensorflow"}}


def test_every_import_is_declared() -> None:
    known, holders = set(declared()) | set(of_pull()), distributions()
    undeclared = {
        name: str(path) for name, path in imported().items() if not holders.get(name, set()) & known
    }
    assert undeclared == {}


def test_everything_declared_is_imported() -> None:
    holders = distributions()
    used = set().union(*(holders.get(name, set()) for name in imported()))
    assert set(declared()) - used == NOT_IMPORTED


def test_nothing_is_installed_by_name() -> None:
    """A console script from a wheel would start a server without its pages."""
    assert "scripts" not in PROJECT["project"]
    assert "build-system" not in PROJECT


@pytest.mark.parametrize(
    "name", ["pyproject.toml", "Dockerfile", "nginx/Dockerfile", "docker-compose.yml"]
)
def test_the_version_stands_in_one_place(name: str) -> None:
    assert PROJECT["project"]["dynamic"] == ["version"]
    assert __version__ not in (ROOT / name).read_text(encoding="utf-8")
    assert not re.search(r"(?mi)^(ARG )?version\b", (ROOT / name).read_text(encoding="utf-8"))


def private_names(path: str, *kinds: type[ast.AST]) -> Iterator[str]:
    """Names with one underscore before them that a file uses (ast.Attribute) or defines."""
    for node in ast.walk(ast.parse(Path(path).read_text(encoding="utf-8"))):
        if isinstance(node, kinds):
            name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "name", "")
            if name.startswith("_") and not name.startswith("__"):
                yield name


def test_the_private_names_of_gevent_are_those_of_pywsgi() -> None:
    ours = set(private_names(handler.__file__, ast.Attribute, ast.FunctionDef))
    assert {name for name in ours if hasattr(pywsgi.WSGIHandler, name)} == PRIVATE
    # An override that pywsgi does not call is dead code, and its rule is not enforced.
    assert set(private_names(pywsgi.__file__, ast.Attribute)) >= PRIVATE | {"_discard"}
    # app/api/bodies/body.py stands in for pywsgi's own body, of which pywsgi calls this.
    assert hasattr(pywsgi.Input, "_discard")
    assert hasattr(Body, "_discard")


def test_gevent_has_an_upper_bound() -> None:
    assert "<" in declared()["gevent"]


def test_the_newest_release_of_the_changelog_is_this_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    releases = re.findall(r"(?m)^## \[?(\d+\.\d+\.\d+)", text)
    assert releases[:1] in ([], [__version__])  # none before the first
