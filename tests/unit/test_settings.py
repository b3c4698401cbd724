"""Settings, and that their documentation is complete."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from app.settings import Settings
from tests.support import ROOT


def _example() -> dict[str, str]:
    lines = (ROOT / ".env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_env_example_has_every_setting_with_its_default() -> None:
    example = _example()
    assert set(example) == {f"KERAPORT_{name.upper()}" for name in Settings.model_fields}
    shown = Settings(**{k.removeprefix("KERAPORT_").lower(): v for k, v in example.items()})  # type: ignore[arg-type]
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
    [("PORT", "65536"), ("PORT", "-1"), ("MAX_BODY_MB", "0"), ("LOG_LEVEL", "loud")],
)
def test_wrong_values_are_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"KERAPORT_{name}", value)
    with pytest.raises(ValidationError, match=name.lower()):
        Settings()


@pytest.mark.parametrize(("name", "value"), [("PORT", "65535"), ("PORT", "0")])
def test_values_at_the_edge_are_taken(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"KERAPORT_{name}", value)
    assert Settings().port == int(value)
