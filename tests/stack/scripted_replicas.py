"""Two replicas that follow a script, for tests of nginx alone: run this file in a network
namespace that has the two addresses, with what each one does with requests before it is ready.

Its first line of output tells that both are there. Seconds later both are ready.
"""

from __future__ import annotations

import asyncio
import json
import sys

ADDRESSES = ("172.16.239.10", "172.16.239.11")
# refuses: nothing listens. breaks: it takes a request and closes the connection. stops: it answers
# that it is stopping, as `app.api.http.errors` does.
KINDS = ("refuses", "breaks", "stops")
READY_AFTER_S = 2.0


class Replica:
    """One of them. kind: of KINDS."""

    def __init__(self, address: str, kind: str) -> None:
        self.address = address
        self.kind = kind
        self.ready = False
        self.broken = 0

    async def listen(self) -> None:
        await asyncio.start_server(self._connection, self.address, 5000)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        fields = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines[1:])}
        await reader.readexactly(int(fields.get("content-length", 0)))
        health = lines[0].split()[1] == "/readyz"
        if self.ready:
            broken = sum(r.broken for r in replicas)
            trace = [fields.get(name) for name in ("traceparent", "tracestate")]
            writer.write(_answer(200, {"broken": broken, "trace": trace}))
        elif health or self.kind == "stops":
            location = {"other": "@other", "hold": "@hold"}.get(
                fields.get("x-keraport-fallback", "")
            )
            writer.write(_answer(503, {}, location))
        else:
            self.broken += 1
        writer.close()


def _answer(status: int, body: object, location: str | None = None) -> bytes:
    text = json.dumps(body)
    redirect = f"X-Accel-Redirect: {location}\r\n" if location else ""
    head = f"HTTP/1.1 {status} Scripted\r\nConnection: close\r\n{redirect}"
    head += f"Content-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n"
    return (head + text).encode()


async def main() -> None:
    for replica in replicas:
        if replica.kind != "refuses":
            await replica.listen()
    print("there", flush=True)
    await asyncio.sleep(READY_AFTER_S)
    for replica in replicas:
        replica.ready = True
        if replica.kind == "refuses":
            await replica.listen()
    await asyncio.Event().wait()


if __name__ == "__main__":
    replicas = [Replica(*each) for each in zip(ADDRESSES, sys.argv[1:], strict=True)]
    asyncio.run(main())
