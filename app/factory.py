"""The Flask application."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from flask import Flask
from flask_bootstrap import Bootstrap5

from app.api import cors
from app.api.bodies.spools import KeraportRequest, spool_for
from app.api.http.access import ModelAccess
from app.api.http.answers import add_request_id
from app.api.http.errors import ErrorAnswers
from app.api.http.gate import Gate, open_gate
from app.api.http.overload import EarlyRefusals
from app.api.http.proxy import TrustedAddresses, TrustedProxy
from app.api.http.users import UserRates, user_rates
from app.api.native import health, status
from app.api.native import routes as native
from app.api.openapi import document
from app.api.short_way import ShortWay
from app.api.telemetry import metrics
from app.api.telemetry.metrics import Metrics
from app.api.telemetry.worker_metrics import WorkerMetrics
from app.api.v1 import routes as v1
from app.api.v2 import routes as v2
from app.lifecycle import Lifecycle
from app.serving.registry.registry import Registry
from app.settings import Settings
from app.status.board import StatusBoard
from app.status.journal import Journal
from app.web import login, pages
from app.web.errors import error_page

FRONTEND = Path(__file__).resolve().parent.parent / "frontend"


def create_app(
    settings: Settings,
    registry: Registry,
    lifecycle: Lifecycle | None = None,
    journal: Journal | None = None,
    measured: Metrics | None = None,
    worker: int | None = None,
    siblings: Mapping[int, str] = MappingProxyType({}),
    gate: Gate | None = None,
    users: UserRates | None = None,
) -> Flask:
    """Create the application over `registry`, whose models may still be loading.

    worker: the number of this one, where the server has several. siblings: the addresses of the
    others, by their numbers. gate, users: those of the settings. Raises KeysError if the file of
    API keys cannot be used.
    """
    gate = gate or open_gate(settings)
    keys = None if gate is None else gate.keys
    app = Flask(
        "keraport",
        static_folder=FRONTEND / "static",
        template_folder=FRONTEND / "templates",
    )
    app.config["BOOTSTRAP_SERVE_LOCAL"] = True  # nothing from another origin
    app.url_map.strict_slashes = False
    Bootstrap5(app)
    app.url_map.converters["model"] = native.ModelName
    app.url_map.converters["servable"] = v1.ServableConverter
    lifecycle = lifecycle or Lifecycle()
    journal = journal or Journal(None, settings.replica_name)
    access = ModelAccess(registry, keys=keys is not None)
    board = StatusBoard(settings, registry, lifecycle, journal, keys, [*siblings.values()])
    app.request_class = type(
        "Request",
        (KeraportRequest,),
        {
            "open_spool": staticmethod(spool_for(settings.uploads_dir)),
            "max_content_length": settings.max_body_bytes + 1,  # see _check_size
        },
    )
    app.after_request(add_request_id)
    cors.install(app, settings)
    errors = ErrorAnswers(settings, error_page, lambda: lifecycle.draining or not registry.loaded)
    errors.install(app)
    if gate is not None:
        gate.install(app)
        app.register_blueprint(login.blueprint(settings, gate.keys, lifecycle))
    users = users or user_rates(settings)
    if users is not None:
        users.install(app)
    app.register_blueprint(health.blueprint(access, lifecycle))
    others = None if worker is None else WorkerMetrics(worker, siblings, keys)
    measured = measured or Metrics(registry)
    measured.watch_sources(settings.models_dir)
    app.register_blueprint(metrics.blueprint(measured, others))
    app.register_blueprint(native.blueprint(settings, access, lifecycle))
    app.register_blueprint(v1.blueprint(settings, access, lifecycle))
    app.register_blueprint(v2.blueprint(settings, access, lifecycle))
    app.register_blueprint(status.blueprint(board, access))
    app.register_blueprint(document.blueprint(settings, access))
    app.register_blueprint(pages.blueprint(settings, access, lifecycle, board))
    if not settings.cors_origins:
        app.wsgi_app = ShortWay(app, errors, lifecycle, gate, users)  # type: ignore[method-assign]
    app.wsgi_app = EarlyRefusals(  # type: ignore[method-assign]
        app.wsgi_app, access, lifecycle, timeout_s=settings.request_timeout_s, keys=keys
    )
    if settings.forwarded_allow_ips:
        proxies = TrustedAddresses(settings.forwarded_allow_ips)
        app.wsgi_app = TrustedProxy(  # type: ignore[method-assign]
            app.wsgi_app, proxies, settings.trusted_user_header
        )
    return app
