"""Models that tests make on the spot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow as tf

# About 10 ms of one core a round on a machine of 2025.
SIDE = 1024


class _Slow(tf.Module):  # type: ignore[misc]
    @tf.function(input_signature=[tf.TensorSpec((None, 1), tf.float32, name="rounds")])  # type: ignore[untyped-decorator]
    def serve(self, rounds: Any) -> dict[str, Any]:
        """Keeps a core busy for as many rounds as the largest row says."""
        matrix = tf.eye(SIDE)
        done = tf.constant(0.0)
        while done < tf.reduce_max(rounds):
            matrix = tf.matmul(matrix, tf.eye(SIDE))
            done += 1.0
        return {"rounds": rounds * matrix[0, 0]}


def save_slow_model(folder: Path, *, max_queue: int = 4, timeout_s: float = 30) -> None:
    """A SavedModel whose run takes as long as its input says, with a card."""
    module = _Slow()
    tf.saved_model.save(
        module, str(folder / "saved_model"), signatures={"serving_default": module.serve}
    )
    (folder / "model.yaml").write_text(
        "task: tensor\n"
        f"runtime: {{max_batch_size: 2, max_queue: {max_queue}, timeout_s: {timeout_s}}}\n"
    )
