"""The check of API keys of reflection, which grpcio-reflection answers without the hub."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc

REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/"


class KeyForReflection(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Refuses reflection, which answers without the hub, to clients without a key."""

    def __init__(self, check: Callable[[str, Any], Any]) -> None:
        self._check = check

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        """Return the handler of a call."""
        handler = await continuation(details)
        if not details.method.startswith(REFLECTION) or handler is None:
            return handler

        async def checked(requests: Any, context: Any) -> AsyncIterator[Any]:
            refused = await self._check(details.method, context)
            if refused is not None:
                await context.abort(refused.code, refused.details, refused.trailers)
            async for answer in handler.stream_stream(requests, context):
                yield answer

        return grpc.stream_stream_rpc_method_handler(
            checked, handler.request_deserializer, handler.response_serializer
        )
