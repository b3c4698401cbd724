"""The log on stderr: one line an event, a JSON object for programs or text for people.

Python's own `logging`, warnings, and what ends a thread unexpectedly all come out of here, through
structlog. Whatever a text holds, it stays one line: JSON escapes line breaks, and text for people
shows control characters by their codes.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import threading
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing import reduction
from types import TracebackType
from typing import Any, Protocol

import orjson
import structlog
from structlog.stdlib import ExtraAdder, ProcessorFormatter
from structlog.types import EventDict, Processor

from app.line_writer import LineWriter

log = logging.getLogger(__name__)

# The logger of the line of each request.
ACCESS = "app.access"

# What some readers of lines take for the end of one, beside the line feed that JSON escapes: C1
# controls and the two separators of Unicode, as UTF-8.
_BREAKS = re.compile(rb"\xc2[\x80-\x9f]|\xe2\x80[\xa8\xa9]")


@dataclass(frozen=True, slots=True)
class Style:
    """The format of the log. level: debug, info, warning or error. as_text: for people instead of
    JSON. replica: the name of this process, part of each JSON line."""

    level: str
    as_text: bool
    replica: str


@dataclass(frozen=True, slots=True)
class Destination:
    """The destination of the log.

    descriptor: a copy of descriptor 2, which native code may then write to without interfering.
    lock: a descriptor that the processes that write there lock for each line.
    """

    descriptor: int
    lock: int

    @classmethod
    def make(cls) -> Destination:
        """Use the stderr of this process, for itself and for its children."""
        return cls(os.dup(2), os.memfd_create("keraport-log"))

    def __reduce__(self) -> tuple[Any, ...]:
        # An argument of a process that multiprocessing starts: its descriptors go with it.
        return _received, (reduction.DupFd(self.descriptor), reduction.DupFd(self.lock))


def _received(descriptor: Any, lock: Any) -> Destination:
    return Destination(descriptor.detach(), lock.detach())


class _Handler(logging.Handler):
    def __init__(self, lines: LineWriter) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        try:
            self._lines.write(self.format(record).encode(errors="backslashreplace"))
        except Exception:
            self.handleError(record)


_style: Style | None = None
_destination: Destination | None = None
_lines = LineWriter(2)


def style() -> Style | None:
    """Return the style that `configure` has set, for a child process; None before that."""
    return _style


def destination() -> Destination | None:
    """Return the destination that `configure` has set, for a child process; None before that."""
    return _destination


def configure(
    style: Style, logger: str | None = None, destination: Destination | None = None
) -> None:
    """Write what is logged to stderr, or to `destination`, from now on. logger: only what this one
    and those below it have to say, for a process whose libraries are talkative; None for all of
    them."""
    global _style, _destination, _lines
    _style, _destination = style, destination or Destination.make()
    _lines = LineWriter(_destination.descriptor, _destination.lock)
    handler = _Handler(_lines)
    handler.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=[ExtraAdder(), _named],
            processors=[
                ProcessorFormatter.remove_processors_meta,
                *([] if style.as_text else [structlog.processors.format_exc_info]),
                *_rendering(style),
                _decoded,
            ],
        )
    )
    chosen = logging.getLogger(logger)
    for before in [each for each in chosen.handlers if isinstance(each, _Handler)]:
        chosen.removeHandler(before)  # that of the process that this one was forked from
    chosen.addHandler(handler)
    level = logging.getLevelNamesMapping()[style.level.upper()]
    logging.getLogger("app").setLevel(level)
    # What libraries tell for debugging may well be what clients sent.
    logging.getLogger().setLevel(max(level, logging.INFO))
    logging.captureWarnings(logger is None)
    sys.excepthook = _uncaught
    threading.excepthook = _thread_ended
    sys.unraisablehook = _unraisable


class EventLogger(Protocol):
    """Writes events, each with fields of its own."""

    def info(self, event: str, /, **fields: Any) -> Any:
        """Write what is normal."""

    def warning(self, event: str, /, **fields: Any) -> Any:
        """Write what someone may have to look at."""


def access_logger() -> EventLogger:
    """Return the logger for the line of each request. It bypasses `logging`, and for JSON structlog
    too: each takes as long as all the rest of it."""
    style = _style or Style("info", as_text=False, replica="")
    if not style.as_text:
        return _JsonLogger(_lines, style, ACCESS)
    lazy = structlog.wrap_logger(
        _lines,
        processors=[_of_access, *_rendering(style)],
        wrapper_class=structlog.make_filtering_bound_logger(style.level),
    )
    # Otherwise each line would make a logger of its own.
    bound: EventLogger = lazy.bind()
    return bound


class _JsonLogger:
    """Writes JSON lines. logger: its name in them."""

    def __init__(self, lines: LineWriter, style: Style, logger: str) -> None:
        self._lines = lines
        self._level = logging.getLevelNamesMapping()[style.level.upper()]
        self._replica = style.replica
        self._logger = logger

    def info(self, event: str, /, **fields: Any) -> None:
        if self._level <= logging.INFO:
            self._lines.write(_json_line("info", self._logger, self._replica, event, fields))

    def warning(self, event: str, /, **fields: Any) -> None:
        if self._level <= logging.WARNING:
            self._lines.write(_json_line("warning", self._logger, self._replica, event, fields))


def trace(error: BaseException) -> str:
    """Return where `error` comes from, as Python prints it, but without its message: the words of
    an error that a request has met may be the client's."""
    parts: list[str] = []
    told: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in told:
        told.add(id(each))
        frames = "".join(traceback.format_tb(each.__traceback__))
        parts.append(f"Traceback (most recent call last):\n{frames}{kind(each)}")
        hidden = each.__suppress_context__
        each = each.__cause__ or (None if hidden else each.__context__)
    return "\n\n".join(reversed(parts))


def kind(error: BaseException) -> str:
    """Return the name of an error's class."""
    return type(error).__qualname__


def log_hub_error(context: Any, type: Any, value: BaseException, tb: TracebackType) -> None:
    """Log an exception that ended a greenlet, perhaps while it worked on a request. Replaces
    `gevent.hub.Hub.print_exception`."""
    log.error("a greenlet has ended: %s", kind(value), extra={"exception": trace(value)})


def _uncaught(type: type[BaseException], error: BaseException, tb: TracebackType | None) -> None:
    if issubclass(type, KeyboardInterrupt):
        sys.__excepthook__(type, error, tb)
    else:
        log.critical("the process ends: %s", kind(error), exc_info=error)


def _thread_ended(told: threading.ExceptHookArgs) -> None:
    name = told.thread.name if told.thread is not None else "?"
    if told.exc_value is not None and not isinstance(told.exc_value, SystemExit):
        log.critical(
            "the thread %s has ended: %s",
            name,
            kind(told.exc_value),
            extra={"exception": trace(told.exc_value)},
        )


def _unraisable(told: sys.UnraisableHookArgs) -> None:
    if told.exc_value is not None:
        extra = {"exception": trace(told.exc_value)}
        log.error("an error in clearing up: %s", kind(told.exc_value), extra=extra)


# --- from an event to a line ----------------------------------------------------------------------


def _rendering(style: Style) -> list[Processor]:
    if not style.as_text:
        return [_Json(style.replica)]
    colors = os.isatty(_lines.descriptor) and not os.environ.get("NO_COLOR")
    console = structlog.dev.ConsoleRenderer(
        colors=colors,
        sort_keys=False,
        pad_event_to=0,
        timestamp_key="time",
        # The default shows local variables.
        exception_formatter=structlog.dev.plain_traceback,
    )
    return [_printable, console, _encoded]


def _named(logger: Any, method: str, event: EventDict) -> EventDict:
    record: logging.LogRecord = event["_record"]
    event["level"], event["logger"] = record.levelname.lower(), record.name
    return event


def _of_access(logger: Any, method: str, event: EventDict) -> EventDict:
    event["level"], event["logger"] = method, ACCESS
    return event


class _Json:
    """The last step: a JSON line."""

    def __init__(self, replica: str) -> None:
        self._replica = replica

    def __call__(self, logger: Any, method: str, event: EventDict) -> bytes:
        level, name, said = event.pop("level"), event.pop("logger"), event.pop("event")
        return _json_line(level, name, self._replica, said, event)


def _json_line(
    level: str, logger: str, replica: str, event: str, fields: Mapping[str, Any]
) -> bytes:
    """Return the line of an event: time (UTC), level, logger, replica and event, then `fields`."""
    head = {"time": datetime.now(UTC), "level": level, "logger": logger, "replica": replica}
    return to_json({**head, "event": event, **fields})


def to_json(event: Mapping[str, Any]) -> bytes:
    """Return one line, whatever is in it."""
    try:
        line = orjson.dumps(event, default=str, option=orjson.OPT_UTC_Z)
    except TypeError:  # half a surrogate, as in the name of a file that is not UTF-8
        return json.dumps(event, default=str).encode()
    return line if line.isascii() else _BREAKS.sub(_escaped, line)


def _escaped(found: re.Match[bytes]) -> bytes:
    return b"\\u%04x" % ord(found[0].decode())


def _printable(logger: Any, method: str, event: EventDict) -> EventDict:
    event["time"] = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    for key, value in event.items():
        # Traces have several lines, and nothing of a client's.
        if isinstance(value, str) and key != "exception" and not value.isprintable():
            event[key] = "".join(c if c.isprintable() else repr(c)[1:-1] for c in value)
    return event


def _encoded(logger: Any, method: str, text: Any) -> bytes:
    line: str = text
    return line.encode(errors="backslashreplace")


def _decoded(logger: Any, method: str, line: Any) -> str:
    rendered: bytes = line
    return rendered.decode()
