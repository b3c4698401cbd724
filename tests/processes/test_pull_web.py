"""Models from a server of HTTPS, and from one that speaks the protocol of the Hugging Face Hub."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from app.errors import PullError
from app.sources.record import PULLS, read_records
from tests.elsewhere import FileServer, Hub, answering, certificate, pulled, tree
from tests.support import ROOT
from tests.unit.test_archives import zip_of

PATH = "/models/flowers.keras"


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    tls, authority = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    monkeypatch.setenv("HOME", str(tmp_path))
    with answering(FileServer(tls)) as server:
        server.files[PATH] = b"weights"
        yield server


def test_a_file_is_sent_once(web: FileServer, models: Path) -> None:
    assert pulled(web.url + PATH, models).arrived == ["1"]
    again = pulled(web.url + PATH, models)
    assert (again.is_change, again.taken) == (False, 0)
    assert [status for _, status, _ in web.sent] == [200, 304]
    web.files[PATH] = b"better weights"
    assert pulled(web.url + PATH, models).arrived == ["2"]
    assert tree(models / "m") == {
        "1/flowers.keras": b"weights",
        "2/flowers.keras": b"better weights",
    }


def test_without_a_tag_only_the_content_tells_whether_it_is_new(
    web: FileServer, models: Path
) -> None:
    web.headers = {"ETag": ""}
    for _ in range(2):
        pulled(web.url + PATH, models)
    assert tree(models) == {"m/1/flowers.keras": b"weights"}
    assert [status for _, status, _ in web.sent] == [200, 200]


def test_an_archive_is_unpacked(web: FileServer, models: Path) -> None:
    web.files["/m.zip"] = zip_of(
        **{"1/model.keras": b"1", "2/model.keras": b"2", "labels.txt": b"a"}
    )
    assert pulled(f"{web.url}/m.zip?signature=x", models).arrived == ["1", "2"]
    assert set(tree(models / "m")) == {"1/model.keras", "2/model.keras", "labels.txt"}
    assert not pulled(f"{web.url}/m.zip?signature=y", models).is_change
    (record,) = read_records(models)
    assert record.source == f"{web.url}/m.zip"


def test_a_checksum_decides_what_is_taken(web: FileServer, models: Path) -> None:
    right = hashlib.sha256(b"weights").hexdigest()
    with pytest.raises(PullError, match=f"has the SHA-256 {right}"):
        pulled(f"{web.url}{PATH}#sha256={'0' * 64}", models)
    assert tree(models) == {}
    assert pulled(f"{web.url}{PATH}#sha256={right}", models).arrived == ["1"]
    asked = len(web.asked)
    # What it names is there: no one is asked.
    assert not pulled(f"{web.url}{PATH}#sha256={right}", models).is_change
    assert len(web.asked) == asked
    web.files[PATH] = b"other"
    with pytest.raises(PullError, match="not that of the address"):
        pulled(f"{web.url}{PATH}#sha256={'0' * 64}", models)
    assert tree(models) == {"m/1/flowers.keras": b"weights"}


@pytest.mark.parametrize(
    ("status", "said"), [(403, "status 403"), (500, "status 500"), (404, "nothing at")]
)
def test_an_answer_without_the_file_removes_nothing(
    web: FileServer, models: Path, status: int, said: str
) -> None:
    pulled(web.url + PATH, models)
    web.status = status
    with pytest.raises(PullError, match=said):
        pulled(web.url + PATH, models)
    if status != 404:
        with pytest.raises(PullError, match=said):
            pulled(web.url + PATH, models, delete=True)
    assert tree(models) == {"m/1/flowers.keras": b"weights"}


def test_a_file_that_ends_early_is_not_taken(web: FileServer, models: Path) -> None:
    web.headers = {"Content-Length": "100", "Connection": "close"}
    with pytest.raises(PullError, match="cannot be read"):
        pulled(web.url + PATH, models)
    assert tree(models) == {}


def test_redirects_are_followed_but_not_to_what_anyone_can_change(
    web: FileServer, models: Path
) -> None:
    web.redirects["/latest.keras"] = web.url + PATH
    assert pulled(f"{web.url}/latest.keras", models).arrived == ["1"]
    with answering(FileServer()) as plain:
        plain.files[PATH] = b"other"
        web.redirects["/plain.keras"] = plain.url + PATH
        with pytest.raises(PullError, match="redirects to http"):
            pulled(f"{web.url}/plain.keras", models)
        digest = hashlib.sha256(b"other").hexdigest()
        assert pulled(f"{plain.url}{PATH}#sha256={digest}", models, "n").arrived == ["1"]


def test_a_password_comes_from_netrc(
    web: FileServer, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine localhost login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    pulled(web.url + PATH, models)
    assert web.asked[0]["Authorization"].startswith("Basic ")


def test_a_certificate_that_no_one_vouches_for_is_refused(
    web: FileServer, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(PullError, match=r"cannot be read: .*CERTIFICATE_VERIFY_FAILED"):
        pulled(web.url + PATH, models)


# --- the Hub --------------------------------------------------------------------------------------

REPOSITORY = {
    "README.md": b"---\nlicense: apache-2.0\n---\n",
    "model.keras": b"weights" * 1000,
    "assets/vocabulary.txt": b"a\nb\n",
}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    server = Hub()
    server.files = {**REPOSITORY, ".gitattributes": b"x", "pytorch_model.bin": b"torch"}
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    with answering(server):
        yield server


def test_a_repository_arrives_at_a_commit(hub: Hub, models: Path) -> None:
    assert pulled("hf://someone/flowers", models).arrived == ["1"]
    assert tree(models / "m/1") == REPOSITORY
    again = pulled("hf://someone/flowers", models)
    assert (again.is_change, again.taken) == (False, 0)
    # A commit that changes what is not taken makes no version.
    hub.revisions["main"] = "1" * 40
    hub.files["pytorch_model.bin"] = b"other"
    assert not pulled("hf://someone/flowers", models).is_change
    hub.revisions["v2"] = "2" * 40
    hub.files["model.keras"] = b"better" * 1000
    assert pulled("hf://someone/flowers@v2", models).arrived == ["2"]
    assert tree(models / "m/2")["model.keras"] == b"better" * 1000


@pytest.mark.parametrize("path", ["model.yaml", "1/model.yaml"])
def test_a_card_from_a_source_runs_no_code(web: FileServer, models: Path, path: str) -> None:
    model = path.replace("model.yaml", "model.keras") if "/" in path else "1/model.keras"
    for card in (b"task: tensor\ntrusted: true\n", b"{trusted: yes}"):
        web.files["/m.zip"] = zip_of(**{path: card, model: b"1", "1/custom.py": b"import os"})
        with pytest.raises(PullError, match="trusted: true"):
            pulled(f"{web.url}/m.zip", models)
        assert not [name for name in tree(models) if name.endswith("yaml")]
    web.files["/m.zip"] = zip_of(**{path: b"task: tensor\ntrusted: false\n", model: b"1"})
    assert pulled(f"{web.url}/m.zip", models).is_change


@pytest.mark.parametrize("name", ["model.keras", "README.md"])
def test_what_arrives_damaged_from_the_hub_is_not_taken(hub: Hub, models: Path, name: str) -> None:
    hub.damaged.add(name)
    with pytest.raises(PullError, match=f"{name} arrived damaged"):
        pulled("hf://someone/flowers", models)
    assert tree(models) == {}


def test_what_the_hub_does_not_give_is_reported(
    hub: Hub, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for url in ("hf://someone/flowers@v9", "hf://no-one/flowers"):
        with pytest.raises(PullError, match="cannot be read"):
            pulled(url, models, delete=True)
    hub.token = "hf_abcdefghijklmnop"
    with pytest.raises(PullError, match=r"cannot be read"):
        pulled("hf://someone/flowers", models)
    monkeypatch.setenv("HF_TOKEN", hub.token)
    assert pulled("hf://someone/flowers", models).arrived == ["1"]


# --- the command ----------------------------------------------------------------------------------


def command(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "app", "pull", *arguments],
        cwd=ROOT,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_command_fetches_all_sources_and_says_what_failed(
    web: FileServer, models: Path
) -> None:
    sources = f"a={web.url}{PATH} b={web.url}/missing.keras c={web.url}{PATH}"
    done = command(KERAPORT_MODELS_DIR=str(models), KERAPORT_SOURCES=sources)
    assert done.returncode == 1
    assert [line.partition(" (")[0] for line in done.stdout.splitlines()] == [
        "a: version 1 arrived",
        "c: version 1 arrived",
    ]
    assert done.stderr == f"b: there is nothing at {web.url}/missing.keras\n"
    assert set(tree(models)) == {"a/1/flowers.keras", "c/1/flowers.keras"}


def test_credentials_come_from_a_file(hub: Hub, models: Path, tmp_path: Path) -> None:
    """As secrets of containers are files."""
    hub.token = "hf_a=b&c=$d"
    secret = tmp_path / "secret"
    about = {"KERAPORT_MODELS_DIR": str(models), "KERAPORT_SOURCES": "m=hf://someone/flowers"}
    for line, status in ((f"HF_TOKEN={hub.token}", 0), ("HF_TOKEN=other", 1), (hub.token[:4], 1)):
        secret.write_text(f"# of the Hub\n\n{line}\n")
        done = command("--env-file", str(secret), **about)
        assert done.returncode == status, done.stderr
        assert line not in done.stderr
    assert done.stderr == f"Error: {secret}, line 3: expected NAME=VALUE\n"
    secret.unlink()
    assert "cannot be read" in command("--env-file", str(secret), **about).stderr
    assert tree(models / "m/1") == REPOSITORY


def test_a_folder_that_cannot_be_written_ends_the_command(models: Path) -> None:
    """No record could say so: only a container that does not run is seen."""
    (models / PULLS).write_text("in its place")
    said = {models: "cannot write into", models / "none": "there is no folder"}
    for folder, problem in said.items():
        done = command(
            "--every", "1", KERAPORT_MODELS_DIR=str(folder), KERAPORT_SOURCES="m=s3://b/m"
        )
        assert done.returncode == 1
        assert problem in done.stderr


@pytest.mark.parametrize(
    ("arguments", "sources", "said"),
    [
        ([], "", "expected URL and NAME, or KERAPORT_SOURCES"),
        (["s3://b/f"], "", "expected URL and NAME, or neither"),
        ([], "s3://b/f", "expected NAME=URL"),
        ([], "a=s3://b/f a=s3://b/g", "two sources for 'a'"),
        (["b/f", "a"], "", "is no address"),
        (["s3://b/f", "a", "--keep", "0"], "", "--keep"),
    ],
)
def test_what_is_not_understood_is_reported(arguments: list[str], sources: str, said: str) -> None:
    from click.testing import CliRunner

    from app.cli.main import main

    done = CliRunner().invoke(main, ["pull", *arguments], env={"KERAPORT_SOURCES": sources})
    assert done.exit_code != 0
    assert said in done.output


# Imports what the command does where nothing else is installed.
ONLY_ITS_OWN = """
import importlib.abc, sys

class Others(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in {others!r}:
            raise ModuleNotFoundError(f"no module {{name}}", name=name)

sys.meta_path.insert(0, Others())
import app.cli.main, app.sources.hub, app.sources.web, app.sources.object_store
"""


def test_the_command_needs_only_the_packages_of_its_lock() -> None:
    """Its image has no others."""
    lock = (ROOT / "requirements-sync.lock").read_text(encoding="utf-8")
    locked = {line.partition("==")[0] for line in lock.splitlines() if "==" in line}
    others = {
        module
        for module, holders in packages_distributions().items()
        if not {holder.lower().replace("_", "-") for holder in holders} & locked
    }
    assert {"numpy", "flask", "gevent"} <= others
    code = ONLY_ITS_OWN.format(others=others)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
