"""Train the model of messages shipped in `models/spam`: a text message to spam or not.

Data: the SMS Spam Collection of the UCI Machine Learning Repository (Almeida and Hidalgo, CC BY
4.0), a tab-separated file of `ham` or `spam` and the message, as in
https://github.com/vinpatrol/spam-detect-NLP.

    python training/spam.py --data sms_spam.tsv

The model is a logistic regression on which of some thousand sequences of 2 to 4 characters a
message has: senders of spam vary words, prices and numbers, hardly their parts. All of it is in the
model, which takes the message as it is.

Messages that differ in digits, punctuation or letter case only are copies: of those, one counts,
and near copies are always in the same fold. The figures on the card are those of nested
cross-validation: five folds, repeated. For each fold the sequences, their weights and the
calibration of the probabilities come from the other four alone. The shipped model is trained on all
messages in the same way.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import click
import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
import yaml
from keras import layers
from rich.console import Console

LENGTHS = (2, 3, 4)
# Messages that must have a sequence, for it to count.
LEAST_MESSAGES = 3
# Of the regularisation.
STRENGTH = 0.003
# The change of scores at which a regression has converged.
STILL = 0.02
FOLDS = 5
CALIBRATION_FOLDS = 3
BOOTSTRAPS = 10_000
SEED = 1
EXAMPLES = [
    "Are you still coming for dinner tonight? I'm cooking around seven.",
    "Sorry, the bus is late. Start without me, I'll be there in 20 min",
    "Happy birthday! Have a lovely day, see you on Saturday x",
    "WINNER! You have been chosen for a free holiday. Call 09098 790 147 now to claim your prize",
    "Get 500 free minutes and a new phone today! Reply YES to 80555. T&Cs apply, 18+",
    "Urgent: a bonus of 200 pounds is waiting for you. Text CLAIM to 86555 before midnight",
]
# As the model does: letters outside ASCII stay as they are.
LOWER = str.maketrans({chr(c): chr(c + 32) for c in range(ord("A"), ord("Z") + 1)})

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int_]
console = Console()


class Messages(NamedTuple):
    """texts: each once. spam: 0 or 1. groups: the same number for near copies."""

    texts: list[str]
    spam: Floats
    groups: Ints


class Fitted(NamedTuple):
    """A regression on some messages: weights of these (the dual form), and the line that makes
    calibrated logits of its scores."""

    dual: Floats
    slope: float
    offset: float


def read_messages(path: Path) -> Messages:
    """Read the file."""
    found: dict[str, tuple[str, bool]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        label, _, text = line.partition("\t")
        found.setdefault(" ".join(text.lower().split()), (text, label == "spam"))
    texts = [text for text, _ in found.values()]
    numbers: dict[str, int] = {}
    keys = (re.sub(r"[\W\d]", "", text.lower()) for text in texts)
    groups = np.array([numbers.setdefault(key, len(numbers)) for key in keys])
    return Messages(texts, np.array([spam for _, spam in found.values()], float), groups)


def sequences(text: str) -> set[str]:
    """Return the sequences of characters of a message, spelled as Keras's TextVectorization does:
    with blanks between the characters."""
    characters = text.translate(LOWER)
    return {
        " ".join(characters[i : i + n]) for n in LENGTHS for i in range(len(characters) - n + 1)
    }


def presence(texts: list[str]) -> tuple[list[str], npt.NDArray[np.float32]]:
    """Return all sequences that enough messages have, and a matrix (messages, sequences) of 0 and
    1."""
    each = [sequences(text) for text in texts]
    counts = Counter(sequence for found in each for sequence in found)
    known = sorted(s for s, count in counts.items() if count >= LEAST_MESSAGES and s.isprintable())
    columns = {sequence: i for i, sequence in enumerate(known)}
    matrix = np.zeros((len(texts), len(known)), np.float32)
    for row, found in zip(matrix, each, strict=True):
        row[[columns[s] for s in found if s in columns]] = 1
    return known, matrix


def unit_rows(
    matrix: npt.NDArray[np.float32], seen: Ints
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Return the rows with only the sequences that enough of the messages `seen` have, each of
    length 1, and which sequences these are."""
    kept = matrix[seen].sum(axis=0) >= LEAST_MESSAGES
    rows = matrix[:, kept]
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9), kept


def regression(kernel: Floats, spam: Floats) -> Any:
    """Return the dual weights of a logistic regression with L2 regularisation, by iteratively
    reweighted least squares. kernel: scalar products of the rows, plus that of a constant."""
    dual: Any = np.zeros(len(spam))
    scores = dual
    for _ in range(20):
        chance = 1 / (1 + np.exp(-scores))
        weight = np.maximum(chance * (1 - chance), 1e-5)
        wanted = scores + (spam - chance) / weight
        dual = np.linalg.solve(kernel + np.diag(STRENGTH / weight), wanted)
        before, scores = scores, kernel @ dual
        if np.abs(scores - before).max() < STILL:
            break
    return dual


def calibration(scores: Floats, spam: Floats) -> tuple[float, float]:
    """Return slope and offset that make calibrated logits of scores (Platt)."""
    rows = np.stack([scores, np.ones_like(scores)], axis=1)
    line = np.array([1.0, 0.0])
    for _ in range(50):
        chance = 1 / (1 + np.exp(-rows @ line))
        curved = rows.T @ (rows * (chance * (1 - chance))[:, None]) + 1e-6 * np.eye(2)
        line = line + np.linalg.solve(curved, rows.T @ (spam - chance))
    return float(line[0]), float(line[1])


def split(groups: Ints, count: int, seed: int) -> Ints:
    """Return a fold for each message, at random; near copies share one."""
    mixed = np.random.default_rng(seed).permutation(groups.max() + 1)
    return mixed[groups] % count


def fit(kernel: Floats, spam: Floats, groups: Ints) -> Fitted:
    """Fit all of these messages, and calibrate by cross-validation among them."""
    folds = split(groups, CALIBRATION_FOLDS, SEED)
    scores = np.zeros(len(spam))
    for fold in range(CALIBRATION_FOLDS):
        rest, aside = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        dual = regression(kernel[np.ix_(rest, rest)], spam[rest])
        scores[aside] = kernel[np.ix_(aside, rest)] @ dual
    return Fitted(regression(kernel, spam), *calibration(scores, spam))


def measure(messages: Messages, matrix: npt.NDArray[np.float32], repeats: int) -> Floats:
    """Return the logits of nested cross-validation, of spam: (repeats, messages)."""
    logits = np.zeros((repeats, len(messages.spam)))
    for repeat in range(repeats):
        folds = split(messages.groups, FOLDS, repeat)
        for fold in range(FOLDS):
            rest, aside = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
            rows, _ = unit_rows(matrix, rest)
            kernel = (rows @ rows[rest].T).astype(np.float64) + 1
            fitted = fit(kernel[rest], messages.spam[rest], messages.groups[rest])
            logits[repeat, aside] = fitted.slope * (kernel[aside] @ fitted.dual) + fitted.offset
            right = np.mean((logits[repeat, aside] > 0) == messages.spam[aside])
            console.print(f"repeat {repeat}, fold {fold}: {right:.2%} right")
    return logits


def quality(logits: Floats, spam: Floats) -> dict[str, Any]:
    """Return `metrics` of the card."""
    right = (logits > 0) == spam
    # Other messages would have given another figure: resample them.
    drawn = np.random.default_rng(SEED).integers(len(spam), size=(BOOTSTRAPS, len(spam)))
    low, high = np.quantile(right.mean(axis=0)[drawn].mean(axis=1), [0.025, 0.975])
    console.print(f"right: {right.mean(axis=1)}, 95 % interval {low:.4f} to {high:.4f}")
    loss = np.mean(np.logaddexp(0, logits) - spam * logits)
    console.print(f"log loss {loss:.4f}")
    return {
        "accuracy": round(float(right.mean()), 4),
        "spam_found": percent(right[:, spam == 1].mean()),
        "false_alarms": percent(1 - right[:, spam == 0].mean()),
        "measured_on": f"{len(spam):,} different messages by cross-validation (95 % interval "
        f"{percent(low)} to {percent(high)} right)",
    }


def percent(share: float) -> str:
    """Format a share for people."""
    return f"{share * 100:.1f} %"


def assemble(known: list[str], weights: Floats, bias: float) -> Any:
    """Return the regression as a model: a message to the probability of spam."""
    message = keras.Input((), dtype="string", name="message")
    found = layers.TextVectorization(
        standardize="lower",
        split="character",
        ngrams=LENGTHS,
        output_mode="multi_hot",
        vocabulary=known,
        name="sequences",
    )(message)
    # The first stands for all sequences that are not known.
    present = keras.ops.cast(found[:, 1:], "float32")
    rows = layers.UnitNormalization(name="length")(present)
    dense = layers.Dense(1, activation="sigmoid", name="spam")
    model = keras.Model(message, dense(rows))
    dense.set_weights([weights[:, None], np.array([bias])])
    return model


def card(metrics: dict[str, Any]) -> dict[str, Any]:
    """`model.yaml`. The examples are none of the messages."""
    return {
        "title": "Spam or not",
        "description": "Tells whether a text message in English is spam.",
        "inputs": {"message": {"kind": "text"}},
        "outputs": {"label": {"kind": "classes", "labels": ["ham", "spam"]}},
        "metrics": metrics,
        "examples": EXAMPLES,
    }


@click.command()
@click.option(
    "--data",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="File with one message a line: ham or spam, a tab, the message.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("models/spam"),
    show_default=True,
    help="Folder to write model.keras and model.yaml into.",
)
@click.option(
    "--repeats",
    type=click.IntRange(1),
    default=3,
    show_default=True,
    help="How often the messages are split into folds.",
)
def main(data: Path, out: Path, repeats: int) -> None:
    """Measure and train the model of messages, and write it with its card."""
    messages = read_messages(data)
    known, matrix = presence(messages.texts)
    console.print(f"{len(messages.texts):,} messages, {len(known):,} sequences")
    metrics = quality(measure(messages, matrix, repeats), messages.spam)
    console.print(metrics)
    rows, _ = unit_rows(matrix, np.arange(len(messages.texts)))
    kernel = (rows @ rows.T).astype(np.float64) + 1
    fitted = fit(kernel, messages.spam, messages.groups)
    weights = fitted.slope * (rows.T.astype(np.float64) @ fitted.dual)
    bias = fitted.slope * float(fitted.dual.sum()) + fitted.offset
    model = assemble(known, weights, bias)
    sample = messages.texts[:: len(messages.texts) // 200]
    wanted = fitted.slope * (kernel[:: len(messages.texts) // 200] @ fitted.dual) + fitted.offset
    answered = model.predict(tf.constant(sample), verbose=0)[:, 0]
    np.testing.assert_allclose(answered, 1 / (1 + np.exp(-wanted)), atol=1e-4)
    out.mkdir(parents=True, exist_ok=True)
    model.save(out / "model.keras")
    text = yaml.safe_dump(card(metrics), sort_keys=False, width=100)
    (out / "model.yaml").write_text(text, encoding="utf-8")
    console.print(f"wrote {out}")


if __name__ == "__main__":
    main()
