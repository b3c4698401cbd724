"""Settings, and their complete documentation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from app.api.http.proxy import TrustedAddresses
from app.errors import SettingsError
from app.settings import STACK_SETTINGS, Settings, read_settings
from tests.support import ROOT


def _example() -> dict[str, str]:
    lines = (ROOT / ".env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def _of_the_stack() -> dict[str, str]:
    """The variables of docker-compose.yml, and of what goes with it, with their defaults."""
    files = ("docker-compose.yml", "deploy/gpu/compose.yml")
    compose = "".join((ROOT / name).read_text() for name in files)
    # `:+` is for one that is empty unless it is set, and `/dev/null` a file that is then empty.
    said = re.findall(r"\$\{((?:KERAPORT|OTEL)_\w+):([-+])([^}]*)\}", compose)
    assert len(said) == compose.count("${"), "a variable without a default"
    found = [
        (name, "" if sign == "+" or default == "/dev/null" else default)
        for name, sign, default in said
    ]
    variables = dict(found)
    assert set(found) == set(variables.items()), "a variable with two defaults"
    return variables


def test_env_example_has_every_setting_with_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KERAPORT_CACHE_DIR")  # that of the tests
    example, stack = _example(), _of_the_stack()
    fields = {f"KERAPORT_{name.upper()}": name for name in Settings.model_fields}
    assert set(example) == set(fields) | set(stack)
    assert {name: example[name] for name in stack} == stack
    # Those of OpenTelemetry's SDK are its own.
    own = {name for name in stack if not name.startswith("OTEL_")}
    assert own - set(fields) == STACK_SETTINGS
    shown = Settings(**{field: example[name] for name, field in fields.items()})  # type: ignore[arg-type]
    assert shown == Settings()


def test_every_setting_says_what_it_is() -> None:
    assert all(field.description for field in Settings.model_fields.values())


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAPORT_PORT", "8123")
    monkeypatch.setenv("KERAPORT_MODELS_DIR", "/srv/models")
    monkeypatch.setenv("KERAPORT_REUSE_PORT", "true")
    settings = Settings()
    assert settings.port == 8123
    assert settings.models_dir == Path("/srv/models")
    assert settings.reuse_port is True


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "65536"),
        ("PORT", "-1"),
        ("MAX_BODY_MB", "0"),
        ("LOG_LEVEL", "loud"),
        ("RELOAD", "sometimes"),
        ("FORWARDED_ALLOW_IPS", "nginx"),
        ("TRUSTED_USER_HEADER", "X-User"),  # without a proxy to trust
        ("TRUSTED_USER_HEADER", "X User"),
        ("USER_RATE", "10/minute"),  # without a header
        ("USER_RATE", "0/minute"),
        ("USER_RATE", "10 per minute"),
        ("CORS_ORIGINS", "*"),
        ("CORS_ORIGINS", "null"),
        ("CORS_ORIGINS", "https://app.example.org/"),
        ("CORS_ORIGINS", "app.example.org"),
        ("MAX_ROWS", "0"),
        ("MAX_JSON_DEPTH", "201"),
        ("MAX_STREAMS", "0"),
        ("WATCHDOG_S", "0"),
        ("LOG_FORMAT", "xml"),
        ("LOG_HEALTH_EVERY", "-1"),
    ],
)
def test_wrong_values_are_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"KERAPORT_{name}", value)
    with pytest.raises(ValidationError, match=name.lower()):
        Settings()


@pytest.mark.parametrize(("value", "reload"), [("on", True), ("off", False)])
def test_reload_is_on_or_off(monkeypatch: pytest.MonkeyPatch, value: str, reload: bool) -> None:
    monkeypatch.setenv("KERAPORT_RELOAD", value)
    assert Settings().reload is reload


SWITCHES = [name for name, field in Settings.model_fields.items() if field.annotation is bool]


@pytest.mark.parametrize("name", SWITCHES)
def test_the_error_for_a_switch_lists_its_values(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for value in ("maybe", "", "2"):
        monkeypatch.setenv(f"KERAPORT_{name.upper()}", value)
        with pytest.raises(ValidationError) as caught:
            Settings()
        (error,) = caught.value.errors()
        assert (error["loc"], error["msg"]) == ((name,), "expected on or off")


def test_all_switches_are_known() -> None:
    assert set(SWITCHES) == {"reload", "reuse_port"}


@pytest.mark.parametrize(("name", "value"), [("PORT", "65535"), ("PORT", "0")])
def test_values_at_the_edge_are_taken(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"KERAPORT_{name}", value)
    assert Settings().port == int(value)


@pytest.mark.parametrize("value", ["INFO", "Info", "info"])
def test_the_log_level_may_be_in_capitals(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("KERAPORT_LOG_LEVEL", value)
    assert Settings().log_level == "info"


def test_proxies_are_a_list_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAPORT_FORWARDED_ALLOW_IPS", "172.16.239.5, ::1,10.0.9.0/24")
    proxies = TrustedAddresses(Settings().forwarded_allow_ips)
    for address in ("172.16.239.5", "::1", "10.0.9.0", "10.0.9.255"):
        assert address in proxies
    for other in ("172.16.239.6", "::2", "10.0.10.0", "", "unix", None):
        assert other not in proxies


def test_a_network_of_proxies_is_written_without_host_bits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KERAPORT_FORWARDED_ALLOW_IPS", "10.0.9.7/24")
    with pytest.raises(SettingsError) as error:
        read_settings()
    assert [each.field for each in error.value.details] == ["KERAPORT_FORWARDED_ALLOW_IPS"]


def test_origins_are_a_list_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAPORT_CORS_ORIGINS", "https://a.example, http://localhost:3000,")
    assert Settings().cors_origins == ("https://a.example", "http://localhost:3000")


def test_all_problems_of_the_environment_are_reported_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KERAPORT_MODEL_DIR", "/srv/models")
    monkeypatch.setenv("KERAPORT_WHATEVER", "1")
    monkeypatch.setenv("KERAPORT_PORT", "many")
    monkeypatch.setenv("KERAPORT_MAX_ROWS", "0")
    with pytest.raises(SettingsError, match="4 problems") as caught:
        read_settings()
    told = {detail.field: detail for detail in caught.value.details}
    assert "KERAPORT_MODELS_DIR" in told["KERAPORT_MODEL_DIR"].problem
    assert ".env.example" in told["KERAPORT_WHATEVER"].problem
    assert told["KERAPORT_PORT"].value == "many"
    assert "greater than 0" in told["KERAPORT_MAX_ROWS"].problem


@pytest.mark.parametrize("name", sorted(STACK_SETTINGS))
def test_what_the_stack_reads_may_be_set_for_the_server(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "whatever")
    assert read_settings() == Settings()


def test_every_setting_is_in_the_guide() -> None:
    guides = ("docs/operations.md", "docs/elsewhere.md")
    guide = "".join((ROOT / name).read_text() for name in guides)
    missing = [name for name in _example() if not re.search(rf"\b{name}\b", guide)]
    assert missing == []
