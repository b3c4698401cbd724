"""Models for the limits of requests, and the origins that may ask."""

from __future__ import annotations

import socket
from pathlib import Path

from tests.saved_once import saved_once
from tests.support import ROOT


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


# Of a page that a test serves there, and one of IPv6, whose brackets stand for themselves.
PAGE_PORT = _free_port()
ALLOWED = (f"http://127.0.0.1:{PAGE_PORT}", "https://[::1]:8443")


def save_limited_models(folder: Path) -> None:
    """`mpg` takes rows, `three` pictures, `square` tensors of shape (n, 1, 2), `fixed` one of shape
    (5,) that counts no rows, `half` examples; `writer` writes slowly."""
    from tests.models import save_half_plus_two, save_picture_model, save_text_model

    folder.mkdir()
    (folder / "mpg").symlink_to(ROOT / "models" / "mpg")
    save_half_plus_two(folder / "half" / "1")
    save_text_model(folder / "writer", kind="bidirectional", units=512)
    card = folder / "writer" / "model.yaml"
    words = "window: 20, words: {min: 1, max: 1000, default: 50}"
    card.write_text(card.read_text().replace("window: 20", words))
    (folder / "three").mkdir()
    save_picture_model(folder / "three" / "model.keras", rescales=True)
    (folder / "three" / "model.yaml").write_text(
        "task: image-classification\nlabels: [ant, bee, fly]\n"
    )
    _save_tensors(folder)


@saved_once
def _save_tensors(folder: Path) -> None:
    import keras
    import tensorflow as tf

    folder.mkdir()
    keras.Sequential([keras.Input((1, 2)), keras.layers.ReLU()]).save(folder / "square.keras")
    module = tf.Module()
    module.serve = tf.function(
        lambda x: {"y": x * 2}, input_signature=[tf.TensorSpec((5,), tf.float32, name="x")]
    )
    tf.saved_model.save(
        module, str(folder / "fixed" / "1"), signatures={"serving_default": module.serve}
    )
