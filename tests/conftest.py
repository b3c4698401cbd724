"""Models and servers that several tests share."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

from tests.browser.chromium import no_chromium
from tests.keys import Keyed, Keys
from tests.monitoring.promtool import no_promtool
from tests.saved_once import saved_once
from tests.stack.compose import no_engine
from tests.support import ENVIRON, ROOT, ServerProcess, serving

if TYPE_CHECKING:
    from xdist.remote import Producer
    from xdist.scheduler import Scheduling

    from tests.command_line import CommandLine

# Machines that run tests are busy: how long an example takes says nothing. `make check` tries few;
# CI tries the same ones each time, so that what it says of a change is not chance.
hypothesis.settings.register_profile("tests", hypothesis.settings(deadline=None))
hypothesis.settings.register_profile("quick", hypothesis.settings(deadline=None, max_examples=20))
hypothesis.settings.register_profile(
    "repeatable", hypothesis.settings(deadline=None, max_examples=50, derandomize=True)
)
hypothesis.settings.load_profile("tests")
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
os.environ["KERAS_BACKEND"] = "tensorflow"
# Settings of the person who runs the tests are none of the tests' business.
for name in [name for name in os.environ if name.startswith("KERAPORT_")]:
    del os.environ[name]
# What one test has saved or converted, the others need not; nothing of it is left.
for name in ("TESTS_CACHE_DIR", "TESTS_SAVED_DIR"):
    if name not in os.environ:
        os.environ[name] = tempfile.mkdtemp(prefix="keraport-tests-")
        atexit.register(shutil.rmtree, os.environ[name], ignore_errors=True)
os.environ["KERAPORT_CACHE_DIR"] = os.environ["TESTS_CACHE_DIR"]
ENVIRON.update(os.environ)


# What this machine lacks for some of the tests: those folders and files are left out, and why is
# said in one line each.
NO_CURL = "" if shutil.which("curl") else "the documentation's commands need curl"
LACKING = {
    Path(__file__).parent / path: reason
    for reason, paths in (
        (no_engine(), ["stack"]),
        (no_chromium(), ["browser", "stack/test_browser.py"]),
        (no_promtool(), ["monitoring"]),
        (NO_CURL, ["docs/test_commands.py", "stack/test_docs.py"]),
    )
    if reason
    for path in paths
}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling | None:
    """Tests that share a server run in one worker."""
    if config.getoption("dist") != "loadfile":
        return None
    from tests.scheduling import ServerScheduling

    scheduling: Scheduling = ServerScheduling(config, log)
    return scheduling


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    lacks = any(path in LACKING for path in (collection_path, *collection_path.parents))
    return True if lacks else None


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    asked = [Path(argument.partition("::")[0]).absolute() for argument in config.args]
    ignored = [Path(path).absolute() for path in config.getoption("ignore") or []]
    told: set[Path | str] = set(ignored)
    for path, reason in LACKING.items():
        wanted = any(a in (path, *path.parents) or path in a.parents for a in asked)
        if wanted and told.isdisjoint((path, *path.parents, reason)):
            told.add(reason)
            where = path.relative_to(Path(__file__).parent)
            terminalreporter.line(f"SKIPPED tests/{where}: {reason}", yellow=True)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if LACKING and exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
        session.exitstatus = pytest.ExitCode.OK


@pytest.fixture(scope="session")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server over the models that the repository ships."""
    with serving(ROOT / "models", tmp_path_factory.mktemp("shipped"), grpc_port=0) as server:
        yield server


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server over tabular models that are awkward in many ways."""
    from tests.tables import save_tables

    folder = save_tables(tmp_path_factory.mktemp("tables"))
    with serving(folder, tmp_path_factory.mktemp("tables-uploads")) as server:
        yield server


@pytest.fixture(scope="session")
def slow_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the model `slow`: as many rounds of matrix products as its input says, and a
    small queue. The answer is the number of rounds."""
    from tests.models import save_slow_model

    folder = tmp_path_factory.mktemp("slow-models")
    save_slow_model(folder / "slow")
    return folder


@pytest.fixture(scope="session")
def v1(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server over models for TensorFlow Serving's REST API."""
    from tests.v1 import LIMIT_MB, save_v1_models

    folder = tmp_path_factory.mktemp("v1")
    save_v1_models(folder / "models")
    with serving(folder / "models", folder, max_body_mb=LIMIT_MB, grpc_port=0) as server:
        yield server


@pytest.fixture(scope="session")
def v2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server over models for the Open Inference Protocol."""
    from tests.v2 import save_v2_models

    folder = tmp_path_factory.mktemp("v2")
    save_v2_models(folder / "models")
    with serving(folder / "models", folder, grpc_port=0) as server:
        yield server


@pytest.fixture(scope="session")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    """A server with API keys over a table, a picture and a text model. It believes a proxy on this
    machine."""
    from tests.models import save_picture_model, save_text_model

    folder = tmp_path_factory.mktemp("keyed")
    models = folder / "models"
    models.mkdir()
    (models / "mpg").symlink_to(ROOT / "models" / "mpg")
    save_text_model(models / "writer")
    (models / "shades").mkdir()
    save_picture_model(models / "shades" / "model.keras", rescales=True)
    (models / "shades" / "model.yaml").write_text("task: image-classification\nlabels: [a, b, c]\n")
    keys = Keys(folder / "keys.yaml")
    settings = {"api_keys_file": keys.file, "forwarded_allow_ips": "127.0.0.1", "grpc_port": 0}
    with serving(models, folder, **settings) as server, closing(Keyed(server, keys)) as keyed:
        yield keyed


@pytest.fixture(scope="session")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with low limits, over a model of each kind; pages of two other origins may ask."""
    from tests.limited import ALLOWED, save_limited_models

    folder = tmp_path_factory.mktemp("limited")
    save_limited_models(folder / "models")
    with serving(
        folder / "models",
        folder,
        max_rows=3,
        max_json_depth=4,
        max_streams=2,
        cors_origins=",".join(ALLOWED),
    ) as server:
        yield server


@pytest.fixture(scope="session")
def command_line() -> CommandLine:
    """Runs commands in this process."""
    from tests.command_line import CommandLine  # which imports TensorFlow

    return CommandLine()


@pytest.fixture(scope="session")
def fuzzed_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The models that `make fuzz` serves."""
    from tests.conversions import converted
    from tests.fuzz.folder import fill

    folder = tmp_path_factory.mktemp("fuzzed") / "models"
    saved_once(fill)(folder)
    converted(folder)
    return folder
