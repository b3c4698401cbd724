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
from functools import partial
from typing import TYPE_CHECKING, Any

import gevent
from gevent.event import Event

from app import __version__
from app.api.bodies.body_room import BodyRoom
from app.api.http.access import ModelAccess
from app.api.http.gate import Gate, open_gate
from app.api.http.users import UserRates, user_rates
from app.api.telemetry.access_log import AccessLog
from app.api.telemetry.metrics import Metrics
from app.api.telemetry.spans import Spans
from app.factory import create_app
from app.handover import ASK_S, Handover, Stand
from app.lifecycle import Lifecycle, process_age_s
from app.logs import access_logger, log_hub_error
from app.server.handler import HttpServer
from app.server.handover_client import HandoverClient
from app.server.hub_watchdog import every_s
from app.server.listener import address_of, for_gevent, listen
from app.server.supervisor import FROM_PARENT, HUNG_EXIT, PASSED_ON
from app.server.supervisor_launch import Heartbeat
from app.server.worker import ACCEPTING, CLOSED, READY, SharedHandover, Worker
from app.serving.reading.cache import Cache
from app.serving.registry.entry import Entry
from app.serving.registry.outcomes import EventKind
from app.serving.registry.registry import Registry
from app.serving.registry.state_folder import StateFolder, replica_folder
from app.serving.registry.sync import FolderSync
from app.serving.registry.watchdog import Watchdog
from app.serving.tasks.base import Limits
from app.settings import Settings
from app.status.journal import Journal

if TYPE_CHECKING:
    from app.server.grpc_server import GrpcServer

log = logging.getLogger(__name__)

# Seconds without a request in flight after which the last one has been.
QUIET_S = 0.05
# Seconds that a replaced model is kept beyond the time limit of a request.
LEASE_MARGIN_S = 30


class Server:
    """One server process over one registry. worker: which of several it is, where there are some.

    Raises CardError if the models folder does not exist, OSError if the address cannot be had.
    """

    def __init__(self, settings: Settings, worker: Worker | None = None) -> None:
        self._settings = settings
        self._worker = worker
        # Imports are most of a start.
        started_s = process_age_s()
        handover = Handover(settings.handover_s, started_s=started_s)
        if worker is not None:
            handover = SharedHandover(worker, settings.handover_s, started_s)
        self._lifecycle = Lifecycle(handover=handover)
        self._handover_client = HandoverClient([str(url) for url in settings.peers])
        self._journal = Journal(settings.events_file, settings.replica_name)
        limits = Limits.of(settings)
        # Reading the body and answering take no longer; the rest is for writing the answer.
        self._registry = Registry(lease_s=settings.request_timeout_s + LEASE_MARGIN_S)
        self._metrics = Metrics(self._registry)
        self._sync = FolderSync(
            self._registry,
            settings.models_dir,
            limits,
            poll=settings.reload,
            on_event=self._on_event,
            state=StateFolder(replica_folder(settings.events_file, settings.replica_name)),
            kept=Cache.of(settings),
        )
        self._sync.find()
        gate, users = open_gate(settings), user_rates(settings)
        self._app = create_app(
            settings,
            self._registry,
            self._lifecycle,
            self._journal,
            self._metrics,
            worker.number if worker else None,
            worker.siblings if worker else {},
            gate,
            users,
        )
        self._spans = Spans.of_environment(settings.replica_name)
        access = AccessLog(access_logger(), settings.log_health_every)
        room = BodyRoom(limits.max_bodies_bytes)
        make = partial(
            HttpServer,
            app=self._app,
            lifecycle=self._lifecycle,
            access=access,
            metrics=self._metrics,
            body_room=room,
            spans=self._spans,
        )
        # Where the other workers ask this one.
        self._own = make(for_gevent(worker.own)) if worker else None
        if worker is None:
            with listen(settings) as listener:
                self._server = make(for_gevent(listener))
        else:
            self._server = make(for_gevent(worker.listener))
            # So that those who wait for connections get about as many each.
            self._server.max_accept = 1
        self._grpc = self._grpc_server(gate, users, access, room)
        self._metrics.watch_in_flight(lambda: self._in_flight)
        self._ending = Event()
        self._signals: Counter[str] = Counter()

    @property
    def address(self) -> str:
        """The URL of the server."""
        return address_of(self._server.socket)

    def _grpc_server(
        self, gate: Gate | None, users: UserRates | None, access_log: AccessLog, room: BodyRoom
    ) -> GrpcServer | None:
        if self._settings.grpc_port is None:
            return None
        # Only here: grpcio takes 12 MB, and most servers do without.
        from app.api.grpc.answers import Answers
        from app.api.grpc.services import Parts
        from app.server.grpc_server import GrpcServer

        access = ModelAccess(self._registry, keys=gate is not None)
        parts = Parts(self._settings, access, self._lifecycle, gate, users)
        answers = Answers(parts, access_log, self._metrics, self._spans)
        server = GrpcServer(
            self._settings,
            answers,
            room,
            lambda: self._lifecycle.refusing,
            shared=self._worker is not None,
        )
        if self._worker is None:
            server.listen()
        return server

    @property
    def _in_flight(self) -> int:
        calls = 0 if self._grpc is None else self._grpc.in_flight
        return self._server.in_flight + calls

    def run(self, heartbeat: Heartbeat) -> None:
        """Serve until SIGTERM or SIGINT, or until a model hangs; finish what is in flight, and end
        the process, with 0 or HUNG_EXIT."""
        hub: Any = gevent.get_hub()
        hub.print_exception = log_hub_error
        for number in (signal.SIGTERM, signal.SIGINT):
            gevent.signal_handler(number, self._on_signal, number, "sent")
            gevent.signal_handler(PASSED_ON[number], self._on_signal, number, "passed on")
            gevent.signal_handler(FROM_PARENT[number], self._on_signal, number, "from the parent")
        gevent.signal_handler(signal.SIGHUP, self._reload)
        timer = hub.loop.timer(0, every_s(self._settings.watchdog_s))
        timer.start(heartbeat.beat)
        self._journal.start()
        if self._own is not None:
            self._own.start()
        if self._worker is None or self._worker.alone:
            self._accept()
        extra = {"address": self.address, "program": f"keraport {__version__}"}
        log.info("listening on %s", self.address, extra=extra)
        self._sync.start()
        gevent.spawn(self._watch)
        if self._worker is not None:
            gevent.spawn(self._join, self._worker)
        self._ending.wait()
        self._hand_over()
        left = self._drain()
        if self._spans is not None:
            self._spans.close()
        hung = self._lifecycle.hung
        self._sync.stop(hung=hung is not None)
        how = f"{left} requests were cut off" if left else "every request was answered"
        self._journal.note("stopped", reason=how if hung is None else f"{hung}; {how}")
        _exit(0 if hung is None else HUNG_EXIT)

    def _accept(self) -> None:
        if self._worker is not None:
            self._worker.shared.mark(self._worker.number, ACCEPTING)
        self._server.start()
        if self._grpc is not None:
            port = self._grpc.start()
            log.info("gRPC on port %d", port, extra={"grpc_port": port})

    def _join(self, worker: Worker) -> None:
        """Take connections once the models are there: until then the other workers do."""
        while not self._registry.loaded:
            gevent.sleep(QUIET_S)
            if worker.alone and not self._server.started and not self._ending.is_set():
                self._accept()  # the others have ended
        if not self._ending.is_set():
            if not self._server.started:
                self._accept()
            worker.shared.mark(worker.number, READY)

    def _on_event(
        self, kind: EventKind, entry: Entry, seconds: float | None, reason: str | None
    ) -> None:
        self._metrics.loaded(kind, entry, seconds)
        self._journal.note(kind, model=entry.label, seconds=seconds, reason=reason)

    def _reload(self) -> None:
        log.info("SIGHUP: looking for changed models")
        self._sync.scan_now()

    def _watch(self) -> None:
        """Give up models that hang, while draining too: their requests get an answer."""
        limit_s = self._settings.watchdog_s
        watchdog = Watchdog(limit_s, self._registry.alive)
        reason = f"a run has not ended within {limit_s:g} s (KERAPORT_WATCHDOG_S)"
        while True:
            gevent.sleep(watchdog.every_s)
            for entry in watchdog.check():
                log.error("model %s hangs: %s", entry.label, reason)
                self._registry.abandon(entry, reason)
                self._journal.note("hung", model=entry.label, reason=reason)
                if not self._lifecycle.draining:
                    log.error("draining, to be restarted: the other models finish what they have")
                    self._lifecycle.hung = f"the model {entry.label!r} hangs: {reason}"
                    self._lifecycle.draining = True
                    self._ending.set()

    def _on_signal(self, number: signal.Signals, way: str) -> None:
        """Begin to end; the second signal ends at once.

        way: `sent` or `passed on` by the supervisor. A signal to a whole group of processes
        arrives both ways.
        """
        self._signals[way] += 1
        if self._signals[way] > 1:
            log.warning("second signal: ending at once")
            self._journal.note("stopped", reason="at once, on a second signal")
            self._sync.stop()
            _exit(128 + number)
        if self._signals.total() > 1:
            return
        # Other replicas restart at the same time where an orchestrator stops this one; a person who
        # presses Ctrl+C waits for the end.
        agrees = bool(self._settings.peers) and self._settings.handover_s > 0
        if number == signal.SIGTERM and agrees and self._registry.loaded:
            log.info("%s: asking the other replicas", number.name)
            if self._worker is None or self._worker.leads:
                self._lifecycle.handover.stop()
        else:
            log.info("%s: draining", number.name)
            self._lifecycle.draining = True
        self._ending.set()

    def _hand_over(self) -> None:
        """Serve until another replica does, if this one is to ask, or until a model hangs."""
        handover, worker = self._lifecycle.handover, self._worker
        until = time.monotonic() + self._settings.handover_s
        while not self._lifecycle.draining:
            reason = None
            if worker is not None and handover.stand is Stand.LEAVING:
                reason = "so do the other workers"
            elif worker is None or worker.leads:
                if handover.stand is Stand.SERVING:  # the worker that led has ended
                    handover.stop()
                reason = handover.heard(self._handover_client.ask())
            elif time.monotonic() >= until:
                reason = "the other workers have not decided"
            if reason is not None and not self._lifecycle.draining:
                log.info("draining: %s", reason)
                self._lifecycle.draining = True
                return
            gevent.sleep(ASK_S)

    def _drain(self) -> int:
        """Stay open until load balancers have noticed, then close the port and let requests in
        flight finish. Returns how many did not."""
        if self._registry.loaded:
            gevent.sleep(self._settings.drain_delay_s)
        self._server.close()
        if self._worker is not None:
            self._worker.shared.mark(self._worker.number, CLOSED)
        self._lifecycle.refusing = True
        if self._grpc is not None:
            self._grpc.stop(self._settings.drain_timeout_s)
        log.info("port closed, %d requests in flight", self._in_flight)
        until = time.monotonic() + self._settings.drain_timeout_s
        quiet_since = time.monotonic()
        while time.monotonic() < until:
            if self._in_flight or not (self._grpc is None or self._grpc.ended):
                quiet_since = time.monotonic()
            elif time.monotonic() - quiet_since >= QUIET_S:
                log.info("drained")
                return 0
            gevent.sleep(QUIET_S / 5)
        log.warning("%d requests did not finish within the drain", self._in_flight)
        return self._in_flight


def _exit(code: int) -> None:
    """End at once. Threads that still load or run a model hold nothing worth waiting for, and
    TensorFlow's own may crash an orderly shutdown."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
