"""Answers to calls of gRPC, without a server."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

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
from app.api.grpc.health import CHECK, WATCH
from app.api.grpc.messages import message_class
from app.api.grpc.rpc import Proxies, Rpc, address_of
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

INFER = "/inference.GRPCInferenceService/ModelInfer"
Asked = message_class("grpc.health.v1.HealthCheckRequest")
State = message_class("grpc.health.v1.HealthCheckResponse")


def rpc(path: str, data: bytes = b"", seconds: float | None = None, **metadata: Any) -> Rpc:
    """A call from a proxy that is believed."""
    lease = BodyLease(BodyRoom(1_000_000))
    sent = [(name.replace("_", "-"), value) for name, value in metadata.items()]
    proxies = Proxies(frozenset({"127.0.0.1"}), "X-Keraport-User")
    return Rpc(path, data, sent, "ipv4:127.0.0.1:5", seconds, lease, proxies)


@pytest.fixture
def lifecycle() -> Lifecycle:
    return Lifecycle()


@pytest.fixture
def answers(tmp_path: Path, lifecycle: Lifecycle) -> Answers:
    """Over a model that is loading."""
    (tmp_path / "mpg").symlink_to(ROOT / "models" / "mpg")
    registry = found(tmp_path)
    parts = Parts(Settings(), ModelAccess(registry), lifecycle, None)
    return Answers(parts, AccessLog(access_logger(), 0), Metrics(registry))


def infer(answers: Answers, **metadata: Any) -> Reply:
    request = message_class("inference.ModelInferRequest")(model_name="mpg")
    return answers.answer(rpc(INFER, request.SerializeToString(), **metadata))


@pytest.mark.parametrize(("offered", "where"), [("other", "@grpc_other"), ("hold", "@grpc_hold")])
def test_nginx_sends_a_call_elsewhere_while_this_process_starts_or_ends(
    answers: Answers, lifecycle: Lifecycle, offered: str, where: str
) -> None:
    wrong = answers.answer(rpc("/no.Such/Method", x_keraport_fallback=offered))
    assert "x-accel-redirect" not in dict(wrong.trailers)
    for refusing in (False, True):
        lifecycle.draining = lifecycle.refusing = refusing
        reply = infer(answers, x_keraport_fallback=offered)
        assert reply.code is StatusCode.UNAVAILABLE
        assert dict(reply.trailers)["x-accel-redirect"] == where
        assert ("shutting down" in reply.details) == refusing
        # Neither without nginx, nor for what is no fault of this process.
        assert "x-accel-redirect" not in dict(infer(answers).trailers)


def test_health_is_told_to_nginx_until_the_end(answers: Answers, lifecycle: Lifecycle) -> None:
    lifecycle.draining = lifecycle.refusing = True
    reply = answers.answer(rpc(CHECK, x_keraport_fallback="other"))
    assert State.FromString(reply.message).status == State.NOT_SERVING


def test_only_proxies_name_users_and_addresses() -> None:
    sent: dict[str, Any] = {"x_keraport_user": " ada ", "x_forwarded_for": "192.0.2.1, 192.0.2.2"}
    believed = rpc("/a/b", **sent, x_keraport_fallback="other")
    assert (believed.record.user, believed.environ["REMOTE_ADDR"]) == ("ada", "192.0.2.2")
    assert believed.fallback == "other"
    metadata = [(name.replace("_", "-"), value) for name, value in sent.items()]
    metadata.append(("x-keraport-fallback", "other"))
    lease = BodyLease(BodyRoom(1_000_000))
    for proxies in (Proxies(), Proxies(frozenset({"192.0.2.9"}), "X-Keraport-User")):
        other = Rpc("/a/b", b"", metadata, "ipv4:127.0.0.1:5", None, lease, proxies)
        assert (other.record.user, other.fallback) == (None, None)
        assert other.environ["REMOTE_ADDR"] == "127.0.0.1"


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
