"""The settings of this process, out of its environment: all that is wrong with them at once."""

from __future__ import annotations

import difflib
import os

from pydantic import ValidationError

from app.errors import Detail, SettingsError, short
from app.settings import Settings

# What docker-compose.yml and nginx read, which may be in the environment of the server as well.
STACK_SETTINGS = frozenset(
    f"KERAPORT_{name}"
    for name in (
        "HTTP_PORT",
        "HTTPS_PORT",
        "DOMAIN",
        "CERTS_DIR",
        "RATE_LIMIT",
        "CONNECTION_LIMIT",
        "UNLIMITED_NETWORKS",
        "APP_MEMORY",
        "ACME_EMAIL",
        "ACME_SERVER",
        "PROMETHEUS_PORT",
        "GRAFANA_PORT",
        "METRICS_KEY_FILE",
        "PROMETHEUS_IMAGE",
        "BLACKBOX_IMAGE",
        "GRAFANA_IMAGE",
    )
)


def read_settings() -> Settings:
    """The settings of this process's environment. Raises SettingsError with everything that is
    wrong with them, names that nothing reads included."""
    problems = []
    known = {f"KERAPORT_{name.upper()}" for name in Settings.model_fields}
    for name in sorted(os.environ):
        if name.startswith("KERAPORT_") and name not in known | STACK_SETTINGS:
            close = difflib.get_close_matches(name, known | STACK_SETTINGS, 1, cutoff=0.85)
            hint = f": did you mean {close[0]}?" if close else "; .env.example lists them all"
            problems.append(Detail(name, f"there is no such setting{hint}"))
    try:
        settings = Settings()
    except ValidationError as error:
        for each in error.errors():
            name = f"KERAPORT_{str(each['loc'][0]).upper()}"
            description = Settings.model_fields[str(each["loc"][0])].description
            problem = f"{each['msg'][:1].lower()}{each['msg'][1:]} ({description})"
            problems.append(Detail(name, problem, short(os.environ.get(name))))
        raise _wrong(problems) from None
    if problems:
        raise _wrong(problems)
    return settings


def _wrong(problems: list[Detail]) -> SettingsError:
    count = "a problem" if len(problems) == 1 else f"{len(problems)} problems"
    return SettingsError(f"the settings have {count}:", problems)
