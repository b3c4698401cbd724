"""Every setting of the server: one typed table, read from the environment (`KERAPORT_…`)."""

from __future__ import annotations

import difflib
import os
import re
import socket
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    HttpUrl,
    IPvAnyNetwork,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
)
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.errors import Detail, SettingsError, short

# Settings of docker-compose.yml and nginx, which may be in the environment of the server as well.
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
        "LOGIN_PROXY",
        "APP_MEMORY",
        "ACME_EMAIL",
        "ACME_SERVER",
        "GPU_1",
        "GPU_2",
        "SOURCES",
        "SYNC_EVERY_S",
        "SYNC_KEEP",
        "SYNC_USER",
        "SYNC_ENV_FILE",
        "PROMETHEUS_PORT",
        "GRAFANA_PORT",
        "METRICS_KEY_FILE",
        "PROMETHEUS_IMAGE",
        "BLACKBOX_IMAGE",
        "GRAFANA_IMAGE",
    )
)
MOST_WORKERS = 64
# RFC 6454: scheme, host, port. No wildcard, and no `null`, which any page can be.
_ORIGIN = re.compile(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?|https?://\[[0-9a-f:]+\](:[0-9]{1,5})?")


def _switch(value: Any, read: ValidatorFunctionWrapHandler) -> bool:
    try:
        return bool(read(value))
    except ValidationError:
        raise PydanticCustomError("switch", "expected on or off") from None


def _workers(value: Any, read: ValidatorFunctionWrapHandler) -> Any:
    try:
        found = read(value)
    except ValidationError:
        found = 0
    if found != "auto" and not 1 <= found <= MOST_WORKERS:
        raise PydanticCustomError("workers", f"expected a number from 1 to {MOST_WORKERS}, or auto")
    return found


Switch = Annotated[bool, WrapValidator(_switch)]


class Settings(BaseSettings):
    """The settings of an operator. `.env.example` lists the same names with their defaults."""

    model_config = SettingsConfigDict(env_prefix="KERAPORT_", frozen=True)

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(5000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    grpc_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="Port for gRPC; 0 takes a free one. Empty: no gRPC.",
    )
    models_dir: Path = Field(Path("models"), description="The folder of models.")
    uploads_dir: Path = Field(
        Path("uploads"), description="Where uploads in flight are spooled; always empty at rest."
    )
    cache_dir: Path | None = Field(
        Path("~/.cache/keraport"),
        description="Where converted models are kept, so that a start reads none twice; replicas "
        "may share it. Empty: nowhere.",
    )
    cache_mb: float = Field(
        8000,
        gt=0,
        description="Largest size of that folder, in megabytes (10^6 bytes); what was used longest "
        "ago goes first.",
    )
    reload: Switch = Field(
        True,
        description="Loads what changes in the folder of models by itself; off: on SIGHUP only.",
    )
    workers: Annotated[int | Literal["auto"], WrapValidator(_workers)] = Field(
        1,
        description="Server processes that share the port; auto: one for each core.",
    )
    reuse_port: Switch = Field(
        False, description="Lets several server processes share one port (SO_REUSEPORT)."
    )
    forwarded_allow_ips: Annotated[frozenset[IPvAnyNetwork], NoDecode] = Field(
        frozenset(),
        description="Addresses or networks (10.0.0.0/24) of proxies, comma-separated, whose "
        "X-Forwarded-… headers count.",
    )
    trusted_user_header: str = Field(
        "",
        pattern=r"^([A-Za-z0-9][A-Za-z0-9-]{0,99})?$",
        description="Header in which these proxies name the user whom they have signed in; from "
        "all other addresses it is ignored. Empty: no header counts.",
    )
    user_rate: str = Field(
        "",
        pattern=r"^([1-9][0-9]{0,3}/(second|minute|hour))?$",
        description="Requests that each of these users may send: N/second, N/minute or N/hour, N "
        "up to 9999. Empty: any number.",
    )
    max_body_mb: float = Field(
        16, gt=0, le=2048, description="Largest request body, in megabytes (10^6 bytes)."
    )
    max_pixels: int = Field(
        64_000_000, gt=0, description="Largest picture, in pixels (width times height)."
    )
    max_rows: int = Field(
        100_000, gt=0, description="Most rows (predictions) that one request may ask for."
    )
    max_answer_mb: float = Field(
        64,
        gt=0,
        le=2048,
        description="Largest answer, in megabytes (10^6 bytes): a request for more is refused, "
        "before the model runs where the shapes tell.",
    )
    max_json_depth: int = Field(
        64, gt=0, le=200, description="How deeply lists and objects of a JSON body may be nested."
    )
    max_streams: int = Field(
        256, gt=0, description="Texts that are written at once, over all models; more get 503."
    )
    request_timeout_s: float = Field(
        30, gt=0, description="Seconds a request may take, reading its body included."
    )
    watchdog_s: float = Field(
        120,
        gt=0,
        description="Seconds that one run of a model may last, or the server stand still, before "
        "the process counts as hung and ends, so that it is restarted.",
    )
    api_keys_file: Path | None = Field(
        None,
        description="File of API keys, as `python -m app key new NAME` prints them; without one "
        "no request needs a key.",
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Origins (https://…), comma-separated, whose pages may use /api, /predict, /v1 "
        "and /v2.",
    )
    drain_delay_s: float = Field(
        1,
        ge=0,
        description="Seconds between SIGTERM and closing the port, for load balancers to notice.",
    )
    drain_timeout_s: float = Field(
        25, ge=0, description="Seconds that requests in flight get to finish after SIGTERM."
    )
    handover_s: float = Field(
        60,
        ge=0,
        description="Seconds after SIGTERM that a server with peers serves at most, until one of "
        "them is ready.",
    )
    replica: str = Field(
        "",
        max_length=100,
        description="Name of this server process among its replicas; default: the host name.",
    )
    peers: Annotated[tuple[HttpUrl, ...], NoDecode] = Field(
        (),
        description="Addresses (http://…) of the other replicas, comma-separated; a name may stand "
        "for many.",
    )
    events_file: Path | None = Field(
        None,
        description="Where starts, stops and loads are noted; replicas may share it. Empty: "
        "in memory only.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="How much is written to the log (stderr)."
    )
    log_format: Literal["auto", "json", "text"] = Field(
        "auto", description="json: one object per line; text: for people; auto: text on a terminal."
    )
    log_health_every: int = Field(
        100,
        ge=0,
        description="One in this many successful health checks is logged; 0: none.",
    )

    @field_validator("events_file", "api_keys_file", "cache_dir", "grpc_port", mode="before")
    @classmethod
    def _none(cls, value: Any) -> Any:
        return None if value == "" else value

    @field_validator("forwarded_allow_ips", "peers", "cors_origins", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if isinstance(value, str):
            return [part.strip() for part in value.split(",") if part.strip()]
        return value

    @field_validator("trusted_user_header", "user_rate")
    @classmethod
    def _needs(cls, value: str, info: ValidationInfo) -> str:
        needed = {"trusted_user_header": "forwarded_allow_ips", "user_rate": "trusted_user_header"}
        name = needed[str(info.field_name)]
        # One that is wrong itself is reported alone.
        if value and not info.data.get(name, True):
            raise PydanticCustomError(
                "needs", "it has no effect without {other}", {"other": f"KERAPORT_{name.upper()}"}
            )
        return value

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if not _ORIGIN.fullmatch(origin):
                raise PydanticCustomError(
                    "origin",
                    "expected origins such as https://app.example.org, without a path",
                )
        return origins

    @field_validator("log_level", "log_format", mode="before")
    @classmethod
    def _lower(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value

    @property
    def replica_name(self) -> str:
        """`replica`, or the host name."""
        return self.replica or socket.gethostname()

    @property
    def max_body_bytes(self) -> int:
        """`max_body_mb` in bytes."""
        return int(self.max_body_mb * 1_000_000)

    @property
    def max_answer_bytes(self) -> int:
        """`max_answer_mb` in bytes."""
        return int(self.max_answer_mb * 1_000_000)


def read_settings() -> Settings:
    """Read the settings from the environment of this process.

    Raises SettingsError with all problems at once, names that nothing reads included.
    """
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
