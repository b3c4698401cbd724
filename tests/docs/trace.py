"""Prints, as JSON, the files of app/ that run for a row, a picture, a text and a model file.

A program of its own (`python -m tests.docs.trace`): the modules of `app` are compiled with a call
at the head of each function, which sees every thread, every greenlet and the child that reads
models.
"""

from __future__ import annotations

import ast
import builtins
import json
import os
import shutil
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

ROOT = Path(__file__).resolve().parent.parent.parent
# The file that the server and its child note the files in, in the order in which they are met.
NOTES = "KERAPORT_TEST_TRACE"

_seen: set[str] = set()


def _entered(path: str) -> None:
    if path not in _seen and NOTES in os.environ:
        _seen.add(path)
        with open(os.environ[NOTES], "a", encoding="utf-8") as notes:  # noqa: PTH123 - no app code
            notes.write(path + "\n")


class _Loader(SourceFileLoader):
    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        tree = ast.parse(self.get_data(path))
        name = str(Path(path).relative_to(ROOT))
        call = ast.parse(f"__entered__({name!r})").body[0]
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                described = ast.get_docstring(node, clean=False) is not None
                node.body.insert(int(described), call)
        code: CodeType = compile(ast.fix_missing_locations(tree), path, "exec")
        return code


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] != "app":
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.origin is not None:
            spec.loader = _Loader(fullname, spec.origin)
        return spec


# In the child as well, which imports this module as `__mp_main__`.
if __name__ in ("__main__", "__mp_main__"):
    vars(builtins)["__entered__"] = _entered
    sys.meta_path.insert(0, _Finder())


def _during(action: Callable[[], object]) -> list[str]:
    """The files that run meanwhile, in the order in which they are met."""
    notes = Path(os.environ[NOTES])
    notes.write_text("")
    _seen.clear()
    action()
    return notes.read_text().split()


def main() -> None:
    """Trace a load and three requests."""
    import gevent
    from gevent import socket

    from app.api.bodies.body_room import BodyRoom
    from app.api.telemetry.access_log import AccessLog
    from app.api.telemetry.metrics import Metrics
    from app.factory import create_app
    from app.lifecycle import Lifecycle
    from app.logs import access_logger
    from app.server.handler import HttpServer
    from app.serving.reading.cache import Cache
    from app.settings import Settings
    from tests.browser.screenshots import cat
    from tests.registries import syncing
    from tests.support import CAR

    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        os.environ[NOTES] = str(folder / "notes")
        shutil.copytree(ROOT / "models" / "mpg", folder / "models" / "mpg")
        none = Cache(folder / "cache", 1_000_000_000)

        def load() -> None:
            registry, _ = stack.enter_context(syncing(folder / "models", kept=none))
            registry.all_tried.wait()

        found = {"model": _during(load)}
        # Only the walks of requests are left, to models that may have been converted before.
        kept = Cache.of(Settings())
        registry, _ = stack.enter_context(syncing(ROOT / "models", kept=kept))
        registry.all_tried.wait()
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        metrics, lifecycle = Metrics(registry), Lifecycle()
        server = HttpServer(
            listener,
            create_app(Settings(), registry, lifecycle, measured=metrics),
            lifecycle,
            AccessLog(access_logger(), 1),
            metrics,
            BodyRoom(100_000_000),
        )
        server.start()
        url = f"http://127.0.0.1:{server.server_port}/api"
        bodies = {
            "row": ("mpg", json.dumps(CAR).encode()),
            "picture": ("cats-dogs", cat()),
            "text": ("patents", b'{"seed": "a neural network for", "words": 50}'),
        }

        def post(model: str, body: bytes) -> None:
            asked = urllib.request.Request(f"{url}/{model}", body)
            with urllib.request.urlopen(asked) as response:
                response.read()

        for walk, (model, body) in bodies.items():
            work = partial(gevent.get_hub().threadpool.apply, post, (model, body))
            work()  # what happens once only
            found[walk] = _during(work)
        server.stop()
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
