"""Where each command of the documentation is run."""

from __future__ import annotations

import re
from typing import Literal

Place = Literal["nowhere", "instead", "stack", "server"]

# What cannot be run by a test, and why. Nothing else may be left out.
NOWHERE = {
    "git clone https://…/keraport && cd keraport": "the address is the reader's own",
    "git pull": "there is nothing to pull from",
    "sudo chown 10001 api-keys.yaml && sudo chmod 400 api-keys.yaml": "tests do not use sudo; "
    "tests/stack/test_keys.py gives the file away and has the stack read it",
    "openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=localhost -addext "
    "subjectAltName=DNS:localhost -keyout nginx/certs/privkey.pem -out nginx/certs/fullchain.pem": (
        "the certificate would be that of the stack that other tests ask"
    ),
    **dict.fromkeys(
        (
            "docker build --tag registry.example.org/keraport-models-sync:1 --file "
            "deploy/sync/Dockerfile .",
            "docker push registry.example.org/keraport-models-sync:1",
            "docker stack deploy --with-registry-auth -c deploy/swarm/stack.yml -c "
            "deploy/swarm/models-sync.yml keraport",
            "docker build --tag registry.example.org/keraport-app:1 .",
            "docker build --tag registry.example.org/keraport-nginx:1 nginx",
            "docker push registry.example.org/keraport-app:1",
            "docker push registry.example.org/keraport-nginx:1",
            "docker stack deploy --with-registry-auth -c deploy/swarm/stack.yml keraport",
            "docker stack services keraport",
        ),
        "it takes a registry and several servers: tests/stack/test_swarm.py has three",
    ),
}

# What is run in the place of a command, and why.
INSTEAD = {
    "make check": ("make -n check", "it takes minutes, and is part of what runs this test"),
    "make test": ("make -n test", "it would run this test again"),
    "make fuzz": ("make -n fuzz", "it takes minutes; tests/http/test_fuzz.py does it for seconds"),
    "kubectl apply -k deploy/kubernetes/cloud": (
        "kubectl kustomize deploy/kubernetes/cloud",
        "there is no cluster",
    ),
    "kubectl apply -k deploy/kubernetes/kserve": (
        "kubectl kustomize deploy/kubernetes/kserve",
        "there is no cluster",
    ),
    "docker compose --profile monitoring up -d": (
        "docker compose --profile monitoring config --quiet",
        "its images come from elsewhere; tests/stack/test_monitoring.py runs it with others",
    ),
    "docker compose --profile models-sync up -d": (
        "docker compose --profile models-sync config --quiet",
        "it needs a store; tests/stack/test_models_sync.py gives it one",
    ),
    "docker compose --profile acme up -d": (
        "docker compose --profile acme config --quiet",
        "it asks Let's Encrypt for a real name; tests/stack/test_acme.py asks a server of its own",
    ),
}

_LOGS = "docker compose logs --no-log-prefix"
_FOUND_OR_NOT = "grep ends with 1 where there is nothing to find"
for _command in (
    f"""{_LOGS} app-1 app-2 | grep '"status":5'""",
    f"{_LOGS} nginx app-1 app-2 | grep THE-ID",
):
    INSTEAD[_command] = (f"{_command} || test $? -eq 1", _FOUND_OR_NOT)

# These run until they are stopped: a test can only see that they begin.
ENDLESS = {"make run", "make logs"}

# What speaks to the stack rather than to one server.
_STACK = re.compile(
    r"(docker|docker-compose|make (up|down|restart|logs|ps)|install -o 101)\b|.*https://localhost"
)


def place_of(command: str) -> Place:
    """Where this command is tried."""
    if command in NOWHERE:
        return "nowhere"
    if command in INSTEAD:
        return "instead"
    return "stack" if _STACK.match(command) else "server"
