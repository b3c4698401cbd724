"""Train the mask model shipped in `models/membranes`, from scratch, on one CPU core.

Data: 24 slices of electron microscopy with the cells between their membranes marked, from the
ISBI 2012 challenge (segmentation of neuronal structures in EM stacks), as published at
https://github.com/zhixuhao/unet (folder `data/membrane/train`), given as one tar file.

    python training/membranes.py --data membranes.tar

The last four slices are set aside before anything is trained; slice 24, their neighbour, is not
in the file. They are measured, but choose nothing: the weights written are those of the last step.
"""

from __future__ import annotations

import io
import tarfile
import time
from pathlib import Path
from typing import Any

import click
import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from keras import layers
from PIL import Image
from rich.console import Console

HELD_OUT = 4  # the last slices of the stack
WIDTHS = (32, 48, 80, 128)  # channels at 1/2, 1/4, 1/8 and 1/16 of the picture's size
MULTIPLE = 2 ** len(WIDTHS)  # sides of a picture must be multiples of this
CROP = 192  # side of the cut-outs while training
BATCH = 4
ELASTIC = 6.0  # standard deviation of the elastic deformation, in pixels
PEAK_RATE = 3e-3
WEIGHT_DECAY = 0.02
AVERAGED_OVER = 0.99  # momentum of the averaged weights
REPORT_EVERY = 200  # steps between two measurements, each of which writes the model
SEED = 7

Array = npt.NDArray[Any]
console = Console()


def read_slices(path: Path) -> tuple[Array, Array]:
    """Read the slices in order: uint8 pictures and labels (n, 512, 512, 1); cells are 255."""
    found: dict[str, dict[int, Array]] = {"image": {}, "label": {}}
    with tarfile.open(path) as tar:
        for member in tar:
            name = Path(member.name)
            if member.isfile() and name.suffix == ".png" and name.parent.name in found:
                file = tar.extractfile(member)
                assert file is not None  # a regular file always opens
                pixels = np.asarray(Image.open(io.BytesIO(file.read())).convert("L"))
                found[name.parent.name][int(name.stem)] = pixels
    order = sorted(found["image"])
    pictures = np.stack([found["image"][number] for number in order])[..., None]
    labels = np.stack([found["label"][number] for number in order])[..., None]
    return pictures, labels


def places(side: int) -> Any:
    """Where each pixel of a batch of cut-outs is read: turned, scaled, mirrored and bent."""
    n = BATCH
    angle = tf.random.uniform([n], 0.0, 2 * np.pi)
    scale = tf.random.uniform([n], 0.8, 1.25)
    mirror = tf.sign(tf.random.uniform([n], -1.0, 1.0))
    at = tf.range(CROP, dtype=tf.float32) - (CROP - 1) / 2
    y, x = tf.meshgrid(at, at, indexing="ij")
    bend = tf.random.normal([n, 6, 6, 2], stddev=ELASTIC) * tf.random.uniform([n, 1, 1, 1])
    bend = tf.image.resize(bend, [CROP, CROP], "bicubic")
    cos, sin = [(f(angle) * scale)[:, None, None] for f in (tf.cos, tf.sin)]
    centre = tf.random.uniform([n, 2], CROP / 2, side - CROP / 2)[:, None, None, :]
    row = (cos * y + sin * x) * mirror[:, None, None]
    column = cos * x - sin * y
    return tf.stack([row, column], axis=-1) + centre + bend


def sample(pictures: Any, slices: Any, at: Any) -> Any:
    """Read pictures (float32) between their pixels, mirrored beyond their edges."""
    side = tf.cast(tf.shape(pictures)[1], tf.float32)
    at = tf.abs(at)
    at = tf.clip_by_value(tf.minimum(at, 2 * (side - 1) - at), 0.0, side - 1.001)
    low = tf.floor(at)
    part = at - low
    low = tf.cast(low, tf.int32)
    flat = tf.reshape(pictures, [-1])
    width = tf.shape(pictures)[2]
    start = slices[:, None, None] * width * width + low[..., 0] * width + low[..., 1]
    top = tf.gather(flat, start) * (1 - part[..., 1]) + tf.gather(flat, start + 1) * part[..., 1]
    start += width
    foot = tf.gather(flat, start) * (1 - part[..., 1]) + tf.gather(flat, start + 1) * part[..., 1]
    return (top * (1 - part[..., 0]) + foot * part[..., 0])[..., None]


def training_batches(pictures: Array, labels: Array) -> Any:
    """Endless augmented batches: float32 in 0..255 and 0..1, both (BATCH, CROP, CROP, 1)."""
    all_pictures = tf.constant(pictures, tf.float32)
    all_labels = tf.constant(labels, tf.float32) / 255.0

    def augment(_: Any) -> tuple[Any, Any]:
        slices = tf.random.uniform([BATCH], 0, len(pictures), tf.int32)
        at = places(pictures.shape[1])
        views = sample(all_pictures, slices, at)
        gain = tf.random.uniform([BATCH, 1, 1, 1], 0.7, 1.3)
        mean = tf.reduce_mean(views, axis=(1, 2, 3), keepdims=True)
        views = mean + (views - mean) * gain + tf.random.normal([BATCH, 1, 1, 1], stddev=20.0)
        noise = tf.random.normal(tf.shape(views)) * tf.random.uniform([BATCH, 1, 1, 1], 0.0, 12.0)
        views = tf.clip_by_value(views + noise, 0.0, 255.0)
        return views, tf.round(sample(all_labels, slices, at))

    return tf.data.Dataset.range(1).repeat().map(augment, num_parallel_calls=1).prefetch(4)


def convolutions(x: Any, width: int) -> Any:
    """Two 3x3 convolutions, each followed by BatchNorm and ReLU."""
    for _ in range(2):
        x = layers.Conv2D(width, 3, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
    return x


def build_network() -> Any:
    """A U-Net (arXiv:1505.04597) from grey in 0..255 to the probability of a cell per pixel.

    Its widest level works at half the picture's size: membranes are some six pixels wide, and
    the finest level would cost half the time.
    """
    inputs = keras.Input((None, None, 1), name="slice")
    x = layers.Rescaling(1 / 64, offset=-2.0)(inputs)
    x = layers.Conv2D(WIDTHS[0], 6, 2, padding="same", use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    kept = []
    for width in WIDTHS[:-1]:
        x = convolutions(x, width)
        kept.append(x)
        x = layers.MaxPooling2D()(x)
    x = layers.Dropout(0.2)(convolutions(x, WIDTHS[-1]))
    for width, skip in zip(WIDTHS[-2::-1], kept[::-1], strict=True):
        x = layers.Conv2DTranspose(width, 2, 2, use_bias=False)(x)
        x = convolutions(layers.Concatenate()([skip, x]), width)
    x = layers.Conv2DTranspose(1, 6, 2, padding="same")(x)
    outputs = layers.Activation("sigmoid", name="cell")(x)
    return keras.Model(inputs, outputs, name="membranes")


def measure(model: Any, pictures: Array, labels: Array) -> tuple[float, float]:
    """Share of pixels on the wrong side of 0.5, and IoU of the cells, over all pictures."""
    answers = [model.predict(picture[None].astype(np.float32), verbose=0) for picture in pictures]
    cells, truth = np.concatenate(answers) > 0.5, labels > 127
    error = float((cells != truth).mean())
    return error, float((cells & truth).sum() / (cells | truth).sum())


class Writer(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Measures the averaged weights after every epoch and writes them as the model to ship."""

    def __init__(self, model: Any, held_out: tuple[Array, Array], out: Path) -> None:
        super().__init__()
        self.shipped, self.held_out, self.out = model, held_out, out
        self.started = time.monotonic()
        self.result = (1.0, 0.0)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Write the model as it would be if training ended here."""
        network = self.model
        own = network.get_weights()
        network.optimizer.finalize_variable_values(network.trainable_variables)
        self.shipped.set_weights(network.get_weights())
        network.set_weights(own)
        self.result = error, overlap = measure(self.shipped, *self.held_out)
        self.shipped.save(self.out / "model.keras")
        minutes = (time.monotonic() - self.started) / 60
        console.print(
            f"step {(epoch + 1) * REPORT_EVERY}, {minutes:.1f} minutes: loss {logs['loss']:.4f};"
            f" held out: pixel error {error:.4f}, IoU {overlap:.4f}"
        )


def train(
    training: tuple[Array, Array], held_out: tuple[Array, Array], steps: int, out: Path
) -> tuple[float, float]:
    """Train for a fixed number of steps; returns the result on the held-out slices."""
    shipped = build_network()
    network = build_network()
    warmup = min(steps // 20, 200)
    rate = keras.optimizers.schedules.CosineDecay(
        PEAK_RATE / 20, steps - warmup, warmup_target=PEAK_RATE, warmup_steps=warmup, alpha=0.002
    )
    optimizer = keras.optimizers.AdamW(
        rate, weight_decay=WEIGHT_DECAY, use_ema=True, ema_momentum=AVERAGED_OVER
    )
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    network.compile(optimizer, keras.losses.BinaryCrossentropy(), jit_compile=False)
    writer = Writer(shipped, held_out, out)
    network.fit(
        training_batches(*training),
        epochs=steps // REPORT_EVERY,
        steps_per_epoch=REPORT_EVERY,
        verbose=0,
        callbacks=[writer],
    )
    return writer.result


@click.command()
@click.option(
    "--data",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="Tar file with the folders image/ and label/ of PNGs.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("models/membranes"),
    show_default=True,
    help="Folder to write model.keras into.",
)
@click.option("--steps", type=click.IntRange(REPORT_EVERY), default=6000, show_default=True)
def main(data: Path, out: Path, steps: int) -> None:
    """Train the model of cells and membranes and write it."""
    keras.utils.set_random_seed(SEED)
    pictures, labels = read_slices(data)
    out.mkdir(parents=True, exist_ok=True)
    training = pictures[:-HELD_OUT], labels[:-HELD_OUT]
    train(training, (pictures[-HELD_OUT:], labels[-HELD_OUT:]), steps, out)
    console.print(f"wrote {out}: {(out / 'model.keras').stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
