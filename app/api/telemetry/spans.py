"""Spans of requests, for an OpenTelemetry collector.

A request is a span, a child of the client's if that sends a `traceparent` (W3C Trace Context), and
its stages are children of it. They are made when the request has ended, from times that were noted
meanwhile. The settings are those of OpenTelemetry's SDK (`OTEL_…`), which batches and sends spans
in a native thread of its own.
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Any

from app import __version__
from app.api.telemetry.access_log import HEALTH_PATHS, MAX_METHOD, shown_path
from app.api.telemetry.record import Record
from app.serving.call import Stages

if TYPE_CHECKING:
    from opentelemetry.trace import Span

# Either makes the server send spans.
ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
# Seconds that the last spans get when the server ends.
FLUSH_S = 2.0


class Spans:
    """Makes spans and sends them. replica: the name of this process."""

    def __init__(self, replica: str) -> None:
        # They take a second to import, and memory: only where they are used.
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        own = {
            "service.name": "keraport",
            "service.version": __version__,
            "service.instance.id": replica,
        }
        resource = Resource(own).merge(OTELResourceDetector().detect())
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("keraport", __version__)
        self._propagator = TraceContextTextMapPropagator()

    @classmethod
    def of_environment(cls, replica: str) -> Spans | None:
        """Return spans if the environment names a collector, otherwise None."""
        return cls(replica) if any(map(os.environ.get, ENDPOINTS)) else None

    def end(
        self,
        environ: dict[str, Any],
        record: Record,
        target: str,
        status: int,
        seconds: float,
        grpc_status: int | None = None,
    ) -> None:
        """Send the spans of a request that has just ended, and add the trace's id to its record.
        Health checks have none.

        target: what the client asked for. status: also of a call of gRPC, as in the log. seconds:
        since it came. grpc_status: of such a call, by its number.
        """
        from opentelemetry.context import Context
        from opentelemetry.trace import SpanKind, StatusCode, set_span_in_context

        if record.protocol == "other" or environ.get("PATH_INFO") in HEALTH_PATHS:
            return
        ended = time.time_ns()
        about: dict[str, str | int | None]
        if grpc_status is None:
            method = environ.get("REQUEST_METHOD", "")[:MAX_METHOD]
            name = f"{method} {record.protocol}"
            about = {
                "http.request.method": method,
                "http.response.status_code": status,
                "url.path": shown_path(target),
            }
        else:
            name = (shown_path(target) or "").removeprefix("/")
            service, _, method = name.partition("/")
            about = {
                "rpc.system": "grpc",
                "rpc.service": service,
                "rpc.method": method,
                "rpc.grpc.status_code": grpc_status,
            }
        attributes = about | {
            "keraport.protocol": record.protocol,
            "keraport.request_id": record.id,
            "keraport.key": record.key,
            "error.type": record.code,
        }
        sent = {
            name: environ[key]
            for name, key in (
                ("traceparent", "HTTP_TRACEPARENT"),
                ("tracestate", "HTTP_TRACESTATE"),
            )
            if key in environ
        }
        span = self._tracer.start_span(
            name,
            context=self._propagator.extract(sent, Context()),
            kind=SpanKind.SERVER,
            attributes={name: value for name, value in attributes.items() if value is not None},
            start_time=ended - int(seconds * 1e9),
        )
        record.trace_id = f"{span.get_span_context().trace_id:032x}"
        if span.is_recording():
            if status >= 500:
                span.set_status(StatusCode.ERROR)
            within = set_span_in_context(span, Context())
            for call in record.calls:
                self._stages(call.stages, span, within)
        span.end(ended)

    def _stages(self, stages: Stages, parent: Span, within: Any) -> None:
        if stages.model is None:
            return
        version = str(stages.version)
        parent.set_attributes({"keraport.model": stages.model, "keraport.version": version})
        attributes: dict[str, str | int] = {
            "keraport.model": stages.model,
            "keraport.version": version,
            "keraport.rows": stages.rows,
            "keraport.batch": stages.batch,
        }
        wall = time.time_ns() - time.monotonic_ns()
        for stage, (first, last) in (stages.times or {}).items():
            span = self._tracer.start_span(
                stage, context=within, attributes=attributes, start_time=wall + first
            )
            span.end(wall + last)

    def close(self) -> None:
        """Send what is left, for FLUSH_S at most: a collector that hangs must not keep the server
        from ending."""
        flush = threading.Thread(target=self._provider.shutdown, daemon=True)
        flush.start()
        flush.join(FLUSH_S)
