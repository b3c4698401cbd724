"""The answers to gRPC calls, in the hub: keys, the method itself, errors, the log and metrics."""

from __future__ import annotations

import time
from dataclasses import replace

from app.api.grpc.errors import (
    ELSEWHERE,
    REQUEST_ID,
    Reply,
    Unsupported,
    error_reply,
    http_status,
)
from app.api.grpc.health import CHECK, WATCH, Health, encoded_status, watched_status
from app.api.grpc.inference_service import InferenceService
from app.api.grpc.prediction_service import PredictionService
from app.api.grpc.rpc import Rpc
from app.api.grpc.services import Parts
from app.api.http.current import set_current_record
from app.api.http.draining import check_draining
from app.api.http.errors import fallback
from app.api.http.gate import presented_key
from app.api.telemetry.access_log import GONE, GONE_CODE, AccessLog
from app.api.telemetry.metrics import Metrics
from app.api.telemetry.spans import Spans
from app.errors import KeraportError, Unavailable

# Methods that check keys themselves, where they need one.
_OPEN = frozenset({CHECK, WATCH})


class Answers:
    """Answers calls, each in a greenlet of its own. spans: where there is a collector. in_flight:
    how many are being answered."""

    def __init__(
        self, parts: Parts, access_log: AccessLog, metrics: Metrics, spans: Spans | None = None
    ) -> None:
        self._parts = parts
        self._log = access_log
        self._metrics = metrics
        self._spans = spans
        self._health = Health(parts)
        self._methods = {
            **PredictionService(parts).methods(),
            **InferenceService(parts).methods(),
            **self._health.methods(),
        }
        self.in_flight = 0

    @property
    def paths(self) -> frozenset[str]:
        """The paths of all methods that `answer` knows."""
        return frozenset(self._methods)

    def answer(self, rpc: Rpc) -> Reply:
        """Answer a call, log and count it. Blocks the greenlet."""
        record = rpc.record
        record.traced = self._spans is not None
        set_current_record(record)
        self.in_flight += 1
        status = 200
        received = len(rpc.data)
        try:
            if rpc.fallback is not None and rpc.path not in _OPEN:
                check_draining(self._parts.lifecycle)
            self._check_key(rpc)
            rpc.check()
            method = self._methods.get(rpc.path)
            if method is None:
                raise Unsupported(f"there is no method {rpc.path[:200]}")
            reply = Reply(method(rpc))
        except Exception as error:
            record.code = error.code if isinstance(error, KeraportError) else "internal"
            status = GONE if record.code == GONE_CODE else http_status(error)
            reply = error_reply(error, record)
            reply = replace(reply, trailers=(*reply.trailers, *self._elsewhere(rpc, error)))
        finally:
            rpc.has_room()
            rpc.lease.end()
            self.in_flight -= 1
            set_current_record(None)
        seconds = time.monotonic() - rpc.began
        if self._spans is not None:
            code = reply.code.value[0]
            self._spans.end(rpc.environ, record, rpc.path, status, seconds, code)
        self._metrics.observe(record, status, seconds)
        self._log.answered(
            rpc.environ,
            record,
            rpc.path,
            status,
            seconds=seconds,
            bytes_in=received,
            bytes_out=len(reply.message),
        )
        assert record.id is not None, "it has one since it came"
        trailers = ((REQUEST_ID, record.id), *reply.trailers)
        return Reply(reply.message, reply.code, reply.details, trailers)

    def _elsewhere(self, rpc: Rpc, error: Exception) -> tuple[tuple[str, str], ...]:
        """Return the metadata with which nginx sends a call to the other replica, if that may
        answer it."""
        if not isinstance(error, Unavailable):
            return ()
        where = fallback(rpc.fallback, error.code, lambda: not self._parts.ready)
        return () if where is None else ((ELSEWHERE, f"@grpc_{where}"),)

    def check_key(self, rpc: Rpc) -> Reply | None:
        """Return the refusal of a call that another part answers; None if its key is good."""
        try:
            self._check_key(rpc)
        except KeraportError as error:
            return error_reply(error, rpc.record)
        return None

    def watched(self, rpc: Rpc, *, first: bool) -> bytes | Reply:
        """Return the state that a client of `Watch` gets, or the error that ends it. first: whether
        its key has not been checked yet."""
        set_current_record(rpc.record)
        try:
            return encoded_status(watched_status(self._health, rpc, first=first))
        except Exception as error:
            return error_reply(error, rpc.record)
        finally:
            # It would keep every version that there was, as long as the client watches.
            rpc.record.entries.clear()
            set_current_record(None)

    def _check_key(self, rpc: Rpc) -> None:
        if rpc.path in _OPEN:
            return
        if self._parts.gate is not None:
            self._parts.gate.admit(presented_key(rpc.environ), rpc.record)
        if self._parts.users is not None:
            self._parts.users.count(rpc.record.user)
