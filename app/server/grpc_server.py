"""The gRPC server: grpcio's own, on an asyncio loop in a thread of its own.

It moves bytes; what they mean is decided in the hub, where the models' queues, keys and statistics
are. See docs/decisions/0045-grpc.md.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, TypeVar

import grpc
from grpc_reflection.v1alpha import reflection

from app.api.bodies.body_room import SMALL, BodyLease, BodyRoom
from app.api.grpc import health, inference_service, prediction_service
from app.api.grpc.answers import Answers
from app.api.grpc.errors import Reply
from app.api.grpc.inference_service import stream_answer, stream_error
from app.api.grpc.messages import POOL, message_class
from app.api.grpc.rpc import Proxies, Rpc
from app.api.http.proxy import TrustedAddresses
from app.errors import Detail, Overloaded, SettingsError
from app.server.hub_calls import HubCalls
from app.server.reading_slots import ReadingSlots, TooSlow
from app.server.reflection_key import REFLECTION, KeyForReflection
from app.serving.limits import Limits
from app.settings import Settings

log = logging.getLogger(__name__)

T = TypeVar("T")
# Seconds after which a connection without traffic is asked whether it is still there, and that the
# answer may take.
KEEPALIVE_S, KEEPALIVE_TIMEOUT_S = 60, 20
# Seconds that a client has to leave between two such questions of its own.
LEAST_PING_S = 10
# Compressions of an answer, by their names in `accept-encoding`. grpcio compresses in the loop's
# thread: 1 MB takes it about 20 ms.
CODINGS = {"gzip": grpc.Compression.Gzip, "deflate": grpc.Compression.Deflate}
MOST_COMPRESSED = 1_000_000
# Calls of one connection at a time, and of one stream that are answered at a time.
MAX_STREAMS = 1000
MOST_AHEAD = 16
# Streams at a time: each may be sending a message of any size, or looks at a state.
MOST_STREAMS = 100
# Seconds between two attempts to take the port again.
AGAIN_S = 0.05
# Seconds between two looks at the state of what a client watches.
WATCH_S = 0.5
NAMES = (
    *(prediction_service.SERVICE, prediction_service.MODEL_SERVICE),
    *(inference_service.SERVICE, health.SERVICE, reflection.SERVICE_NAME),
)


class GrpcServer:
    """A server at the address of the settings.

    stopping: whether this process takes no new work. shared: whether other processes listen on the
    same port.
    """

    def __init__(
        self,
        settings: Settings,
        answers: Answers,
        room: BodyRoom,
        stopping: Callable[[], bool],
        *,
        shared: bool = False,
    ) -> None:
        self._settings = settings
        self._answers = answers
        self._room = room
        self._stopping = stopping
        proxies = TrustedAddresses(settings.forwarded_allow_ips)
        self._proxies = Proxies(proxies, settings.trusted_user_header)
        self._calls = HubCalls()
        logging.getLogger("grpc._cython.cygrpc").addFilter(_quotes_nothing)
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="grpc", daemon=True).start()
        self._stopped: Future[None] | None = None
        limits = Limits.of(settings)
        self._slots = ReadingSlots(limits.max_bodies_bytes // limits.max_body_bytes)
        self._streams = 0
        self._open = 0
        self._behind_nginx = self._ending = False
        self._shared = shared or settings.reuse_port
        self._server: Any = None
        self._port = 0

    @property
    def in_flight(self) -> int:
        """The number of calls that are being answered."""
        return self._answers.in_flight

    @property
    def ended(self) -> bool:
        """Whether every call has got its answer since `stop`."""
        if self._behind_nginx:
            return self._open == 0
        return self._stopped is not None and self._stopped.done()

    def listen(self) -> None:
        """Take the port. Raises SettingsError if another program has it."""
        assert self._settings.grpc_port is not None, "there is gRPC"
        self._port = self._in_loop(self._bind(self._settings.grpc_port)).result()

    def start(self) -> int:
        """Serve, from the hub's thread, on the port, which is returned. Raises what `listen`
        raises."""
        if self._server is None:
            self.listen()
        self._calls.open()
        self._in_loop(self._serve()).result()
        return self._port

    def stop(self, seconds: float) -> None:
        """Take no new calls, and let those in flight finish within so many seconds. Does not wait
        for that.

        Calls through nginx are refused from now on, and sent to the other replica. grpcio itself
        runs on: while it stops, it cancels what arrives. When the process ends, the connections
        break, and nginx sends what was on its way to the other one as well.
        """
        if self._behind_nginx:
            return
        self._stopped = self._in_loop(self._close(seconds))

    def _in_loop(self, coroutine: Any) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    # --- in the loop's thread ------------------------------------------------------------------

    async def _serve(self) -> None:
        await self._server.start()
        self._watching = asyncio.create_task(self._start_again())

    async def _start_again(self) -> None:
        """Start another server whenever one ends by itself. grpcio's ends at a path that is not
        UTF-8, with all its connections."""
        while True:
            with suppress(Exception):  # that which has ended it
                await self._server.wait_for_termination()
            if self._ending:
                return
            log.error("the gRPC server has ended by itself, and starts again")
            await self._server.stop(0)
            while True:
                with suppress(SettingsError):  # the port is not free yet
                    await self._bind(self._port)
                    break
                await asyncio.sleep(AGAIN_S)
            await self._server.start()

    async def _bind(self, port: int) -> int:
        options = _options(self._settings, shared=self._shared)
        self._server = grpc.aio.server(
            options=options, interceptors=[KeyForReflection(self._check_key)]
        )
        self._server.add_generic_rpc_handlers((_Handlers(self),))
        reflection.enable_server_reflection(NAMES, self._server, pool=POOL)
        host = self._settings.host
        address = f"[{host}]" if ":" in host else host
        try:
            found: int = self._server.add_insecure_port(f"{address}:{port}")
        except RuntimeError:
            found = 0
        if not found:
            problem = f"gRPC cannot listen there at {host}: another program has the port"
            detail = Detail("KERAPORT_GRPC_PORT", problem, self._settings.grpc_port)
            raise SettingsError("the settings have a problem:", [detail])
        return found

    async def _close(self, seconds: float) -> None:
        self._ending = True
        if self._server is not None:
            await self._server.stop(seconds)

    def _rpc(self, path: str, data: bytes, context: Any, **more: Any) -> Rpc:
        rpc = Rpc(
            path,
            data,
            context.invocation_metadata() or (),
            context.peer(),
            context.time_remaining(),
            BodyLease(self._room),
            self._proxies,
            **more,
        )
        self._behind_nginx = self._behind_nginx or rpc.fallback is not None
        return rpc

    async def _check_key(self, path: str, context: Any) -> Reply | None:
        rpc = self._rpc(path, b"", context)
        return await self._calls.run(partial(self._answers.check_key, rpc))

    def _count(self, context: Any) -> None:
        """Count a call until its answer has been sent; one that is refused does not count."""
        if self._stopping():
            return
        self._open += 1

        def ended(_: Any) -> None:
            self._open -= 1

        context.add_done_callback(ended)

    async def answer(self, path: str, context: Any) -> bytes:
        """Answer a call with one request and one answer."""
        self._count(context)
        try:
            data, slot = await self._slots.read(context.read)
        except TooSlow:
            problem = "the message came slowly, while others waited: send the request again"
            rpc = self._rpc(path, b"", context, refused=Overloaded(problem))
        else:
            if data is grpc.aio.EOF:
                data = b""
            if len(data) <= SMALL:
                slot.end()
            ended = partial(self._loop.call_soon_threadsafe, slot.end)
            rpc = self._rpc(path, data, context, has_room=ended if len(data) > SMALL else _nothing)
        reply = await self._calls.run(partial(self._answers.answer, rpc), rpc.cancel)
        if reply.code is not grpc.StatusCode.OK:
            await context.abort(reply.code, reply.details, reply.trailers)
        coding = CODINGS.get(rpc.environ.get("HTTP_ACCEPT_ENCODING", ""))
        if coding is not None and len(reply.message) <= MOST_COMPRESSED:
            context.set_compression(coding)
            await context.send_initial_metadata(())  # grpcio names the coding only if asked to
        context.set_trailing_metadata(reply.trailers)
        return reply.message

    async def watch(self, data: bytes, context: Any) -> AsyncIterator[bytes]:
        """Send the state of a service, and again each time that it changes."""
        rpc = self._rpc(health.WATCH, data, context)
        sent = None
        async with self._place(context):
            while True:
                watched = partial(self._answers.watched, rpc, first=sent is None)
                found = await self._calls.run(watched)
                if isinstance(found, Reply):
                    await context.abort(found.code, found.details, found.trailers)
                elif found != sent:
                    sent = found
                    yield found
                if self._stopping():
                    return
                await asyncio.sleep(WATCH_S)

    async def stream_infer(
        self, requests: AsyncIterator[bytes], context: Any
    ) -> AsyncIterator[bytes]:
        """Answer the requests of a stream, in their order, several small ones at a time."""
        tasks: asyncio.Queue[_Asked | None] = asyncio.Queue(MOST_AHEAD)
        self._count(context)

        async def read() -> None:
            with suppress(Exception):  # the client has gone
                async for data in requests:
                    if self._stopping():
                        return  # _next ends the stream
                    asked = _Asked()
                    asked.task = asyncio.create_task(self._streamed(data, context, asked))
                    await tasks.put(asked)
                    if len(data) > SMALL:
                        await asyncio.wait([asked.task])
            await tasks.put(None)

        answering: list[_Asked] = []
        async with self._place(context):
            reading = asyncio.create_task(read())
            try:
                while (asked := await self._next(tasks, context)) is not None:
                    answering = [asked]
                    while (answer := await asked.answers.get()) is not None:
                        yield answer
                    await asked.task
            finally:
                reading.cancel()
                left = [tasks.get_nowait() for _ in range(tasks.qsize())]
                for each in filter(None, [*answering, *left]):
                    each.task.cancel()

    async def _next(self, tasks: asyncio.Queue[T], context: Any) -> T:
        """Return the next answer of a stream. Ends a stream that is idle once the server stops."""
        while True:
            try:
                return await asyncio.wait_for(tasks.get(), WATCH_S)
            except TimeoutError:
                if self._stopping():
                    problem = "this server is shutting down: open the stream again"
                    await context.abort(grpc.StatusCode.UNAVAILABLE, problem)

    @asynccontextmanager
    async def _place(self, context: Any) -> AsyncIterator[None]:
        """Count a stream while it is open, if there is room for it."""
        if self._streams >= MOST_STREAMS:
            problem = f"{MOST_STREAMS} streams are open, the limit of this server"
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, problem)
        self._streams += 1
        try:
            yield
        finally:
            self._streams -= 1

    async def _streamed(self, data: bytes, context: Any, asked: _Asked) -> None:
        """Put the answers to a request on a stream into `asked`, then None."""

        def emit(message: bytes) -> None:  # in the hub's thread
            put = partial(asked.answers.put_nowait, stream_answer(message))
            self._loop.call_soon_threadsafe(put)

        try:
            rpc = self._rpc(inference_service.STREAM, data, context, emit=emit)
            reply = await self._calls.run(partial(self._answers.answer, rpc), rpc.cancel)
            last = stream_answer(reply.message)
            if reply.code is not grpc.StatusCode.OK:
                last = stream_error(reply.details, _id_of(data))
            asked.answers.put_nowait(last)
        finally:
            asked.answers.put_nowait(None)


class _Asked:
    """A request on a stream. answers: None after the last one."""

    task: asyncio.Task[None]

    def __init__(self) -> None:
        self.answers: asyncio.Queue[bytes | None] = asyncio.Queue()


class _Handlers(grpc.GenericRpcHandler):  # type: ignore[misc]
    """The methods, found by their paths."""

    def __init__(self, server: GrpcServer) -> None:
        self._server = server

    def service(self, details: Any) -> Any:
        """Return the handler of a call."""
        path, server = details.method, self._server
        if path.startswith(REFLECTION):
            return None
        if path == inference_service.STREAM:
            return grpc.stream_stream_rpc_method_handler(server.stream_infer)
        if path == health.WATCH:
            return grpc.unary_stream_rpc_method_handler(server.watch)

        # As if it had a stream of requests: those are read when it asks for them.
        async def answer(_: Any, context: Any) -> bytes:
            return await server.answer(path, context)

        return grpc.stream_unary_rpc_method_handler(answer)


def _options(settings: Settings, *, shared: bool) -> list[tuple[str, int]]:
    """Return the arguments of the server's channels (grpc/impl/channel_arg_names.h)."""
    return [
        ("grpc.max_receive_message_length", settings.max_body_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.so_reuseport", int(shared)),
        ("grpc.max_concurrent_streams", MAX_STREAMS),
        # Windows stay small until a message is read.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.keepalive_time_ms", KEEPALIVE_S * 1000),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_S * 1000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", LEAST_PING_S * 1000),
    ]


def _quotes_nothing(record: logging.LogRecord) -> bool:
    """Whether a line of grpcio's log is without metadata that a client has sent."""
    return not str(record.msg).startswith("Invalid encoding on")


def _nothing() -> None:
    """Do nothing: its turn has ended."""


def _id_of(data: bytes) -> str:
    """Return the id of a request on a stream, for the answer that says what is wrong with it."""
    with suppress(Exception):
        found: str = message_class("inference.ModelInferRequest").FromString(data).id
        return found
    return ""
