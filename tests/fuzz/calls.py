"""Mutated messages and frames of gRPC.

`python -m tests.fuzz.calls --count 100000` sends them to a server of its own, over loopback only.
"""

from __future__ import annotations

import argparse
import random
import socket
import struct
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import h2.connection
import numpy as np
from hpack import Decoder, HPACKError
from hyperframe.exceptions import HyperframeError
from hyperframe.frame import Frame, HeadersFrame

from app.api.grpc.messages import message_class
from tests.rpc import INFER, PATIENCE_S, PREDICT, STREAM, predict_request

# Of calls that are whole: whatever is in their messages.
DOCUMENTED = {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "UNIMPLEMENTED"}
# Of frames as well: messages that end before their end, are packed in no way that is known, or that
# the client has given up; `grpc-timeout`s that are over.
OF_FRAMES = DOCUMENTED | {
    *("CANCELLED", "DEADLINE_EXCEEDED", "INTERNAL", "RESOURCE_EXHAUSTED", "UNAVAILABLE"),
}
CLIENTS = 8
# Seconds without a byte after which no answer is waited for: most broken frames get none.
QUIET_S = 0.05
# Bytes with which each connection of HTTP/2 begins.
PREFACE = 24
_NAMES = {code.value[0]: code.name for code in grpc.StatusCode}


def infer_request() -> bytes:
    request = message_class("inference.ModelInferRequest")(model_name="half", id="a")
    request.inputs.add(name="x", datatype="FP32", shape=[2, 1]).contents.fp32_contents.extend(
        [1.0, 2.0]
    )
    request.outputs.add(name="y").parameters["classification"].int64_param = 1
    encoded: bytes = request.SerializeToString()
    return encoded


def seeds() -> list[tuple[str, bytes]]:
    """Valid calls of the models of `tests.v2`."""
    floats = np.ones((2, 3), np.float32)
    texts = np.array([[b"a", b"bc"]], object)
    half = predict_request("half", x=np.array([[1]], np.float32), only=("y",), version=3)
    return [
        (PREDICT, predict_request("numbers", fp32=floats).SerializeToString()),
        (PREDICT, predict_request("texts", bytes=texts).SerializeToString()),
        (PREDICT, half.SerializeToString()),
        (INFER, infer_request()),
    ]


def mutated(data: bytes, draw: random.Random, start: int = 0) -> bytes:
    """Some bytes changed, left out or put in, from `start` on."""
    out = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 4))):
        at = draw.randrange(start, max(start + 1, len(out)))
        match draw.randrange(4):
            case 0 if out:
                out[min(at, len(out) - 1)] ^= 1 << draw.randrange(8)
            case 1 if out:
                out[min(at, len(out) - 1)] = draw.choice((0, 1, 0x7F, 0x80, 0xFF))
            case 2:
                del out[at : at + draw.randrange(1, 5)]
            case _:
                out[at:at] = data[draw.randrange(len(data)) :][: draw.randrange(1, 9)]
    return bytes(out)


def send_messages(address: str, count: int, seed: int) -> Counter[str]:
    """Send so many mutated messages in whole calls. Returns the statuses."""
    draw, found, valid = random.Random(seed), Counter[str](), seeds()
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(address, options) as channel:
        for _ in range(count):
            path, data = draw.choice(valid)
            call = channel.unary_unary(path).future(mutated(data, draw), timeout=60)
            error = call.exception()
            found["OK" if error is None else error.code().name] += 1
    return found


def send_frames(address: str, count: int, seed: int) -> Counter[str]:
    """Send so many connections of mutated frames. Returns the statuses, as far as there are any."""
    draw, found, valid = random.Random(seed), Counter[str](), seeds()
    host, _, port = address.rpartition(":")
    for _ in range(count):
        path, data = draw.choice(valid)
        sent = _frames(draw.choice((path, path, STREAM)), data, draw)
        with _connected(host, int(port)) as client:
            client.settimeout(QUIET_S)
            with suppress(OSError):  # the server has closed it
                client.sendall(sent)
            found[_status(_received(client))] += 1
    return found


def _connected(host: str, port: int) -> socket.socket:
    """A connection. A path that is not UTF-8 ends grpcio's server, which is then started again."""
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            return socket.create_connection((host, port), PATIENCE_S)
        except ConnectionRefusedError:
            if time.monotonic() > until:
                raise
            time.sleep(QUIET_S)


def _frames(path: str, message: bytes, draw: random.Random) -> bytes:
    """What a client sends for a call, with something wrong in it."""
    client = h2.connection.H2Connection()
    client.initiate_connection()
    headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("grpc-timeout", draw.choice(("9S", "1m", "99999999H"))),
        ("grpc-encoding", draw.choice(("identity", "gzip", "deflate"))),
    ]
    client.send_headers(1, headers)
    packed, length = draw.choice((0, 0, 0, 1, 7)), len(message)
    if draw.random() < 0.3:
        length = draw.choice((0, 1, length - 1, length + 1, 2**24, 2**32 - 1))
    client.send_data(1, struct.pack(">BI", packed, length) + message, end_stream=True)
    # Mostly behind the preface, without which nothing is read.
    return mutated(client.data_to_send(), draw, 0 if draw.random() < 0.1 else PREFACE)


def _received(client: socket.socket) -> bytes:
    got = bytearray()
    with suppress(OSError):
        while piece := client.recv(65536):
            got += piece
            if b"grpc-status" in got:
                break
    return bytes(got)


def _status(got: bytes) -> str:
    """The status in the frames of an answer: of gRPC, else of HTTP, else none."""
    decoder, status, at = Decoder(), "none", 0
    while at + 9 <= len(got):
        try:
            frame, length = Frame.parse_frame_header(memoryview(got[at : at + 9]))
            frame.parse_body(memoryview(got[at + 9 : at + 9 + length]))
            if isinstance(frame, HeadersFrame):
                headers: dict[Any, Any] = dict(decoder.decode(frame.data))
                code = headers.get("grpc-status")
                if code is not None:
                    return str(_NAMES.get(int(code), f"grpc-status {code}"))
                if headers.get(":status") != "200":
                    status = f"HTTP {headers.get(':status')}"
        except (HyperframeError, HPACKError):
            return "no frame"
        at += 9 + length
    return status


def run(address: str, count: int, seed: int) -> tuple[Counter[str], Counter[str]]:
    """Send so many messages and a quarter as many frames, by several clients. Returns the statuses
    of both."""
    with ThreadPoolExecutor(CLIENTS) as pool:

        def all_of(send: Any, total: int) -> Counter[str]:
            share = -(-total // CLIENTS)
            parts = [pool.submit(send, address, share, seed + i) for i in range(CLIENTS)]
            return sum((part.result() for part in parts), Counter[str]())

        return all_of(send_messages, count), all_of(send_frames, count // 4)


def main() -> None:
    """Send them to a server of its own, and say what came back and what it cost."""
    from tests.support import serving
    from tests.v2 import save_v2_models

    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.calls", description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="of messages (default: 10,000)")
    parser.add_argument("--seed", type=int, default=0, help="of what is random (default: 0)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        folder = Path(name)
        save_v2_models(folder / "models")
        with serving(folder / "models", folder, grpc_port=0) as server:
            run(server.grpc, 2_000, options.seed - 1)
            before = server.rss
            messages, frames = run(server.grpc, options.count, options.seed)
            print(f"messages: {dict(messages.most_common())}")
            print(f"frames: {dict(frames.most_common())}")
            print(f"memory: {before:,} bytes before, {server.rss:,} after")
            log = server.log()
            print(f"errors of the server: {log.count('a request failed')}")


if __name__ == "__main__":
    main()
