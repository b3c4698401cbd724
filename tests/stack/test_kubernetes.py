"""The pod of deploy/kubernetes, as a container: its user, mounts, limits, probes and end."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from app.settings import Settings
from tests.stack.compose import Stack, eventually, run
from tests.support import CAR, ROOT

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="there is no kubectl here")
UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30}


class Pod:
    """A container of the Deployment of `base`. volumes: the folders of its claims, by name."""

    def __init__(self, image: str, volumes: dict[str, Path]) -> None:
        rendered = run("kubectl", "kustomize", ROOT / "deploy" / "kubernetes" / "base")
        resources = list(yaml.safe_load_all(rendered))
        (deployment,) = (r for r in resources if r["kind"] == "Deployment")
        (settings,) = (r for r in resources if r["kind"] == "ConfigMap")
        self.spec: dict[str, Any] = deployment["spec"]["template"]["spec"]
        (self.container,) = self.spec["containers"]
        # Names that the DNS of a cluster has.
        environ = settings["data"] | {"KERAPORT_REPLICA": "pod", "KERAPORT_PEERS": ""}
        command = [
            *("docker", "run", "--detach", "--no-healthcheck", *self._context(), *self._limits()),
            *(f"--env={name}={value}" for name, value in environ.items()),
            *(argument for m in self.container["volumeMounts"] for argument in self._mount(m)),
        ]
        command += [f"--volume={volumes[v]}:{path}:{mode}" for v, path, mode in self._claims()]
        self.id = run(*command, image).strip()
        form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        self.url = f"http://{run('docker', 'inspect', '--format', form, self.id).strip()}:5000"

    def _context(self) -> list[str]:
        """The flags of Docker that do what the security contexts say."""
        context = self.spec["securityContext"] | self.container["securityContext"]
        assert context["readOnlyRootFilesystem"] is True
        assert context["allowPrivilegeEscalation"] is False
        dropped = [f"--cap-drop={name}" for name in context["capabilities"]["drop"]]
        user = f"--user={context['runAsUser']}:{context['runAsGroup']}"
        return ["--read-only", "--security-opt=no-new-privileges:true", user, *dropped]

    def _limits(self) -> list[str]:
        limits = self.container["resources"]["limits"]
        return [f"--cpus={limits['cpu']}", f"--memory={size(limits['memory'])}"]

    def _mount(self, mount: dict[str, Any]) -> list[str]:
        """A folder of its own; Kubernetes gives it to `fsGroup`."""
        (volume,) = (v for v in self.spec["volumes"] if v["name"] == mount["name"])
        if "emptyDir" not in volume:
            return []
        most = size(volume["emptyDir"]["sizeLimit"])
        return [f"--tmpfs={mount['mountPath']}:size={most},mode=1777"]

    def _claims(self) -> Iterator[tuple[str, str, str]]:
        claims = {v["name"] for v in self.spec["volumes"] if "persistentVolumeClaim" in v}
        for mount in self.container["volumeMounts"]:
            if mount["name"] in claims:
                yield mount["name"], mount["mountPath"], "ro" if mount.get("readOnly") else "rw"

    def probe(self, name: str) -> bool:
        """Ask once, as the kubelet does."""
        probe = self.container[name]
        try:
            path = probe["httpGet"]["path"]
            answer = httpx.get(self.url + path, timeout=probe.get("timeoutSeconds", 1))
        except httpx.HTTPError:
            return False
        return 200 <= answer.status_code < 400

    def end(self) -> float:
        """preStop, SIGTERM, and SIGKILL after the grace period. Returns how long it took."""
        began = time.monotonic()
        pause = self.container["lifecycle"]["preStop"]["sleep"]["seconds"]
        time.sleep(pause)
        self.told_at = time.monotonic()
        left = self.spec["terminationGracePeriodSeconds"] - pause
        run("docker", "stop", "--time", str(left), self.id, timeout=left + 30)
        return time.monotonic() - began


def size(text: str) -> int:
    """Bytes of an amount such as 512Mi."""
    found = re.fullmatch(r"(\d+)([KMG]i)", text)
    assert found is not None
    return int(found[1]) * UNITS[found[2]]


@pytest.fixture
def pod(stack: Stack, tmp_path: Path) -> Iterator[Pod]:
    models, cache = tmp_path / "models", tmp_path / "cache"
    shutil.copytree(stack.folder / "models" / "mpg", models / "mpg")
    cache.mkdir()
    cache.chmod(0o777)
    tmp_path.chmod(0o755)
    pod = Pod(f"{stack.project}-app-1", {"models": models, "cache": cache})
    try:
        yield pod
    finally:
        done = subprocess.run(
            ["docker", "logs", "--tail=30", pod.id], capture_output=True, text=True
        )
        print(done.stderr)
        run("docker", "rm", "--force", "--volumes", pod.id)


def test_it_serves_hardened_and_drains_within_the_grace_period(pod: Pod) -> None:
    startup = pod.container["startupProbe"]
    eventually(lambda: pod.probe("startupProbe"), startup["periodSeconds"] * 60)
    eventually(lambda: pod.probe("readinessProbe"), 120)
    assert pod.probe("livenessProbe")
    answers: list[int] = []
    broken: list[float] = []
    ended = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=pod.url, timeout=30) as client:
            while not ended.is_set():
                try:
                    answers.append(client.post("/api/mpg", json=CAR).status_code)
                except httpx.TransportError:
                    broken.append(time.monotonic())
                    return

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    time.sleep(1)
    took = pod.end()
    ended.set()
    for thread in threads:
        thread.join()
    state = json.loads(run("docker", "inspect", "--format", "{{json .State}}", pod.id))
    assert state["ExitCode"] == 0, "it did not drain"
    assert not state["OOMKilled"]
    assert took < pod.spec["terminationGracePeriodSeconds"]
    assert len(answers) > 100
    # By then a Service has long forgotten it.
    assert min(broken) > pod.told_at + Settings().drain_delay_s
    assert set(answers) <= {200, 503}
    assert answers.count(503) <= len(threads)
