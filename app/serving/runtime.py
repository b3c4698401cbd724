"""One `tf.Graph` and one `Session` per model version.

TensorFlow has two thread pools. The one that divides the work inside an operation belongs to the
whole process, and the first session sizes it: every session asks for the cores that are really
usable, so that it does not matter which comes first. The one that runs operations side by side is
shared as well, unless a card's `runtime.threads` gives its model one of its own of that size. Ten
models that leave it alone have no more threads than one.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.errors import DeadlineExceeded, InferenceError, InvalidInput, LoadError
from app.serving.card import Runtime
from app.serving.cores import usable_cores
from app.serving.quiet import quiet_import
from app.serving.signature import Converted, PictureFeed, Scale, SignatureDef, TensorSpec

with quiet_import():
    import tensorflow as tf

Array = NDArray[Any]
# Means and deviations of ImageNet, as keras.applications.imagenet_utils uses them.
CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)
TORCH_MEAN_RGB = (0.485, 0.456, 0.406)
TORCH_STD_RGB = (0.229, 0.224, 0.225)


class ModelSession:
    """A converted model in its own graph and session, warmed up. weight_bytes: what its constants
    and variables take. warm_up: rows of the last run of the warm-up that went
    well, and its nanoseconds.

    Raises LoadError when TensorFlow refuses the model, or fails on a batch of zeros.
    """

    def __init__(
        self, model: Converted, runtime: Runtime, picture: PictureFeed | None = None
    ) -> None:
        self._inputs = model.signature.inputs
        self._calls: dict[str | None, Callable[..., list[Array]]] = {}
        self.warm_up = (0, 0)
        graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=graph, config=session_config(runtime))
        try:
            with graph.as_default():
                fed, replaced = self._feeds(picture)
                self._restore(model, replaced)
                self._calls[None] = self._callable(fed, model.signature)
                for name, signature in {model.name: model.signature, **model.others}.items():
                    # Raw tensors for pictures go in behind the scaling.
                    feeds = [replaced.get(t.node, t.node) for t in signature.inputs]
                    served = feeds == fed and signature is model.signature
                    self._calls[name] = (
                        self._calls[None] if served else self._callable(feeds, signature)
                    )
            self._warm_up(model, runtime, picture)
        except (tf.errors.OpError, ValueError, KeyError, TypeError) as error:
            self._session.close()
            raise LoadError(f"TensorFlow cannot run the model: {first_line(error)}") from None
        except BaseException:
            self._session.close()
            raise

    def run(
        self,
        arrays: Sequence[Array],
        signature: str | None = None,
        deadline: float | None = None,
    ) -> list[Array]:
        """Run the model once, from any native thread.

        arrays: one an input, in the signature's order and dtypes. signature: its name; None for
        how the model is served, which with a picture feed is a single uint8 array (rows, height,
        width, channels), else the default signature. deadline: on the clock of `time.monotonic`;
        TensorFlow ends loops then, such as those of recurrent layers, but no other operation.
        Returns one array an output.
        Raises InvalidInput when the model refuses these values, DeadlineExceeded, InferenceError
        for anything else.
        """
        options = None
        if deadline is not None:
            left_ms = math.ceil((deadline - time.monotonic()) * 1000)
            # 0 would stand for no limit.
            options = tf.compat.v1.RunOptions(timeout_in_ms=max(1, left_ms))
        try:
            return self._calls[signature](*arrays, options=options)
        except (tf.errors.DeadlineExceededError, tf.errors.CancelledError):
            raise DeadlineExceeded("the model gave no answer within the time allowed") from None
        except (tf.errors.InvalidArgumentError, tf.errors.OutOfRangeError, ValueError) as error:
            raise InvalidInput(f"the model refuses this input: {first_line(error)}") from None
        except tf.errors.OpError as error:
            raise InferenceError(f"TensorFlow: {first_line(error)}") from None

    def close(self) -> None:
        """Free the session and what it holds. No run may be under way."""
        self._session.close()
        self._calls.clear()
        # The weights are in the graph, too.
        del self._session

    def _feeds(self, picture: PictureFeed | None) -> tuple[list[Any], dict[str, Any]]:
        """What is fed, and which tensors of the model it stands in for."""
        if picture is None:
            return [t.node for t in self._inputs], {}
        spec = self._inputs[0]
        fed = tf.compat.v1.placeholder(tf.uint8, (None, *picture.shape), name="keraport_picture")
        scaled = tf.cast(_scaled(tf.cast(fed, tf.float32), picture.scale), spec.dtype)
        # A fixed batch in the model's own shape must still match.
        scaled.set_shape((None, *picture.shape))
        return [fed], {spec.node: scaled}

    def _restore(self, model: Converted, replaced: dict[str, Any]) -> None:
        graph = self._session.graph
        if model.frozen:
            definition = tf.compat.v1.GraphDef.FromString(model.path.read_bytes())
            tf.import_graph_def(definition, input_map=replaced or None, name="")
            self.weight_bytes = constant_bytes(definition)
        else:
            loaded = tf.compat.v1.saved_model.load(
                self._session, list(model.tags), str(model.path), input_map=replaced or None
            )
            variables = graph.get_collection(tf.compat.v1.GraphKeys.GLOBAL_VARIABLES)
            self.weight_bytes = constant_bytes(loaded.graph_def) + sum(
                (v.shape.num_elements() or 0) * v.dtype.size for v in variables
            )

    def _callable(
        self, feeds: Sequence[Any], signature: SignatureDef
    ) -> Callable[..., list[Array]]:
        """Feeds what is fed, and fetches the outputs."""
        graph = self._session.graph
        outputs = [graph.get_tensor_by_name(t.node) for t in signature.outputs]
        # NumPy has no bfloat16, and nobody wants half precision in JSON.
        fetches = [
            tf.cast(t, tf.float32) if t.dtype.is_floating and t.dtype.size < 4 else t
            for t in outputs
        ]
        made: Callable[..., list[Array]] = self._session.make_callable(fetches, feed_list=feeds)
        return made

    def _warm_up(self, model: Converted, runtime: Runtime, picture: PictureFeed | None) -> None:
        """Run the smallest and the largest batch once: the first run of a shape builds kernels and
        plans memory, which no request should wait for."""
        unsure = picture is None and any(
            t.dtype == "string" or t.shape is None or None in t.shape[1:] for t in self._inputs
        )
        sizes = {1, runtime.max_batch_size} if model.signature.batchable else {1}
        for rows in sorted(sizes):
            zeros = (
                [np.zeros((rows, *picture.shape), np.uint8)]
                if picture
                else [_zeros(t, rows) for t in self._inputs]
            )
            started = time.monotonic_ns()
            try:
                self._calls[None](*zeros)
                self.warm_up = (rows, time.monotonic_ns() - started)
            except tf.errors.InvalidArgumentError:
                # Nobody knows which sizes an open dimension really takes, or what is written in
                # texts; 1 and none are only a try.
                if not unsure:
                    raise


def constant_bytes(graph: Any) -> int:
    """What the constants of a GraphDef take once it runs, those of its functions included. Texts,
    whose size is none of their shape, are left out."""
    nodes = [*graph.node, *(node for f in graph.library.function for node in f.node_def)]
    total = 0
    for node in nodes:
        if node.op == "Const":
            tensor = node.attr["value"].tensor
            elements = math.prod(d.size for d in tensor.tensor_shape.dim)
            dtype = tf.dtypes.as_dtype(tensor.dtype)
            total += elements * (0 if dtype == tf.string else dtype.size)
    return total


def session_config(runtime: Runtime) -> Any:
    """How every session of this process is set up."""
    own = runtime.threads != "auto"
    cores = usable_cores()
    config = tf.compat.v1.ConfigProto(
        intra_op_parallelism_threads=cores,
        inter_op_parallelism_threads=runtime.threads if own else cores,
        use_per_session_threads=own,
    )
    config.gpu_options.allow_growth = True
    rewrite = config.graph_options.rewrite_options
    # TensorFlow's own kernels pool and convolve with channels last only; those of oneDNN, which it
    # takes on some CPUs and not on others, do both.
    rewrite.cpu_layout_conversion = type(rewrite).NCHW_TO_NHWC
    if runtime.precision == "bfloat16":
        rewrite.auto_mixed_precision_onednn_bfloat16 = type(rewrite).ON
    return config


def _scaled(pixels: Any, scale: Scale) -> Any:
    """float32 pixels of 0..255, RGB or grey, as the model was trained on them."""
    if scale == "0..1":
        return pixels / 255.0
    if scale == "-1..1":
        return pixels / 127.5 - 1.0
    if scale == "caffe":
        return pixels[..., ::-1] - tf.constant(CAFFE_MEAN_BGR)
    if scale == "torch":
        return (pixels / 255.0 - tf.constant(TORCH_MEAN_RGB)) / tf.constant(TORCH_STD_RGB)
    return pixels


def _zeros(spec: TensorSpec, rows: int) -> Array:
    if spec.shape is None:
        return _empty((), spec.dtype)
    shape = tuple(1 if d is None else d for d in spec.shape)
    return _empty((rows, *shape[1:]) if spec.has_batch and shape else shape, spec.dtype)


def _empty(shape: tuple[int, ...], dtype: str) -> Array:
    if dtype == "string":
        return np.full(shape, b"", object)
    return np.zeros(shape, tf.dtypes.as_dtype(dtype).as_numpy_dtype)


def first_line(error: Exception) -> str:
    """What an error of TensorFlow says, without the traces before it and the nodes after it."""
    message = error.message if isinstance(error, tf.errors.OpError) else str(error)
    # "Graph execution error: [Detected at node … Node: 'name'] reason [[nodes]]"
    text = re.split(r"^Graph execution error:$|^Node: '.*'$", message, flags=re.MULTILINE)[-1]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0][:500] if lines else type(error).__name__
