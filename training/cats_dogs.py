"""Train the picture model shipped in `models/cats-dogs`, from scratch, on two CPU cores.

Data: 1,997 JPEGs in `cats/` and `dogs/`, a subset of Kaggle's Dogs vs. Cats, published at
https://github.com/fractalbass/dogs_and_cats (folder `data/train`), given as one tar file.

    python training/cats_dogs.py --data cats_dogs_train.tar

Three hundred pictures are set aside by the hash of their names before anything is trained. They
are measured once, at the end, and choose nothing: recipes were compared with `--explore`, which
never reads them and measures on a second split of the rest instead.
"""

from __future__ import annotations

import hashlib
import io
import math
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from keras import layers
from PIL import Image, ImageOps
from rich.console import Console

LABELS = ("cat", "dog")
SIZE = 150  # side of the picture that the server feeds the model
CACHE = 176  # side of the decoded training pictures that crops are cut from
CROP = 112  # side while training: cut-outs at 112 show animals as large as whole pictures at 150
BATCH = 32
HELD_OUT_PER_LABEL = 150
VALIDATION_PER_LABEL = 150
WIDTHS = (32, 64, 128, 192)
BLOCKS_PER_STAGE = 2
PEAK_RATE = 2e-3
WEIGHT_DECAY = 0.05
LABEL_SMOOTHING = 0.05
SEED = 7

Array = npt.NDArray[Any]
console = Console()


@dataclass(frozen=True)
class Picture:
    """One JPEG of the tar file: its name inside, the index of its label, its bytes."""

    name: str
    label: int
    jpeg: bytes


@dataclass(frozen=True)
class Split:
    """Pictures to train on, to compare recipes with, and to measure the final model with."""

    train: list[Picture]
    validation: list[Picture]
    held_out: list[Picture]


def read_pictures(path: Path) -> list[Picture]:
    """Read every JPEG under `cats/` and `dogs/` of a tar file, sorted by name."""
    pictures = []
    with tarfile.open(path) as tar:
        for member in tar:
            folder = Path(member.name).parent.name
            if member.isfile() and folder in ("cats", "dogs"):
                file = tar.extractfile(member)
                assert file is not None  # a regular file always opens
                name = f"{folder}/{Path(member.name).name}"
                pictures.append(Picture(name, ("cats", "dogs").index(folder), file.read()))
    return sorted(pictures, key=lambda picture: picture.name)


def split_pictures(pictures: list[Picture], explore: bool) -> Split:
    """Split by the hash of the file name: the same pictures are held out on every machine.

    The held-out pictures are the same with and without `explore`; `explore` only takes a
    validation part out of what would otherwise be trained on.
    """
    split = Split([], [], [])
    validation = VALIDATION_PER_LABEL if explore else 0
    for label in range(len(LABELS)):
        ranked = sorted(
            (picture for picture in pictures if picture.label == label),
            key=lambda picture: hashlib.sha256(picture.name.encode()).digest(),
        )
        split.held_out.extend(ranked[:HELD_OUT_PER_LABEL])
        split.validation.extend(ranked[HELD_OUT_PER_LABEL : HELD_OUT_PER_LABEL + validation])
        split.train.extend(ranked[HELD_OUT_PER_LABEL + validation :])
    return split


def decode(pictures: list[Picture], size: int, draft: bool = False) -> tuple[Array, Array]:
    """Decode as the server does: upright, RGB, stretched to `size` x `size`.

    Returns uint8 pictures (n, size, size, 3) and float32 labels (n, 1). `draft` lets the JPEG
    decoder shrink by 1/2, 1/4 or 1/8 first, as the server does for large pictures.
    """
    decoded = np.empty((len(pictures), size, size, 3), np.uint8)
    for index, picture in enumerate(pictures):
        image: Image.Image = Image.open(io.BytesIO(picture.jpeg))
        if draft:
            image.draft("RGB", (size, size))
        image = ImageOps.exif_transpose(image).convert("RGB")
        bilinear = Image.Resampling.BILINEAR
        decoded[index] = np.asarray(image.resize((size, size), bilinear, reducing_gap=2.0))
    labels = np.array([[picture.label] for picture in pictures], np.float32)
    return decoded, labels


def random_views(pictures: Any, size: int) -> Any:
    """Cut a random part out of every picture, turned, mirrored and scaled to `size` x `size`."""
    n = tf.shape(pictures)[0]
    area = tf.random.uniform([n], 0.3, 1.0)
    aspect = tf.exp(tf.random.uniform([n], math.log(3 / 4), math.log(4 / 3)))
    width = tf.minimum(tf.sqrt(area * aspect), 1.0)
    height = tf.minimum(tf.sqrt(area / aspect), 1.0)
    left = tf.random.uniform([n]) * (1 - width)
    top = tf.random.uniform([n]) * (1 - height)
    mirror = tf.sign(tf.random.uniform([n], -1.0, 1.0))
    angle = tf.random.uniform([n], -0.25, 0.25) * tf.cast(tf.random.uniform([n]) < 0.5, tf.float32)
    step_x, step_y = width * CACHE / size, height * CACHE / size
    # Output pixel (x, y) is read at (ax + by + c, dx + ey + f), turned about the cut's centre.
    a, b = mirror * tf.cos(angle) * step_x, -tf.sin(angle) * step_x
    d, e = mirror * tf.sin(angle) * step_y, tf.cos(angle) * step_y
    middle = (size - 1) / 2
    c = (left + width / 2) * CACHE - 0.5 - (a + b) * middle
    f = (top + height / 2) * CACHE - 0.5 - (d + e) * middle
    nought = tf.zeros([n])
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=pictures,
        transforms=tf.stack([a, b, c, d, e, f, nought, nought], axis=1),
        output_shape=[size, size],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="REFLECT",
    )


def random_colours(pictures: Any) -> Any:
    """Vary brightness, tint, contrast and saturation of float pictures in 0..1."""
    n = tf.shape(pictures)[0]
    gain = tf.random.uniform([n, 1, 1, 1], 0.7, 1.3) * tf.random.uniform([n, 1, 1, 3], 0.9, 1.1)
    pictures = pictures * gain
    grey = tf.reduce_mean(pictures, axis=3, keepdims=True)
    keep = tf.random.uniform([n, 1, 1, 1], 0.5, 1.5)
    # One picture in ten loses its colour, so that fur colour alone decides nothing.
    keep *= tf.cast(tf.random.uniform([n, 1, 1, 1]) > 0.1, tf.float32)
    pictures = grey + (pictures - grey) * keep
    mean = tf.reduce_mean(pictures, axis=(1, 2, 3), keepdims=True)
    pictures = mean + (pictures - mean) * tf.random.uniform([n, 1, 1, 1], 0.7, 1.3)
    return tf.clip_by_value(pictures, 0.0, 1.0)


def mix(pictures: Any, labels: Any, size: int) -> tuple[Any, Any]:
    """Blend some pictures with their neighbour in the batch (mixup), or paste a part (CutMix).

    A label becomes the share of dog: mixup is arXiv:1710.09412, CutMix arXiv:1905.04899.
    """
    n = tf.shape(pictures)[0]
    first, second = tf.random.gamma([n, 1, 1, 1], 0.4), tf.random.gamma([n, 1, 1, 1], 0.4)
    blended = first / (first + second + 1e-6)
    side = tf.sqrt(tf.random.uniform([n, 1, 1, 1])) / 2  # half the side of the pasted square
    at = tf.range(size, dtype=tf.float32) / size
    far_x = tf.abs(at[None, None, :, None] - tf.random.uniform([n, 1, 1, 1])) > side
    far_y = tf.abs(at[None, :, None, None] - tf.random.uniform([n, 1, 1, 1])) > side
    pasted = tf.cast(far_x | far_y, tf.float32)
    dice = tf.random.uniform([n, 1, 1, 1])
    own = tf.where(dice < 0.4, blended, tf.where(dice < 0.8, pasted, 1.0))
    share = tf.reduce_mean(own, axis=(1, 2, 3))[:, None]
    pictures = own * pictures + (1 - own) * tf.roll(pictures, 1, axis=0)
    return pictures, share * labels + (1 - share) * tf.roll(labels, 1, axis=0)


def training_batches(pictures: Array, labels: Array) -> Any:
    """One epoch of augmented batches: float32 (BATCH, CROP, CROP, 3) and (BATCH, 1)."""
    all_pictures, all_labels = tf.constant(pictures), tf.constant(labels)

    def augment(indices: Any) -> tuple[Any, Any]:
        views = random_views(tf.gather(all_pictures, indices), CROP)
        views = random_colours(tf.cast(views, tf.float32) / 255.0)
        return mix(views, tf.gather(all_labels, indices), CROP)

    indices = tf.data.Dataset.range(len(pictures)).shuffle(len(pictures), seed=SEED)
    batches = indices.batch(BATCH, drop_remainder=True).map(augment, num_parallel_calls=2)
    return batches.prefetch(4)


def residual_block(x: Any, width: int, stride: int) -> Any:
    """Two 3x3 convolutions, each after BatchNorm and ReLU, added to what came in."""
    y = layers.ReLU()(layers.BatchNormalization()(x))
    shortcut = x
    if stride != 1 or x.shape[-1] != width:
        shortcut = layers.AveragePooling2D(stride, padding="same")(y) if stride != 1 else y
        shortcut = layers.Conv2D(width, 1, use_bias=False)(shortcut)
    y = layers.Conv2D(width, 3, stride, padding="same", use_bias=False)(y)
    y = layers.ReLU()(layers.BatchNormalization()(y))
    y = layers.Conv2D(width, 3, padding="same", use_bias=False)(y)
    return layers.Add()([shortcut, y])


def build_network(size: int | None = None) -> Any:
    """A small pre-activation ResNet: RGB in 0..1 (n, size, size, 3) to one logit (n, 1)."""
    inputs = keras.Input((size, size, 3))
    x = layers.Rescaling(4.0, offset=-2.0)(inputs)
    x = layers.Conv2D(WIDTHS[0], 5, 2, padding="same", use_bias=False)(x)
    x = layers.MaxPooling2D(3, 2, padding="same")(x)
    for stage, width in enumerate(WIDTHS):
        for block in range(BLOCKS_PER_STAGE):
            x = residual_block(x, width, 2 if stage > 0 and block == 0 else 1)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(0.2)(x)
    return keras.Model(inputs, layers.Dense(1, dtype="float32")(x))


def train_network(pictures: Array, labels: Array, epochs: int) -> Any:
    """Train one network for a fixed number of epochs; returns it with averaged weights."""
    # bfloat16 arithmetic with float32 weights: 1.4 times faster where the CPU has avx512_bf16.
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    network = build_network()
    keras.mixed_precision.set_global_policy("float32")
    steps = epochs * (len(pictures) // BATCH)
    warmup = min(steps // 20, 500)
    rate = keras.optimizers.schedules.CosineDecay(
        PEAK_RATE / 20, steps - warmup, warmup_target=PEAK_RATE, warmup_steps=warmup, alpha=0.002
    )
    optimizer = keras.optimizers.AdamW(
        rate, weight_decay=WEIGHT_DECAY, use_ema=True, ema_momentum=0.995
    )
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    loss = keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=LABEL_SMOOTHING)
    network.compile(optimizer, loss, jit_compile=False)
    network.fit(training_batches(pictures, labels), epochs=epochs, verbose=2)
    optimizer.finalize_variable_values(network.trainable_variables)
    return network


def mirror_layer() -> Any:
    """A layer that mirrors pictures left to right: columns times a reversed identity matrix.

    Keras has no layer that always mirrors, and a Lambda would make the model untrusted.
    """
    mirror = layers.EinsumDense(
        "bhwc,wv->bhvc", (SIZE, SIZE, 3), trainable=False, name="mirror", bias_axes=None
    )
    mirror.build((None, SIZE, SIZE, 3))
    mirror.set_weights([np.eye(SIZE, dtype=np.float32)[::-1]])
    return mirror


def served_model(network: Any) -> Any:
    """The float32 model to ship: (n, 150, 150, 3) in 0..1 to the probability of a dog (n, 1).

    It looks at every picture twice, as it is and mirrored, and averages the two logits.
    """
    trunk = build_network(SIZE)
    trunk.set_weights(network.get_weights())
    inputs = keras.Input((SIZE, SIZE, 3), name="picture")
    logit = layers.Average()([trunk(inputs), trunk(mirror_layer()(inputs))])
    return keras.Model(inputs, layers.Activation("sigmoid", name="dog")(logit), name="cats_dogs")


def measure(model: Any, pictures: list[Picture], draft: bool = False) -> tuple[float, float]:
    """Accuracy at threshold 0.5 and mean log loss of the probabilities."""
    decoded, labels = decode(pictures, SIZE, draft)
    probability = model.predict(decoded.astype(np.float32) / 255, batch_size=50, verbose=0)
    accuracy = float(((probability > 0.5) == (labels > 0.5)).mean())
    right = np.clip(np.where(labels > 0.5, probability, 1 - probability), 1e-7, 1)
    return accuracy, float(-np.log(right).mean())


def card(accuracy: float, measured_on: str) -> str:
    """The text of `model.yaml`."""
    return f"""\
title: Cat or dog
description: Tells whether a picture shows a cat or a dog.
task: image-classification
file: model.h5
labels: [{", ".join(LABELS)}]
input: {{size: [{SIZE}, {SIZE}], color: rgb, scale: "0..1"}}
threshold: 0.5
metrics: {{accuracy: {accuracy:.3f}, measured_on: {measured_on}}}
examples:
- {{name: A cat, input: cat.jpg}}
- {{name: "A dog, drawn", input: dog.jpg}}
"""


@click.command()
@click.option(
    "--data",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="Tar file with the folders cats/ and dogs/ of JPEGs.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("models/cats-dogs"),
    show_default=True,
    help="Folder to write model.h5 and model.yaml into.",
)
@click.option(
    "--epochs",
    type=click.IntRange(1),
    default=400,
    show_default=True,
    help="Passes over the training pictures.",
)
@click.option(
    "--explore",
    is_flag=True,
    help="Compare recipes: train on less, measure on a validation split, write nothing.",
)
def main(data: Path, out: Path, epochs: int, explore: bool) -> None:
    """Train the cat-or-dog model and write it with its card."""
    keras.utils.set_random_seed(SEED)
    split = split_pictures(read_pictures(data), explore)
    console.print(f"{len(split.train)} pictures to train on, {len(split.held_out)} held out")
    started = time.monotonic()
    model = served_model(train_network(*decode(split.train, CACHE), epochs))
    console.print(f"trained for {(time.monotonic() - started) / 60:.0f} minutes")
    if explore:
        accuracy, loss = measure(model, split.validation)
        console.print(f"validation: accuracy {accuracy:.3f}, loss {loss:.3f}")
        return
    out.mkdir(parents=True, exist_ok=True)
    model.save(out / "model.h5")
    accuracy, loss = measure(model, split.held_out)
    text = card(accuracy, f"{len(split.held_out)} held-out pictures")
    (out / "model.yaml").write_text(text, encoding="utf-8")
    console.print(f"held out: accuracy {accuracy:.3f}, loss {loss:.3f}")
    accuracy, loss = measure(model, split.held_out, draft=True)
    console.print(
        f"held out, JPEGs shrunk while decoding: accuracy {accuracy:.3f}, loss {loss:.3f}"
    )
    console.print(f"wrote {out}: {(out / 'model.h5').stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
