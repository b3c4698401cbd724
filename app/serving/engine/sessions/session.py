"""One `tf.Graph` and one `Session` per model version.

TensorFlow has two thread pools. The intra-op pool, which divides the work of one operation, belongs
to the whole process, and the first session sets its size: every session asks for as many threads as
there are usable cores, so that their order does not matter. The inter-op pool, which runs
operations in parallel, is shared as well, unless `runtime.threads` in a card gives its model a pool
of that size. Ten models without that setting have no more threads than one.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from app.errors import DeadlineExceeded, InferenceError, InvalidInput, LoadError
from app.serving.arrays import Array
from app.serving.cards.card import Runtime
from app.serving.engine.run_size import RUN_S
from app.serving.engine.sessions import tf
from app.serving.engine.sessions.config import session_config
from app.serving.engine.sessions.device import device_name
from app.serving.engine.sessions.reduced import reduced
from app.serving.engine.sessions.weights import add_weights, nbytes
from app.serving.engine.sessions.xla import compiles, row_sizes
from app.serving.pixels import scaled
from app.serving.reductions import Reduction
from app.serving.signature import (
    Converted,
    PictureFeed,
    SignatureDef,
    TensorSpec,
    Weight,
    with_pictures,
)

# Seconds between a failed run and the end of its session.
CLOSE_AFTER_S = 0.1
# Messages of TensorFlow about an operation without a kernel for the devices, or for the types of
# its tensors (core/framework/op_kernel.cc, core/common_runtime/placer.cc).
_NO_KERNEL = re.compile(
    r"No (?:OpKernel was registered to support Op|registered) '(?P<op>\w+)'"
    r"|Cannot assign a device for operation"
)

# What TensorFlow raises for inputs that a model does not take; oneDNN aborts on those that are too
# small for a layer.
_REFUSALS = (tf.errors.InvalidArgumentError, tf.errors.AbortedError)


class ModelSession:
    """A converted model in its own graph and session, warmed up. weight_bytes: the size of its
    constants and variables. sizes: the numbers of rows that runs should have, in ascending order,
    if TensorFlow would compile parts of the model for any other; else empty. warm_up: the rows of
    the last successful run of the warm-up, and its nanoseconds, by signature.

    pictures: how inputs that take pictures are fed, by their names. reductions: of outputs of the
    model as it is served, by their names.
    example: a row to warm up with if zeros may not do, because shapes are open or inputs are texts;
    one array per input, of shape (1, …).
    Raises LoadError if TensorFlow refuses the model, or fails on a batch of zeros.
    """

    def __init__(
        self,
        model: Converted,
        runtime: Runtime,
        pictures: Mapping[str, PictureFeed] | None = None,
        example: Sequence[Array] | None = None,
        reductions: Mapping[str, Reduction] | None = None,
    ) -> None:
        self._inputs = model.signature.inputs
        self._pictures = pictures or {}
        self._example = example
        self._calls: dict[str | None, Callable[..., list[Array]]] = {}
        self.sizes: list[int] = []
        self.warm_up: dict[str | None, tuple[int, int]] = {}
        graph = tf.Graph()
        config = session_config(runtime, optimised=model.frozen)
        self._session = tf.Session(graph=graph, config=config)
        self.device = device_name(self._session)
        with closed_on_failure(self._session):
            with graph.as_default():
                feeds, replaced = self._feeds()
                assignments = self._restore(model, replaced)
                signatures = {model.name: model.signature, **model.others}
                fetches = {name: self._fetches(s) for name, s in signatures.items()}
                served = fetches[model.name]
                if reductions:
                    served = reduced(served, model.signature.outputs, reductions)
            # Nothing is added to the graph from here on.
            if assignments:
                self._session.run(assignments)
            call = self._session.make_callable(served, feed_list=feeds)
            for name, signature in signatures.items():
                nodes = [t.node for t in signature.inputs]
                if signature is not model.signature:
                    own = [replaced.get(node, node) for node in nodes]
                    self._calls[name] = self._session.make_callable(fetches[name], feed_list=own)
                    continue
                raw = call
                if reductions:
                    raw = self._session.make_callable(fetches[name], feed_list=feeds)
                self._calls[None], self._calls[name] = call, raw
                if self._pictures:
                    self._calls[None] = self._picture_calls(call)[0]
                    self._calls[name] = self._picture_calls(raw)[1]
            if self._compiles:
                self.sizes = row_sizes(runtime.max_batch_size)
            self._warm_up(model, runtime)

    def run(
        self,
        arrays: Sequence[Array],
        signature: str | None = None,
        deadline: float | None = None,
    ) -> list[Array]:
        """Run the model once, from any native thread.

        arrays: one per input, in the signature's order and dtypes. signature: its name; None for
        the model as it is served: by its default signature, but with uint8 arrays (rows, *shape of
        the feed) for inputs that have a picture feed, and with what reductions leave of outputs and
        one array more, NaN in rows of which they hide it. deadline: on the clock of
        `time.monotonic`; TensorFlow then ends loops, such as those of recurrent layers, but no
        other operation.
        Returns one array per output.
        Raises InvalidInput if the model refuses these values, DeadlineExceeded, InferenceError for
        anything else.
        """
        options = None
        if deadline is not None:
            left_ms = math.ceil((deadline - time.monotonic()) * 1000)
            # 0 would stand for no limit.
            options = tf.RunOptions(timeout_in_ms=max(1, left_ms))
        try:
            return self._calls[signature](*arrays, options=options)
        except (tf.errors.DeadlineExceededError, tf.errors.CancelledError):
            raise DeadlineExceeded("the model gave no answer within the time allowed") from None
        except (*_REFUSALS, tf.errors.OutOfRangeError, ValueError) as error:
            if lacks_kernel(error):
                raise InferenceError(f"TensorFlow: {first_line(error)}") from None
            raise InvalidInput(f"the model refuses this input: {first_line(error)}") from None
        except tf.errors.OpError as error:
            raise InferenceError(f"TensorFlow: {first_line(error)}") from None

    def made_up(self, rows: int) -> list[Array]:
        """Return inputs for `run` without a signature, as the warm-up makes them: zeros, or
        `example` where zeros may not do."""
        return self._made_up(self._fed, rows, self._example)

    def close(self) -> None:
        """Free the session and its memory. No run may be under way."""
        self._session.close()
        self._calls.clear()
        # The graph holds the weights, too.
        del self._session

    def _feeds(self) -> tuple[list[Any], dict[str, Any]]:
        """Return the tensors to feed, and the tensors of the model that they replace. With picture
        feeds, pictures and raw tensors go into one graph, since a second one would hold the weights
        again; the last feed chooses between them."""
        if not self._pictures:
            return [t.node for t in self._inputs], {}
        chosen = tf.placeholder(tf.bool_, (), name="keraport_chosen")
        feeds: list[Any] = []
        replaced: dict[str, Any] = {}
        for spec in self._inputs:
            if (picture := self._pictures.get(spec.name)) is None:
                feeds.append(spec.node)
            else:
                fed, raw, replaced[spec.node] = self._picture_feeds(spec, picture, chosen)
                feeds += [fed, raw]
        return [*feeds, chosen], replaced

    @staticmethod
    def _picture_feeds(spec: TensorSpec, picture: PictureFeed, chosen: Any) -> tuple[Any, Any, Any]:
        """Return the feeds of an input for pictures and for raw tensors, and what `chosen` lets
        through."""
        fed = tf.placeholder(tf.uint8, (None, *picture.shape), name="keraport_picture")
        raw = tf.placeholder(spec.dtype, (None, *picture.shape), name="keraport_raw")
        pixels = tf.Switch(data=fed, pred=chosen).output_true
        values = scaled(tf.cast(pixels, tf.float32), picture.scale, picture.order)
        other = tf.Switch(data=raw, pred=chosen).output_false
        either = tf.Merge(inputs=[other, tf.cast(values, spec.dtype)]).output
        # A fixed batch in the model's own shape must still match.
        either.set_shape((None, *picture.shape))
        return fed, raw, either

    def _picture_calls(
        self, call: Callable[..., list[Array]]
    ) -> tuple[Callable[..., list[Array]], Callable[..., list[Array]]]:
        """Return the callable for pictures, and the one for raw tensors in their place."""
        # For each input what stands in the place of its pictures, and of its raw tensors.
        nothing: list[tuple[Array, Array] | None] = []
        for spec in self._inputs:
            if (picture := self._pictures.get(spec.name)) is None:
                nothing.append(None)
                continue
            shape = (0, *(size or 0 for size in picture.shape))
            nothing.append((_empty(shape, "uint8"), _empty(shape, spec.dtype)))

        def run_pictures(*arrays: Array, options: Any = None) -> list[Array]:
            feeds: list[Array] = []
            for array, none in zip(arrays, nothing, strict=True):
                feeds += [array] if none is None else [array, none[1]]
            return call(*feeds, True, options=options)

        def run_tensors(*arrays: Array, options: Any = None) -> list[Array]:
            feeds: list[Array] = []
            for array, none in zip(arrays, nothing, strict=True):
                feeds += [array] if none is None else [none[0], array]
            return call(*feeds, False, options=options)

        return run_pictures, run_tensors

    def _restore(self, model: Converted, replaced: dict[str, Any]) -> list[Any]:
        """Import the model. Returns the operations to run first."""
        if model.frozen:
            definition, assignments = add_graph(model.path, model.weights, replaced)
            self.weight_bytes = constant_bytes(definition) + sum(map(nbytes, model.weights))
            self._compiles = compiles(definition)
            return assignments
        graph = self._session.graph
        loaded = tf.load_saved_model(
            self._session, list(model.tags), str(model.path), input_map=replaced or None
        )
        self._compiles = compiles(loaded.graph_def)
        variables = graph.get_collection(tf.GraphKeys.GLOBAL_VARIABLES)
        self.weight_bytes = constant_bytes(loaded.graph_def) + sum(
            (v.shape.num_elements() or 0) * v.dtype.size for v in variables
        )
        return []

    def _fetches(self, signature: SignatureDef) -> list[Any]:
        """Return the tensors to fetch for the outputs."""
        graph = self._session.graph
        outputs = [graph.get_tensor_by_name(t.node) for t in signature.outputs]
        # NumPy has no bfloat16, and half precision is of no use in JSON.
        return [
            tf.cast(t, tf.float32) if t.dtype.is_floating and t.dtype.size < 4 else t
            for t in outputs
        ]

    def _warm_up(self, model: Converted, runtime: Runtime) -> None:
        """Run the model so that no request has to wait: the first run of a shape builds kernels and
        plans memory. For a compiled model, run all its signatures."""
        fed: SignatureDef = model.signature
        raw = fed
        if self._pictures:
            raw = with_pictures(raw, self._pictures)
            pixels = (
                replace(t, dtype="uint8") if t.name in self._pictures else t for t in raw.inputs
            )
            fed = replace(raw, inputs=tuple(pixels))
        self._fed = fed
        self._run_sizes(None, fed, runtime, self._example)
        if not self.sizes:
            return
        for name, signature in {model.name: raw, **model.others}.items():
            if self._calls[name] is not self._calls[None]:
                # The model is served even if this fails.
                with suppress(tf.errors.OpError):
                    self._run_sizes(name, signature, runtime)

    def _run_sizes(
        self,
        name: str | None,
        signature: SignatureDef,
        runtime: Runtime,
        example: Sequence[Array] | None = None,
    ) -> None:
        """Run the smallest batch, and the largest that takes no longer than a run may; or all
        `sizes` up to that."""
        call = self._calls[name]
        sizes = self.sizes or sorted({1, runtime.max_batch_size})
        most = runtime.max_batch_size
        for size in sizes if signature.batchable else [1]:
            if size > most == 1:
                return
            rows = size if self.sizes else min(size, most)
            arrays = self._made_up(signature, rows, example)
            try:
                if self.sizes or rows == 1:
                    # Compiles or builds kernels, which says nothing about the time of later runs.
                    call(*arrays)
                started = time.monotonic_ns()
                call(*arrays)
                took = time.monotonic_ns() - started
            except _REFUSALS as error:
                # The sizes of open dimensions and the contents of texts are unknown; 1 and empty
                # are guesses. An error that no input can change is a real one.
                if not _is_unsure(signature) or lacks_kernel(error):
                    raise
                continue
            self.warm_up[name] = (rows, took)
            if rows == 1:
                # The rows that a run may have, see RunSize.
                most = max(1, min(most, int(RUN_S * 1e9 / max(1, took))))
            if self.sizes and took > RUN_S * 1e9 / 2:
                # No run should take longer: see RunSize.
                self.sizes = [size for size in self.sizes if size <= rows]
                return

    @staticmethod
    def _made_up(
        signature: SignatureDef, rows: int, example: Sequence[Array] | None
    ) -> list[Array]:
        if _is_unsure(signature) and example is not None:
            return [np.repeat(row, rows, axis=0) for row in example]
        return [_zeros(t, rows) for t in signature.inputs]


@contextmanager
def closed_on_failure(session: Any) -> Iterator[None]:
    """Close the session of a model that cannot be loaded. Raises LoadError for what TensorFlow
    refuses.

    TensorFlow 2.21 reports that a function cannot be called while the call still holds a lock of
    its own (PartitionedCallOp::ComputeAsync). Closing at once frees that lock under it, which ends
    the process.
    """
    try:
        yield
    except (tf.errors.OpError, ValueError, KeyError, TypeError) as error:
        time.sleep(CLOSE_AFTER_S)
        session.close()
        raise LoadError(f"TensorFlow cannot run the model: {first_line(error)}") from None
    except BaseException:
        session.close()
        raise


def add_graph(
    path: Path, weights: Sequence[Weight], replaced: Mapping[str, Any] | None = None
) -> tuple[Any, list[Any]]:
    """Import a frozen graph with its weights into the default graph. replaced: tensors of it that
    others replace. Returns the GraphDef, without the weights, and the operations to run once before
    any other."""
    tensors, assignments = add_weights(weights, path.parent)
    definition = tf.GraphDef.FromString(path.read_bytes())
    tf.import_graph_def(definition, input_map={**tensors, **(replaced or {})} or None, name="")
    return definition, assignments


def constant_bytes(graph: Any) -> int:
    """Return the bytes that the constants of a GraphDef take once it runs, including those of its
    functions. Texts are left out: their shape does not tell their size."""
    nodes = [*graph.node, *(node for f in graph.library.function for node in f.node_def)]
    total = 0
    for node in nodes:
        if node.op == "Const":
            tensor = node.attr["value"].tensor
            elements = math.prod(d.size for d in tensor.tensor_shape.dim)
            dtype = tf.as_dtype(tensor.dtype)
            total += elements * (0 if dtype == tf.string else dtype.size)
    return total


def _is_unsure(signature: SignatureDef) -> bool:
    """Tell whether a model may refuse zeros: shapes are open, or inputs are texts."""
    return any(
        t.dtype == "string" or t.shape is None or None in t.shape[1:] for t in signature.inputs
    )


def _zeros(spec: TensorSpec, rows: int) -> Array:
    if spec.shape is None:
        return _empty((), spec.dtype)
    shape = tuple(1 if d is None else d for d in spec.shape)
    return _empty((rows, *shape[1:]) if spec.has_batch and shape else shape, spec.dtype)


def _empty(shape: tuple[int, ...], dtype: str) -> Array:
    if dtype == "string":
        return np.full(shape, b"", object)
    return np.zeros(shape, tf.as_dtype(dtype).as_numpy_dtype)


def lacks_kernel(error: Exception) -> bool:
    """Tell whether TensorFlow has no implementation of an operation for this machine, such as those
    of cuDNN without a GPU: no input makes such a model run."""
    return isinstance(error, tf.errors.OpError) and _NO_KERNEL.search(error.message) is not None


def first_line(error: Exception) -> str:
    """Return the message of an error of TensorFlow, without the traces before it and the nodes
    after it."""
    message = error.message if isinstance(error, tf.errors.OpError) else str(error)
    missing = _NO_KERNEL.search(message)
    if missing and missing["op"]:
        return (
            f"the model uses the operation {missing['op']!r}, which TensorFlow cannot run on this "
            "machine (no kernel for its devices or types)"
        )
    # "Graph execution error: [Detected at node … Node: 'name'] reason [[nodes]]"
    text = re.split(r"^Graph execution error:$|^Node: '.*'$", message, flags=re.MULTILINE)[-1]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0][:500] if lines else type(error).__name__
