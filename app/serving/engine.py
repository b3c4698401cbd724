"""One model version's session and queue: arrays in, arrays out, for every kind of model and every
protocol."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from app.serving.batching import Array, Batcher, Route
from app.serving.call import Call
from app.serving.card import Runtime
from app.serving.runtime import ModelSession
from app.serving.signature import Converted, PictureFeed, SignatureDef, TensorSpec


class Engine:
    """Runs rows of any number, in batches shared with other requests.

    signatures: what may be asked, by name; the pictures of a model that is fed with them have the
    size of `picture`. on_run: told in the model's thread of each run, with its rows
    and how many nanoseconds it took. on_take: as for `Batcher`.
    Raises LoadError where TensorFlow refuses the model.
    """

    def __init__(
        self,
        name: str,
        runtime: Runtime,
        converted: Converted,
        *,
        picture: PictureFeed | None = None,
        on_run: Callable[[int, int], None] = lambda rows, ns: None,
        on_take: Callable[[int, int], None] = lambda jobs, ns: None,
    ) -> None:
        self.default = converted.name
        self.signatures = {converted.name: converted.signature, **converted.others}
        self._picture = picture is not None
        if picture is not None:
            self.signatures[converted.name] = _sized(converted.signature, picture)
        self._session = ModelSession(converted, runtime, picture)
        self._on_run = on_run
        self._batcher = Batcher(
            self._run_batch,
            name=name,
            max_batch_size=runtime.max_batch_size,
            max_delay_s=runtime.max_delay_ms / 1000,
            on_take=on_take,
        )

    def run(
        self,
        inputs: Sequence[Array],
        call: Call,
        signature: str | None = None,
        *,
        finite: bool = True,
    ) -> list[Array]:
        """One array an output. Blocks the greenlet.

        inputs, signature: as for `ModelSession.run`. finite: whether NaN and Infinity are errors.
        Rows beyond a batch go in part by part, so that a long list shares the model with the
        others instead of filling the queue.
        Raises DeadlineExceeded, NonFiniteOutput, InvalidInput, InferenceError, and whatever `call`
        was cancelled with.
        """
        definition = self.signatures[signature or self.default]
        if signature == self.default and not self._picture:
            signature = None
        route = Route(signature, definition.batchable, finite)
        most = self._batcher.max_batch_size
        rows = len(inputs[0]) if inputs and inputs[0].ndim else 1
        fixed = self._fixed_rows(definition)
        if fixed is not None:
            most = fixed
        elif not definition.batchable or rows <= most:
            return self._batcher.submit(inputs, call, route).wait(call)
        parts = []
        for start in range(0, rows, most):
            part = [a[start : start + most] for a in inputs]
            short = most - len(part[0]) if fixed is not None else 0
            if short:
                part = [np.concatenate([a, np.repeat(a[-1:], short, axis=0)]) for a in part]
            outputs = self._batcher.submit(part, call, route).wait(call)
            parts.append([out[: most - short] for out in outputs])
        return [np.concatenate(column) for column in zip(*parts, strict=True)]

    def _fixed_rows(self, definition: SignatureDef) -> int | None:
        """A model of pictures whose batch dimension is fixed gets exactly so many rows, filled up
        if need be."""
        shape = definition.inputs[0].shape if self._picture else None
        return shape[0] if shape else None

    def _run_batch(self, inputs: Sequence[Array], signature: str | None) -> list[Array]:
        """In the model's thread."""
        started = time.monotonic_ns()
        outputs = self._session.run(inputs, signature)
        rows = len(inputs[0]) if inputs and inputs[0].ndim else 1
        self._on_run(rows, time.monotonic_ns() - started)
        return outputs

    @property
    def weight_bytes(self) -> int:
        """What the weights take in memory."""
        return self._session.weight_bytes

    @property
    def running(self) -> list[int]:
        """As `Batcher.running`."""
        return self._batcher.running

    def abandon(self) -> None:
        """As `Batcher.abandon`."""
        self._batcher.abandon()

    def close(self) -> None:
        """Finish what waits, then free the session. Not from the hub while it serves."""
        self._batcher.close()
        self._session.close()


def _sized(signature: SignatureDef, picture: PictureFeed) -> SignatureDef:
    """With the size that a card has chosen for a model that takes any."""
    only = signature.inputs[0]
    shape = (None if only.shape is None else only.shape[0], *picture.shape)
    sized = TensorSpec(only.name, only.node, only.dtype, shape, pictures=True)
    return SignatureDef((sized,), signature.outputs, signature.method)
