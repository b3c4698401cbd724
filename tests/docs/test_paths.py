"""Documents, comments and docstrings name files and modules that exist."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.support import ROOT
from tests.unit.test_layers import MODULES

KINDS = (".py", ".md", ".yml", ".conf", ".sh", ".js", ".html", ".css", ".toml")
NAMES = ("Dockerfile", "Makefile", ".env.example", ".ci/run")
# A history says what files were called when it was written.
HISTORY = "CHANGELOG.md"
PATH = re.compile(
    r"(?<![\w/.$-])(?:(?:app|tests|nginx|frontend|deploy|training|benchmarks)/[\w./-]+"
    r"\.(?:py|conf|sh|js|html|css|md)|docs/(?!protocol/)[\w./-]+\.md)(?![\w/])"
)
# What looks like a module and is none: the name of a logger.
LOGGERS = {"app.access"}
MODULE = re.compile(r"`(app(?:\.\w+)+)`")


def text_files() -> list[str]:
    """The files of the repository that people read, but for the models of the tests."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    assert listed.returncode == 0, listed.stderr
    return [
        name
        for name in listed.stdout.splitlines()
        if name.endswith((*KINDS, *NAMES)) and not name.startswith("tests/data/")
        if name not in (HISTORY, "tests/docs/test_paths.py") and (ROOT / name).is_file()
    ]


FILES = text_files()


def exists(module: str) -> bool:
    """Whether that is a module of `app`, or the name of something that one has."""
    if module in MODULES or (ROOT / module.replace(".", "/")).is_dir():
        return True
    home, _, name = module.rpartition(".")
    if home in MODULES:
        source = MODULES[home].read_text(encoding="utf-8")
        return re.search(rf"(?m)^(\s*(class|def) )?{name}\b", source) is not None
    return bool(home) and exists(home)


@pytest.mark.parametrize("name", FILES)
def test_what_a_file_names_is_there(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert [path for path in PATH.findall(text) if not (ROOT / path).exists()] == []
    modules = set(MODULE.findall(text)) - LOGGERS
    assert [module for module in modules if not exists(module)] == []


def test_the_test_sees_paths_and_modules() -> None:
    texts = [(ROOT / name).read_text(encoding="utf-8") for name in FILES]
    assert sum(len(PATH.findall(text)) for text in texts) > 100
    assert sum(len(MODULE.findall(text)) for text in texts) > 30
    assert PATH.findall("(app/cores.py) and nginx/conf.d/tls.conf") == [
        "app/cores.py",
        "nginx/conf.d/tls.conf",
    ]
    assert exists("app.serving.engine.batcher")
    assert exists("app.serving.engine.batcher.Route")
    assert not exists("app.serving.batching")
    assert not exists("app.serving.engine.batcher.Nothing")
