"""Answers to calls of gRPC, without a server."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from grpc import StatusCode

from app.api.bodies.body_room import BodyLease, BodyRoom
from app.api.grpc.answers import Answers
from app.api.grpc.errors import (
    _CODES,
    MAX_MESSAGE,
    PUSHBACK,
    Reply,
    Unsupported,
    error_reply,
    http_status,
)
from app.api.grpc.health import WATCH
from app.api.grpc.messages import message_class
from app.api.grpc.rpc import Rpc, address_of
from app.api.grpc.services import Parts
from app.api.http.access import ModelAccess
from app.api.http.errors import STATUS
from app.api.telemetry.access_log import AccessLog
from app.api.telemetry.metrics import Metrics
from app.api.telemetry.record import Record
from app.errors import BadRequest, InferenceError, InvalidInput, ModelUnavailable
from app.lifecycle import Lifecycle
from app.logs import access_logger
from app.settings import Settings
from tests.registries import found
from tests.support import ROOT

Asked = message_class("grpc.health.v1.HealthCheckRequest")
State = message_class("grpc.health.v1.HealthCheckResponse")


def rpc(path: str, data: bytes = b"", seconds: float | None = None) -> Rpc:
    lease = BodyLease(BodyRoom(1_000_000))
    return Rpc(path, data, [], "ipv4:127.0.0.1:5", seconds, lease)


@pytest.fixture
def answers(tmp_path: Path) -> Answers:
    """Over a model that is loading."""
    (tmp_path / "mpg").symlink_to(ROOT / "models" / "mpg")
    registry = found(tmp_path)
    parts = Parts(Settings(), ModelAccess(registry), Lifecycle(), None)
    return Answers(parts, AccessLog(access_logger(), 0), Metrics(registry))


def test_a_client_that_watches_keeps_no_version(answers: Answers) -> None:
    call = rpc(WATCH, Asked(service="mpg").SerializeToString())
    for first in (True, False, False):
        answer = answers.watched(call, first=first)
        assert isinstance(answer, bytes)
        assert State.FromString(answer).status == State.NOT_SERVING
        assert call.record.entries == []


def test_what_is_not_there_yet_may_come(answers: Answers) -> None:
    call = rpc(WATCH, Asked(service="gone").SerializeToString())
    answer = answers.watched(call, first=True)
    assert isinstance(answer, bytes)
    assert State.FromString(answer).status == State.SERVICE_UNKNOWN
    broken = answers.watched(rpc(WATCH, b"\xff"), first=True)
    assert isinstance(broken, Reply)
    assert broken.code is StatusCode.INVALID_ARGUMENT


def test_every_error_has_a_status() -> None:
    # gRPC has neither methods of HTTP nor its addresses.
    assert set(_CODES) == set(STATUS) - {"method_not_allowed"}


def test_statuses_and_when_to_try_again() -> None:
    reply = error_reply(ModelUnavailable("loading", 7), Record())
    assert (reply.code, reply.details) == (StatusCode.UNAVAILABLE, "loading")
    assert reply.trailers == ((PUSHBACK, "7000"),)
    assert error_reply(Unsupported("no"), Record()).code is StatusCode.UNIMPLEMENTED
    assert [http_status(e) for e in (Unsupported("no"), InvalidInput("no"))] == [400, 400]


def test_errors_of_the_server_are_logged_and_not_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        reply = error_reply(ZeroDivisionError("secret"), Record(id="1"))
        told = error_reply(InferenceError("of the model"), Record(id="2"))
    assert reply.code is told.code is StatusCode.INTERNAL
    assert "secret" not in reply.details
    assert told.details == "of the model"
    assert len(caplog.records) == 2


@pytest.mark.parametrize(("text", "width"), [("a", 1), (" ", 1), ("%", 3), ("ü", 6), ("\n", 3)])
def test_messages_are_cut_at_what_metadata_holds(text: str, width: int) -> None:
    longest = text * (MAX_MESSAGE // width)
    assert error_reply(BadRequest(longest), Record()).details == longest
    cut = error_reply(BadRequest(longest + text * width), Record()).details
    assert cut.endswith("…")
    assert longest.startswith(cut[:-1])
    assert len(cut) > len(longest) // 2


def test_a_cancelled_call_says_by_whom() -> None:
    late, gone = rpc("/a/b", seconds=0.01), rpc("/a/b", seconds=60)
    for call, code in ((late, "deadline_exceeded"), (gone, "client_disconnected")):
        call.cancel()
        with pytest.raises(Exception) as caught:  # noqa: PT011 - its code is compared
            call.start_call(30)
        assert getattr(caught.value, "code", None) == code


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:127.0.0.1:1234", "127.0.0.1"),
        ("ipv6:[::1]:1234", "::1"),
        ("ipv6:%5B::1%5D:1234", "::1"),
        ("unix:/tmp/socket", "/tmp/socket"),
    ],
)
def test_addresses(peer: str, address: str) -> None:
    assert address_of(peer) == address
