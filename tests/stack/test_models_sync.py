"""The profile `models-sync`: a container that fetches models into the folder of the others."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from tests.elsewhere import FileServer, answering, packed
from tests.stack.compose import Stack, eventually, replicas_with
from tests.support import CAR, ROOT

GATEWAY = "172.16.239.1"
pytestmark = pytest.mark.slow


def test_a_model_arrives_in_both_applications(stack: Stack, tmp_path: Path) -> None:
    with answering(FileServer(host="0.0.0.0")) as server:
        content = server.files["/cars.tar.gz"] = packed(ROOT / "models/mpg", tmp_path)
        digest = hashlib.sha256(content).hexdigest()
        url = f"http://{GATEWAY}:{server.server_port}/cars.tar.gz#sha256={digest}"
        (tmp_path / "sync.env").write_text("HF_TOKEN=hf_a-token-of-the-tests\n")
        owner = (stack.folder / "models").stat()
        settings = {
            "sources": f"cars={url}",
            "sync_every_s": 1,
            "sync_user": f"{owner.st_uid}:{owner.st_gid}",
            "sync_env_file": tmp_path / "sync.env",
        }
        try:
            stack.compose("--profile", "models-sync", "up", "-d", "models-sync", **settings)
            with stack.client() as client:
                eventually(lambda: replicas_with("cars", client) == 2)
                assert client.post("/api/cars", json=CAR).status_code == 200
            assert "cars: version 1 arrived" in stack.logs("models-sync")
            about = stack.inspect("models-sync")
            assert about["HostConfig"]["ReadonlyRootfs"]
            assert about["HostConfig"]["CapDrop"] == ["ALL"]
            assert "HF_TOKEN=hf_a-token-of-the-tests" in about["Config"]["Env"]
            found = stack.folder / "models/cars/1"
            assert found.stat().st_uid == owner.st_uid
            assert (found / "model.yaml").is_file()
            # It ends when it is told to, not when it is killed.
            stack.compose("--profile", "models-sync", "stop", "--timeout", "60", "models-sync")
            assert stack.inspect("models-sync")["State"]["ExitCode"] == 0
        finally:
            stack.compose("--profile", "models-sync", "rm", "--force", "--stop", "models-sync")
            shutil.rmtree(stack.folder / "models/cars", ignore_errors=True)
            shutil.rmtree(stack.folder / "models/.pulls", ignore_errors=True)
