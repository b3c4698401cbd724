"""The server process: its start, its signals and its end.

pywsgi as it comes cuts requests off when it stops; here they finish first.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections import Counter
from typing import Any

import gevent
from gevent.event import Event

from app import __version__
from app.access_log import AccessLog
from app.api.metrics import Metrics
from app.body_room import BodyRoom
from app.factory import create_app
from app.handler import HttpServer, listen
from app.hub_watch import every_s
from app.launch import Turns
from app.lifecycle import Lifecycle
from app.logs import access_logger, tell_of_hub
from app.serving.entry import Entry
from app.serving.registry import Registry
from app.serving.reload import What
from app.serving.tasks.base import Limits
from app.serving.watchdog import Watchdog
from app.settings import Settings
from app.status.journal import Journal
from app.supervisor import HUNG_EXIT, PASSED_ON

log = logging.getLogger(__name__)

# How long no request must be in flight before the server believes that it was the last one.
QUIET_S = 0.05
# How much longer than a request may take a model that was replaced is kept for it.
LEASE_MARGIN_S = 30


class Server:
    """One server process over one registry. Raises CardError where there is no folder of models,
    OSError when the address cannot be had."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lifecycle = Lifecycle()
        self._journal = Journal(settings.events_file, settings.replica_name)
        limits = Limits.of(settings)
        self._registry = Registry(
            settings.models_dir,
            limits,
            reload=settings.reload,
            # Reading the body and answering take no longer; the rest is for writing the answer.
            lease_s=settings.request_timeout_s + LEASE_MARGIN_S,
            note=self._note,
        )
        self._metrics = Metrics(self._registry)
        self._registry.find()
        self._app = create_app(
            settings, self._registry, self._lifecycle, self._journal, self._metrics
        )
        access = AccessLog(access_logger(), settings.log_health_every)
        self._server = HttpServer(
            listen(settings),
            self._app,
            self._lifecycle,
            access,
            self._metrics,
            BodyRoom(limits.max_bodies_bytes),
        )
        self._told = Event()
        self._signals: Counter[str] = Counter()

    @property
    def address(self) -> str:
        """Where the server listens, as a URL."""
        host, port = self._server.socket.getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def run(self, turns: Turns) -> None:
        """Serve until SIGTERM or SIGINT, or until a model hangs; finish what is in flight, and end
        the process, with 0 or HUNG_EXIT."""
        hub: Any = gevent.get_hub()
        hub.print_exception = tell_of_hub
        for number in (signal.SIGTERM, signal.SIGINT):
            gevent.signal_handler(number, self._on_signal, number, "sent")
            gevent.signal_handler(PASSED_ON[number], self._on_signal, number, "passed on")
        gevent.signal_handler(signal.SIGHUP, self._reload)
        turning = hub.loop.timer(0, every_s(self._settings.watchdog_s))
        turning.start(turns.tell)
        self._journal.start()
        self._registry.start()
        self._server.start()
        told = {"address": self.address, "program": f"keraport {__version__}"}
        log.info("listening on %s", self.address, extra=told)
        gevent.spawn(self._watch)
        self._told.wait()
        left = self._drain()
        self._registry.stop()
        how = f"{left} requests were cut off" if left else "every request was answered"
        hung = self._lifecycle.hung
        self._journal.note("stopped", reason=how if hung is None else f"{hung}; {how}")
        _exit(0 if hung is None else HUNG_EXIT)

    def _note(self, what: What, entry: Entry, seconds: float | None, reason: str | None) -> None:
        self._metrics.loaded(what, entry, seconds)
        self._journal.note(what, model=entry.label, seconds=seconds, reason=reason)

    def _reload(self) -> None:
        log.info("SIGHUP: looking for changed models")
        self._registry.reload()

    def _watch(self) -> None:
        """Give up models that hang, while draining as well: who waits for one is answered."""
        limit_s = self._settings.watchdog_s
        watchdog = Watchdog(limit_s, self._registry.alive)
        reason = f"a run has not ended within {limit_s:g} s (KERAPORT_WATCHDOG_S)"
        while True:
            gevent.sleep(watchdog.every_s)
            for entry in watchdog.check():
                log.error("model %s hangs: %s", entry.label, reason)
                self._registry.abandon(entry, reason)
                self._journal.note("hung", model=entry.label, reason=reason)
                if not self._told.is_set():
                    log.error("draining, to be restarted: the other models finish what they have")
                    self._lifecycle.hung = f"the model {entry.label!r} hangs: {reason}"
                    self._lifecycle.draining = True
                    self._told.set()

    def _on_signal(self, number: signal.Signals, way: str) -> None:
        """way: how it came here. What is sent to a whole group of processes comes both ways."""
        self._signals[way] += 1
        if self._signals[way] > 1:
            log.warning("second signal: ending at once")
            self._journal.note("stopped", reason="at once, on a second signal")
            _exit(128 + number)
        if self._signals.total() > 1:
            return
        log.info("%s: draining", number.name)
        self._lifecycle.draining = True
        self._told.set()

    def _drain(self) -> int:
        """Stay open until load balancers have noticed, then close the port and let requests in
        flight finish. Returns how many did not."""
        if self._registry.loaded:
            gevent.sleep(self._settings.drain_delay_s)
        self._server.close()
        self._lifecycle.refusing = True
        log.info("port closed, %d requests in flight", self._server.in_flight)
        until = time.monotonic() + self._settings.drain_timeout_s
        quiet_since = time.monotonic()
        while time.monotonic() < until:
            if self._server.in_flight:
                quiet_since = time.monotonic()
            elif time.monotonic() - quiet_since >= QUIET_S:
                log.info("drained")
                return 0
            gevent.sleep(QUIET_S / 5)
        log.warning("%d requests did not finish within the drain", self._server.in_flight)
        return self._server.in_flight


def _exit(code: int) -> None:
    """End here and now. Threads that still load or run a model hold nothing worth waiting for,
    and TensorFlow's own may crash an orderly shutdown."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
