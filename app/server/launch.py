"""The start of a server: one process, or several workers that share a port."""

from __future__ import annotations

import os
import signal
import tempfile
from dataclasses import replace
from pathlib import Path
from types import FrameType

from app import __version__, logs
from app.errors import SettingsError
from app.resources.container import share_cores, usable_cores
from app.server.listener import address_of, listen
from app.server.supervisor import FROM_PARENT, PASSED_ON
from app.server.supervisor_launch import supervised_parent, supervised_server
from app.server.worker import Worker
from app.settings import Settings


def signals_at_start() -> None:
    """Until the server's own handlers are in place, a stop is just that."""
    for number in (signal.SIGTERM, *_STOPS):
        signal.signal(number, _stop_now)
    # What it asks for is about to be done.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


_STOPS = (*(PASSED_ON[number] for number in FROM_PARENT), *FROM_PARENT.values())


def _stop_now(number: int, frame: FrameType | None) -> None:
    os._exit(0)


def launch(settings: Settings, style: logs.Style) -> int:
    """Serve until a signal says to stop. Returns the exit code, if this process is not the server
    itself.

    Raises SettingsError where the address cannot be had or uploads cannot be spooled, CardError if
    the models folder does not exist.
    """
    destination = logs.Destination.make()
    logs.configure(style, destination=destination)
    count = usable_cores() if settings.workers == "auto" else settings.workers
    if count == 1:
        _serve(settings, style, destination)
        return 0
    return _serve_with_workers(count, settings, style, destination)


def _serve(
    settings: Settings,
    style: logs.Style,
    destination: logs.Destination,
    worker: Worker | None = None,
) -> None:
    """Serve in this process, or as one of several workers."""
    drain_s = settings.drain_delay_s + settings.drain_timeout_s
    heartbeat = supervised_server(style, destination, settings.watchdog_s, drain_s)
    from app.server.server import Server

    if worker is None:
        _check_uploads(settings.uploads_dir)
    try:
        server = Server(settings, worker)
    except OSError as error:
        raise _no_address(settings, error) from None
    if worker is None:
        _greet(style, settings, server.address)
    server.run(heartbeat)


def _serve_with_workers(
    count: int, settings: Settings, style: logs.Style, destination: logs.Destination
) -> int:
    _check_uploads(settings.uploads_dir)
    try:
        listener = listen(settings)
    except OSError as error:
        raise _no_address(settings, error) from None
    supervised_parent(style, destination)
    import app.server.server  # noqa: F401 - for all workers
    from app.keys.ring import KeyRing
    from app.server.workers import Workers
    from app.serving.registry.folder import scan
    from app.serving.registry.open_model import import_engine

    # A problem that stops every worker is reported once, here.
    scan(settings.models_dir)
    if settings.api_keys_file is not None:
        KeyRing(settings.api_keys_file)
    import_engine()

    def start(worker: Worker) -> None:
        signals_at_start()
        share_cores(count)
        name = f"{settings.replica_name}/{worker.number}"
        own = settings.model_copy(update={"replica": name})
        own_style = replace(style, replica=name)
        logs.configure(own_style, destination=destination)
        _serve(own, own_style, destination, worker)

    _greet(style, settings, address_of(listener))
    return Workers(count, listener, start).run()


def _greet(style: logs.Style, settings: Settings, address: str) -> None:
    if style.as_text:
        folder = settings.models_dir
        print(f"Keraport {__version__} on {address}, models from {folder}/", flush=True)


def _no_address(settings: Settings, error: OSError) -> SettingsError:
    where = f"{settings.host}:{settings.port}"
    return SettingsError(
        f"cannot serve on {where} (KERAPORT_HOST, KERAPORT_PORT): {error.strerror}", []
    )


def _check_uploads(folder: Path) -> None:
    """Check that uploads can be spooled there, rather than fail at the first large one."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise SettingsError(
            f"uploads cannot be spooled in {str(folder)!r} ({error.strerror}): set "
            "KERAPORT_UPLOADS_DIR to a folder that can be written",
            [],
        ) from None
