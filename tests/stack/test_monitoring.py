"""The profile `monitoring`: Prometheus runs beside the stack and finds the metrics."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.sources.record import PULLS, PullRecord, write_record
from tests.monitoring.promtool import alert_queries, alerts, panel_queries
from tests.stack.compose import Stack, eventually, free_ports, run
from tests.support import CAR, V1_CAR, V2_CAR, picture

STARTED = ("prometheus", "blackbox")
SERVICES = (*STARTED, "grafana")
# Two scrapes make a rate, and the first has to come.
PATIENCE_S = 240


@pytest.fixture(scope="module")
def settings() -> Iterator[dict[str, object]]:
    """Of docker compose: free ports, and images made of Debian's packages."""
    images = {name: f"keraport-test-{name}" for name in STARTED}
    file = Path(__file__).with_name("prometheus.Dockerfile")
    for name, image in images.items():
        build = ("docker", "build", "--target", name, "--tag", image, "--file", file)
        run(*build, file.parent, timeout=600)
    prometheus, grafana = free_ports(2)
    yield {
        "prometheus_port": prometheus,
        "grafana_port": grafana,
        **{f"{name}_image": image for name, image in images.items()},
    }
    run("docker", "image", "rm", *images.values())


@pytest.fixture(scope="module")
def config(stack: Stack, settings: dict[str, object]) -> dict[str, Any]:
    """What docker compose makes of the profile: it must be valid."""
    text = stack.compose("--profile", "monitoring", "config", "--format", "json", **settings)
    found: dict[str, Any] = json.loads(text)
    return found


@pytest.fixture(scope="module")
def prometheus(stack: Stack, settings: dict[str, object]) -> Iterator[httpx.Client]:
    profile = ("--profile", "monitoring")
    try:
        stack.compose(*profile, "up", "-d", "--wait", *STARTED, **settings)
        url = f"http://127.0.0.1:{settings['prometheus_port']}/api/v1"
        with httpx.Client(base_url=url, timeout=60) as client:
            yield client
    finally:
        for service in STARTED:
            print(stack.compose(*profile, "logs", "--no-color", service, **settings))
        stack.compose(*profile, "rm", "--stop", "--force", "--volumes", *STARTED, **settings)


def _ask(prometheus: httpx.Client, expr: str) -> list[Any]:
    """What the expression gives now."""
    answer = prometheus.post("/query", data={"query": expr}).json()
    assert answer["status"] == "success", f"{expr}: {answer}"
    found: list[Any] = answer["data"]["result"]
    return found


# A bit of everything that the dashboard shows.
TRAFFIC: tuple[tuple[str, dict[str, Any], int], ...] = (
    ("/api/mpg", {"json": CAR}, 200),
    ("/v1/models/mpg:predict", {"json": V1_CAR}, 200),
    ("/v2/models/mpg/infer", {"json": V2_CAR}, 200),
    ("/predict", {"content": picture()}, 200),
    ("/api/mpg", {"json": {"weight": "heavy"}}, 422),
    ("/api/writer", {"json": {"seed": "w1 w2", "words": 20}}, 200),
)


def test_the_services_are_as_closed_as_the_others(config: dict[str, Any]) -> None:
    for name in SERVICES:
        service = config["services"][name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["user"] not in ("", "0", "root")
        assert int(service["mem_limit"]) > 0
        assert service["pids_limit"] > 0
        assert set(service["logging"]["options"]) == {"max-size", "max-file"}
        assert service["networks"]["keraport"]["ipv4_address"].startswith("172.16.239.")
        for port in service.get("ports", []):
            assert port["host_ip"] == "127.0.0.1", name
    addresses = [
        network["ipv4_address"]
        for service in config["services"].values()
        for network in service["networks"].values()
        if network
    ]
    assert len(addresses) == len(set(addresses))


def test_no_one_has_a_password_in_grafana(config: dict[str, Any]) -> None:
    environment = config["services"]["grafana"]["environment"]
    assert not [name for name in environment if "PASSWORD" in name]
    assert environment["GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION"] == "true"
    assert environment["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"


@pytest.mark.slow
def test_all_targets_are_up(prometheus: httpx.Client) -> None:
    def health() -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for target in prometheus.get("/targets").json()["data"]["activeTargets"]:
            found.setdefault(target["labels"]["job"], []).append(target["health"])
        return found

    expected = {"keraport": ["up", "up"], "https": ["up"], "blackbox": ["up"], "prometheus": ["up"]}
    eventually(lambda: health() == expected, PATIENCE_S)
    eventually(lambda: len(_ask(prometheus, 'up{job="keraport"} == 1')) == 2, PATIENCE_S)
    assert {each["metric"]["replica"] for each in _ask(prometheus, 'up{job="keraport"}')} == {
        "app-1",
        "app-2",
    }


@pytest.mark.slow
def test_https_and_its_certificate_are_watched(prometheus: httpx.Client) -> None:
    eventually(lambda: _ask(prometheus, 'probe_success{job="https"} == 1'), PATIENCE_S)
    left = 'probe_ssl_earliest_cert_expiry{job="https"} - time() > 21 * 86400'
    assert _ask(prometheus, left)


@pytest.mark.slow
def test_every_query_of_the_dashboard_has_data(stack: Stack, prometheus: httpx.Client) -> None:
    def has_data(expr: str) -> bool:
        return any(series["value"][1] != "NaN" for series in _ask(prometheus, expr))

    missing = panel_queries()
    until = time.monotonic() + PATIENCE_S
    with stack.client() as client:
        while missing and time.monotonic() < until:
            for path, body, status in TRAFFIC:
                answer = client.post(path, **body)
                assert answer.status_code == status, f"{path}: {answer.text}"
            missing = [query for query in missing if not has_data(query.expr)]
            time.sleep(1)
    assert missing == []


@pytest.mark.slow
def test_what_was_sent_is_what_prometheus_knows(stack: Stack, prometheus: httpx.Client) -> None:
    """Over both replicas, whichever nginx chose."""
    counted = 'sum(keraport_requests_total{model="mpg",protocol="v1",code="200"})'

    def now() -> float:
        return float(_ask(prometheus, counted)[0]["value"][1])

    def known() -> float:
        """After the next scrape of both."""
        last = "min(timestamp(up{job='keraport'}))"
        began = _ask(prometheus, "time()")[1]
        eventually(lambda: float(_ask(prometheus, last)[0]["value"][1]) > float(began), PATIENCE_S)
        return now()

    before = known()
    with stack.client() as client:
        for _ in range(40):
            assert client.post("/v1/models/mpg:predict", json=V1_CAR).status_code == 200
    assert known() - before == 40


@pytest.fixture
def source(stack: Stack) -> Iterator[None]:
    """What `python -m app pull` leaves of a model: without one, there is no metric of sources."""
    folder = stack.folder / "models" / PULLS / "elsewhere"
    folder.mkdir(parents=True)
    write_record(folder, PullRecord(name="elsewhere"))
    yield
    shutil.rmtree(folder)


@pytest.mark.slow
@pytest.mark.usefixtures("source")
def test_every_rule_can_be_evaluated(prometheus: httpx.Client) -> None:
    def rules() -> list[dict[str, Any]]:
        groups = prometheus.get("/rules").json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    eventually(lambda: all(rule["health"] == "ok" for rule in rules()), PATIENCE_S)
    eventually(lambda: _ask(prometheus, "count(keraport_source_failed)"), PATIENCE_S)
    assert {rule["name"] for rule in rules()} == {rule["alert"] for rule in alerts()}
    for query in alert_queries():
        _ask(prometheus, query.expr)
        for name in query.metrics:
            assert _ask(prometheus, f"count({name})"), f"{query.where} asks for {name}"
    firing = _ask(prometheus, 'ALERTS{alertstate="firing",severity="critical"}')
    assert firing == []


@pytest.mark.slow
def test_the_whole_configuration_is_valid(stack: Stack, prometheus: httpx.Client) -> None:
    """With what it names in the container: rules and the key."""
    stack.exec("prometheus", "promtool", "check", "config", "/etc/prometheus/prometheus.yml")


@pytest.mark.slow
def test_they_write_nowhere_and_are_nobody(stack: Stack, prometheus: httpx.Client) -> None:
    for service in STARTED:
        assert stack.shell(service, "id -u").strip() == "65534"
        assert stack.inspect(service)["HostConfig"]["ReadonlyRootfs"] is True
        done = stack.shell(service, "touch /etc/prometheus/x /tmp/x /x 2>&1 || true")
        assert "Read-only file system" in done
