"""Train the text model shipped in `models/patents`: the next word of a patent's abstract.

Data: abstracts of 3,019 patents that mention neural networks, from PatentsView, as CSV in
https://github.com/WillKoehrsen/recurrent-neural-networks (folder `data`).

    python training/patents.py --data patents.csv

A tenth of the abstracts is set aside by the hash of their text before anything is trained, and
measured once, at the end. The schedule was fixed beforehand.
"""

from __future__ import annotations

import csv
import hashlib
import math
import re
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import keras
import numpy as np
import numpy.typing as npt
import yaml
from keras import layers, ops
from rich.console import Console

# What the model sees before the word that it says.
WINDOW = 50
# A word, a number, or one sign; the card's `level: word` splits the same way.
TOKEN = re.compile(r"\w+(?:[-'/]\w+)*|[^\w\s]")
# Index 0 pads, index 1 stands for every word that is too rare.
SPECIAL = ["", "<unk>"]
MIN_COUNT = 3
EMBEDDING = 160
UNITS = 320
DROPOUT = 0.5
BATCH = 64
PEAK_RATE = 4e-3
WEIGHT_DECAY = 0.02
SEED = 5
# Abstracts in the style of the data, to begin with where nobody gives a beginning.
STARTS = Path(__file__).with_name("patents_starts.txt")

Tokens = npt.NDArray[np.int32]
console = Console()


@dataclass(frozen=True)
class Score:
    """Over words that have WINDOW words of their abstract before them.

    loss: nats a word. accuracy: share of words that got the highest probability; a word outside
    the vocabulary counts as wrong.
    """

    words: int
    loss: float
    accuracy: float


class Tied(layers.Layer):  # type: ignore[misc]
    """Scores of all words by the embedding that reads them: half the weights, and better ones."""

    def __init__(self, embedding: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.embedding = embedding

    def build(self, shape: Any) -> None:
        """One bias a word."""
        self.bias = self.add_weight(shape=(self.embedding.input_dim,), initializer="zeros")
        self.built = True

    def call(self, x: Any) -> Any:
        """x: (…, EMBEDDING). Returns logits (…, words)."""
        return ops.matmul(x, ops.transpose(self.embedding.embeddings)) + self.bias


def read_abstracts(path: Path) -> list[list[str]]:
    """The abstracts as lower-case words and signs, without the quotes that the CSV multiplied."""
    with path.open(newline="", encoding="utf-8") as file:
        texts = [row["patent_abstract"] for row in csv.DictReader(file)]
    # Some patents share their abstract: one of each.
    unique = dict.fromkeys(text.replace('"', " ").lower() for text in texts)
    return [TOKEN.findall(text) for text in unique]


def split(abstracts: list[list[str]]) -> tuple[list[list[str]], list[list[str]]]:
    """For training, and set aside: a tenth, by hash."""
    sides: tuple[list[list[str]], list[list[str]]] = ([], [])
    for words in abstracts:
        digest = hashlib.sha256(" ".join(words).encode()).digest()
        sides[digest[0] < 26].append(words)
    return sides


def vocabulary(abstracts: list[list[str]]) -> list[str]:
    """The words of the training abstracts, frequent ones first."""
    counts = Counter(word for words in abstracts for word in words)
    return SPECIAL + [word for word, count in counts.most_common() if count >= MIN_COUNT]


def encode(abstracts: list[list[str]], words: list[str]) -> list[Tokens]:
    """Indices into `words`."""
    index = {word: i for i, word in enumerate(words)}
    return [np.array([index.get(w, 1) for w in abstract], np.int32) for abstract in abstracts]


def windows(abstracts: list[Tokens], rng: np.random.Generator) -> tuple[Tokens, Tokens]:
    """Every abstract in pieces of WINDOW + 1 from a random start: (n, WINDOW) words, and those
    that follow each; 0 where an abstract has ended."""
    pieces = []
    for tokens in abstracts:
        start = -int(rng.integers(0, WINDOW))
        while start < len(tokens) - 1:
            piece = tokens[max(0, start) : start + WINDOW + 1]
            if len(piece) > 1:
                pieces.append(np.pad(piece, (0, WINDOW + 1 - len(piece))))
            start += WINDOW
    table = np.stack(pieces)[rng.permutation(len(pieces))]
    return table[:, :-1], table[:, 1:]


def build(words: int) -> tuple[Any, list[Any]]:
    """The model that is trained, which says a word after each word, and the layers to ship."""
    embedding = layers.Embedding(words, EMBEDDING, name="embedding")
    lstm = layers.LSTM(UNITS, return_sequences=True, name="lstm")
    narrow = layers.Dense(EMBEDDING, name="narrow")
    tied = Tied(embedding, name="words")
    inputs = keras.Input((None,), dtype="int32")
    x = layers.SpatialDropout1D(0.2)(embedding(inputs))
    x = layers.Dropout(0.3)(x)
    x = layers.Dropout(DROPOUT)(lstm(x))
    x = layers.Dropout(0.2)(narrow(x))
    return keras.Model(inputs, tied(x)), [embedding, lstm, narrow, tied]


def loss(truth: Any, logits: Any) -> Any:
    """Mean nats a word, where there is one; a rare word teaches nothing about which."""
    known = ops.cast(truth > 1, "float32")
    each = ops.sparse_categorical_crossentropy(truth, logits, from_logits=True)
    return ops.sum(each * known) / ops.maximum(ops.sum(known), 1.0)


def train(abstracts: list[Tokens], words: int, epochs: int) -> list[Any]:
    """The layers to ship, trained."""
    keras.utils.set_random_seed(SEED)
    rng = np.random.default_rng(SEED)
    model, shipped = build(words)
    steps = epochs * math.ceil(len(windows(abstracts, rng)[0]) / BATCH)
    rate = keras.optimizers.schedules.CosineDecay(
        1e-4, steps, warmup_target=PEAK_RATE, warmup_steps=steps // 20
    )
    model.compile(keras.optimizers.AdamW(rate, weight_decay=WEIGHT_DECAY, clipnorm=1.0), loss)
    for epoch in range(epochs):
        start = time.monotonic()
        x, y = windows(abstracts, rng)
        history = model.fit(x, y, batch_size=BATCH, epochs=1, verbose=0)
        console.print(
            f"epoch {epoch + 1} of {epochs}: loss {history.history['loss'][0]:.3f}, "
            f"{time.monotonic() - start:.0f} s"
        )
    return shipped


def ship(trained: list[Any], words: int) -> Any:
    """Plain layers with the trained weights: (n, any) indices of words to (n, words)
    probabilities of the next."""
    embedding, lstm, narrow, tied = trained
    model = keras.Sequential(
        [
            keras.Input((None,), dtype="int32", name="words"),
            layers.Embedding(words, EMBEDDING, mask_zero=True, name="embedding"),
            layers.LSTM(UNITS, name="lstm"),
            layers.Dense(EMBEDDING, name="narrow"),
            layers.Dense(words, activation="softmax", name="next_word"),
        ]
    )
    table = embedding.embeddings.numpy()
    weights = [[table], lstm.get_weights(), narrow.get_weights(), [table.T, tied.bias.numpy()]]
    for layer, values in zip(model.layers, weights, strict=True):
        layer.set_weights(values)
    return model


def measure(model: Any, abstracts: list[Tokens]) -> Score:
    """The shipped model on each word that has WINDOW words before it."""
    x = np.concatenate(
        [np.lib.stride_tricks.sliding_window_view(t[:-1], WINDOW) for t in abstracts
         if len(t) > WINDOW]
    )  # fmt: skip
    y = np.concatenate([t[WINDOW:] for t in abstracts if len(t) > WINDOW])
    nats, right = 0.0, 0
    for start in range(0, len(x), 512):
        p = model.predict_on_batch(x[start : start + 512])
        truth = y[start : start + 512]
        p[:, :2] = 0.0  # never said
        right += int(((p.argmax(axis=1) == truth) & (truth > 1)).sum())
        nats -= float(np.log(np.maximum(p[np.arange(len(truth)), truth], 1e-9))[truth > 1].sum())
    return Score(len(y), nats / int((y > 1).sum()), right / len(y))


# Beginnings for people to try.
EXAMPLES = ("a neural network for", "a method of recognizing speech", "a system for controlling")


def card(score: Score) -> dict[str, Any]:
    """`model.yaml`."""
    return {
        "title": "Patent writer",
        "description": "Continues the abstract of a patent about neural networks.",
        "task": "text-generation",
        "text": {
            "vocabulary": "vocabulary.txt",
            "starts": "starts.txt",
            "window": WINDOW,
            "diversity": {"min": 0.5, "max": 5, "default": 0.8},
        },
        "metrics": {
            "accuracy": round(score.accuracy, 3),
            "loss": round(score.loss, 2),
            "measured_on": f"{score.words:,} words of held-out abstracts",
        },
        "examples": [*EXAMPLES],
    }


@click.command()
@click.option("--data", required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--out", default=Path("models/patents"), type=click.Path(path_type=Path), show_default=True
)
@click.option("--epochs", default=16, show_default=True)
def main(data: Path, out: Path, epochs: int) -> None:
    """Train on the CSV of abstracts and write the model, its vocabulary, its starts and its card to
    --out."""
    training, aside = split(read_abstracts(data))
    words = vocabulary(training)
    x = encode(training, words)
    console.print(
        f"{len(training)} abstracts to train on ({sum(map(len, x)):,} words), {len(aside)} set "
        f"aside, {len(words):,} words known"
    )
    model = ship(train(x, len(words), epochs), len(words))
    out.mkdir(parents=True, exist_ok=True)
    model.save(out / "model.keras")
    (out / "vocabulary.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    (out / "starts.txt").write_text(STARTS.read_text(encoding="utf-8"), encoding="utf-8")
    score = measure(model, encode(aside, words))
    text = yaml.safe_dump(card(score), sort_keys=False, allow_unicode=True)
    (out / "model.yaml").write_text(text, encoding="utf-8")
    console.print(
        f"on {score.words:,} words set aside: loss {score.loss:.3f}, "
        f"accuracy {score.accuracy:.4f}; "
        f"{(out / 'model.keras').stat().st_size / 1e6:.1f} MB"
    )


if __name__ == "__main__":
    main()
