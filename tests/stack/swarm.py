"""Three Docker engines in containers, as the servers of a swarm, with deploy/swarm on them."""

from __future__ import annotations

import json
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.stack.certificates import AUTHORITY, AUTHORITY_PEM
from tests.stack.compose import eventually, run, trusting

NETWORK, SUBNET, GATEWAY = "keraport-nodes", "172.16.241.0/24", "172.16.241.1"
# The first one is the manager.
ADDRESSES = ("172.16.241.11", "172.16.241.12", "172.16.241.13")
STACK = "keraport"
# An engine in a container must write to its cgroups. Of version 2, only groups without processes
# can have limits for others below them.
ENGINE = r"""
FROM python:3.13-slim
RUN apt-get update -q \
    && apt-get install -yq --no-install-recommends docker.io docker-cli iptables
RUN printf '%s\n' \
    'for d in /sys/fs/cgroup /sys/fs/cgroup/*/; do mount -o remount,rw,bind "$d"; done' \
    'cd /sys/fs/cgroup' \
    'if [ -e cgroup.controllers ]; then' \
    '  mkdir -p engine && echo $$ >engine/cgroup.procs' \
    '  sed "s/ / +/g; s/^/+/" cgroup.controllers >cgroup.subtree_control' \
    'fi' \
    'exec dockerd' >/usr/local/bin/engine
VOLUME /var/lib/docker
CMD ["sh", "/usr/local/bin/engine"]
"""
# As `--privileged`, on machines too that lack a capability themselves.
PRIVILEGES = (
    *("--cap-add", "ALL", "--cap-drop", "SYS_RESOURCE", "--device-cgroup-rule", "a *:* rwm"),
    *("--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined"),
    *("--security-opt", "systempaths=unconfined"),
)
IMAGES = ("keraport-app", "keraport-nginx", "keraport-models-sync")
SETTINGS = {
    "KERAPORT_APP_MEMORY": "1g",
    "KERAPORT_MODELS": "/keraport/swarm-models",
    "KERAPORT_CERTS_DIR": "/keraport/swarm-certs",
    "KERAPORT_RATE_LIMIT": "100000",
    "KERAPORT_CONNECTION_LIMIT": "1000",
}


class Node:
    """A server: a container with an engine of its own. folder: what all of them have at
    `/keraport`."""

    def __init__(self, number: int, folder: Path) -> None:
        self.name = f"keraport-node-{number + 1}"
        self.address = ADDRESSES[number]
        run(
            *("docker", "run", "--detach", *PRIVILEGES, "--name", self.name),
            *("--hostname", self.name, "--network", NETWORK, "--ip", self.address),
            *("--volume", f"{folder}:/keraport:ro"),
            *("--volume", f"{folder}/swarm-models:/keraport/swarm-models", "keraport-engine"),
        )
        eventually(self._answers, 60)

    def _answers(self) -> bool:
        command = ["docker", "exec", self.name, "docker", "info"]
        return subprocess.run(command, capture_output=True).returncode == 0

    def docker(self, *arguments: str, **settings: str) -> str:
        """stdout of `docker …` on this server."""
        environ = [f"--env={name}={value}" for name, value in settings.items()]
        command = ("docker", "exec", *environ, self.name, "docker", *arguments)
        return run(*command, timeout=600)

    def load(self, archive: Path) -> None:
        """Take images of `docker save`."""
        with archive.open("rb") as images:
            command = ("docker", "exec", "--interactive", self.name, "docker", "load", "--quiet")
            run(*command, timeout=600, stdin=images)

    def build(self, tag: str, *lines: str) -> None:
        """Make an image of a few lines more than `keraport-app`."""
        text = "\n".join(("FROM keraport-app:latest", *lines))
        command = f"docker build --quiet --tag {tag} - <<'END'\n{text}\nEND\n"
        run("docker", "exec", self.name, "sh", "-c", command)

    def kill(self) -> None:
        """As if its power failed."""
        run("docker", "kill", self.name)


class Swarm:
    """The stack on three servers. models: the folder of models that they share. A `Target` of the
    load."""

    https_port = 443

    def __init__(self, nodes: list[Node], models: Path) -> None:
        self.nodes = nodes
        self.models = models
        self.manager = nodes[0]
        self.hosts = [node.address for node in nodes]

    def trust(self) -> ssl.SSLContext:
        return trusting(AUTHORITY_PEM)

    def deploy(self, *more: str, **settings: str) -> None:
        """Deploy the stack. more: files beside its own."""
        folder = "/keraport/deploy/swarm"
        files = [f"--compose-file={folder}/{name}" for name in ("stack.yml", *more)]
        command = ("stack", "deploy", "--resolve-image", "never", *files, STACK)
        self.manager.docker(*command, **SETTINGS, **settings)

    def fetch_models(self, **settings: str) -> str:
        """Start models-sync, and return the name of its service."""
        self.deploy("models-sync.yml", KERAPORT_SYNC_EVERY_S="1", **settings)
        self.await_tasks(1, "models-sync")
        return f"{STACK}_models-sync"

    def tasks(self, service: str, state: str = "Running") -> list[str]:
        """The nodes of the tasks that are to run and are in this state; a task runs once it is
        healthy."""
        filters = ("--filter", "desired-state=running", "--format", "{{.Node}} {{.CurrentState}}")
        lines = self.manager.docker("service", "ps", f"{STACK}_{service}", *filters).splitlines()
        return [line.split()[0] for line in lines if line.split()[1:2] == [state]]

    def await_tasks(self, count: int, service: str = "app", seconds: float = 240) -> None:
        """Wait until so many are healthy, and no others are to be."""

        def there() -> bool:
            listed = self.manager.docker(
                *("service", "ps", f"{STACK}_{service}", "--quiet"),
                *("--filter", "desired-state=running"),
            ).split()
            return len(self.tasks(service)) == len(listed) == count

        eventually(there, seconds)

    def replicas_asked(self) -> set[str]:
        """The addresses that nginx has sent requests to within the last five seconds."""
        lines = self.manager.docker("service", "logs", "--raw", "--since", "5s", f"{STACK}_nginx")
        found = [json.loads(line) for line in lines.splitlines() if line.startswith('{"time"')]
        return {line["upstream"].split(", ")[-1] for line in found if line["upstream"]}

    def update_state(self) -> str:
        """How the last update of the applications ended, or how far it is."""
        form = "{{.UpdateStatus.State}}"
        return self.manager.docker("service", "inspect", "--format", form, f"{STACK}_app").strip()


@contextmanager
def swarm_of_three(folder: Path) -> Iterator[Swarm]:
    """Three servers with the images of a copy of the repository, and the stack on them."""
    shutil.copytree(folder / "models" / "mpg", folder / "swarm-models" / "mpg")
    for image, context, file in zip(
        IMAGES,
        (folder, folder / "nginx", folder),
        ("Dockerfile", "nginx/Dockerfile", "deploy/sync/Dockerfile"),
        strict=True,
    ):
        build = ("docker", "build", "--quiet", "--tag", image)
        run(*build, "--file", folder / file, context, timeout=900)
    engine = ("docker", "build", "--quiet", "--tag", "keraport-engine", "-")
    run(*engine, input=ENGINE, timeout=600)
    run("docker", "network", "create", "--subnet", SUBNET, NETWORK)
    nodes: list[Node] = []
    try:
        archive = folder / "images.tar"
        run("docker", "save", "--output", archive, *IMAGES, timeout=600)
        certificate = AUTHORITY.issue_cert(*ADDRESSES)
        certs = folder / "swarm-certs"
        certs.mkdir()
        certificate.private_key_pem.write_to_path(certs / "privkey.pem")
        chain = b"".join(pem.bytes() for pem in certificate.cert_chain_pems)
        (certs / "fullchain.pem").write_bytes(chain)
        for number in range(len(ADDRESSES)):
            nodes.append(Node(number, folder))
            nodes[-1].load(archive)
        archive.unlink()
        swarm = Swarm(nodes, folder / "swarm-models")
        swarm.manager.docker("swarm", "init", "--advertise-addr", ADDRESSES[0])
        token = swarm.manager.docker("swarm", "join-token", "--quiet", "worker").strip()
        for node in nodes[1:]:
            node.docker("swarm", "join", "--token", token, f"{ADDRESSES[0]}:2377")
        swarm.deploy()
        swarm.await_tasks(3, "nginx")
        swarm.await_tasks(2)
        yield swarm
    finally:
        for node in nodes:
            run("docker", "rm", "--force", "--volumes", node.name)
        run("docker", "network", "rm", NETWORK)
        run("docker", "image", "rm", "keraport-engine", *IMAGES)
