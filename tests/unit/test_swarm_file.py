"""deploy/swarm has the settings of docker-compose.yml."""

from __future__ import annotations

import re
from typing import Any

import yaml

from app.settings import Settings
from tests.support import ROOT

FILES = sorted((ROOT / "deploy" / "swarm").glob("*.yml"))


def read(path: str) -> dict[str, Any]:
    services: dict[str, Any] = yaml.safe_load((ROOT / path).read_text())["services"]
    return services


COMPOSE, SWARM = read("docker-compose.yml"), read("deploy/swarm/stack.yml")
SYNC = read("deploy/swarm/models-sync.yml")["models-sync"]
# Of addresses, or of one server only.
COMPOSE_ONLY = {"KERAPORT_PEERS", "KERAPORT_API_KEYS_FILE"}
SWARM_ONLY = {
    "KERAPORT_HANDOVER_S",
    "KERAPORT_DRAIN_DELAY_S",
    "KERAPORT_PEERS",
    "KERAPORT_UPSTREAM",
}


def test_settings_are_passed_on_as_in_the_stack() -> None:
    for here, there in (("app", "app-1"), ("nginx", "nginx")):
        swarm, compose = SWARM[here]["environment"], COMPOSE[there]["environment"]
        assert swarm.keys() - SWARM_ONLY == compose.keys() - COMPOSE_ONLY
        own = {"KERAPORT_REPLICA", "KERAPORT_FORWARDED_ALLOW_IPS"}
        for name in swarm.keys() & compose.keys() - own - SWARM_ONLY:
            assert swarm[name] == compose[name]


def test_the_drain_fits_into_the_grace_period() -> None:
    for name in ("app", "nginx"):
        assert SWARM[name]["stop_grace_period"].endswith("s")
    drain = float(SWARM["app"]["environment"]["KERAPORT_DRAIN_DELAY_S"])
    drain += Settings().drain_timeout_s
    assert drain + 5 <= int(SWARM["app"]["stop_grace_period"][:-1])


def test_services_are_hardened_and_limited() -> None:
    for service in (*SWARM.values(), SYNC):
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["deploy"]["resources"]["limits"].keys() >= {"memory", "pids"}
        assert service["deploy"]["endpoint_mode"] == "dnsrr"
        assert service["deploy"]["update_config"]["failure_action"] == "rollback"


def test_every_variable_has_a_default_and_is_explained() -> None:
    text = "".join(path.read_text() for path in FILES)
    used = set(re.findall(r"\$\{(\w+):-", text))
    assert len(re.findall(r"\$\{\w+:-", text)) == text.count("${")
    told = (".env.example", "docs/scaling.md", "docs/elsewhere.md")
    documents = "".join((ROOT / name).read_text() for name in told)
    assert [name for name in sorted(used) if not re.search(rf"\b{name}\b", documents)] == []


def test_models_are_fetched_as_in_the_stack() -> None:
    compose = COMPOSE["models-sync"]
    assert SYNC["environment"] == compose["environment"]
    assert SYNC["user"] == compose["user"]
    options = [option.partition("=") for option in SYNC["command"]]
    said = [part for name, _, value in options if name != "--env-file" for part in (name, value)]
    assert said == compose["command"]
    # The only service that may write there.
    mounts = [volume for volume in SYNC["volumes"] if isinstance(volume, str)]
    assert mounts == ["models:/srv/keraport/models"]
    assert [v for v in SWARM["app"]["volumes"] if "models" in v] == [f"{mounts[0]}:ro"]


def test_a_secret_without_credentials_is_not_empty() -> None:
    """Swarm would refuse it."""
    assert (FILES[0].parent / "no-credentials.env").stat().st_size
