"""Models of every kind of input with every kind of output, made from a table: a trunk for each kind
of input, a head for each kind of output."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from tests.drawn import encoded, noise
from tests.sounds import recording

HEIGHT, WIDTH = 12, 16
RATE, SAMPLES = 8_000, 400
WORDS = ["the", "film", "was", "good", "bad", "über"]
LABELS = ["red", "green", "blue"]
NAMES = ["empty", "cell", "wall"]
THINGS = ["cat", "dog"]
LEAST, MOST = 0.4, 4
LENGTH = 6
ROWS = 2
# What the parts of a model are called: not what their kinds are.
INPUTS = {
    "picture": "scene",
    "fields": "facts",
    "words": "review",
    "ids": "comment",
    "audio": "wave",
    "series": "history",
    "tensor": "state",
}
Form = tuple[str | None, str | bytes]


@dataclass(frozen=True)
class Given:
    """A kind of input, with two rows of it.

    card: its settings. shape: of a row. trunk: from the input to features of shape (rows, n).
    values: the rows in JSON. parts: the same as parts of a form. bodies: other requests for both
    rows, and firsts: for the first, of a model that has no other input. tensor: what the model is
    to get. files: the rows as a client of v1 and v2 may send them in its place. beside: what the
    model's folder needs.
    """

    card: str
    shape: tuple[int, ...]
    trunk: Callable[[Any], Any]
    values: Sequence[Any]
    parts: Sequence[Form]
    tensor: Any
    dtype: str = "float32"
    datatype: str = "FP32"
    files: Sequence[bytes] | None = None
    bodies: Sequence[dict[str, Any]] = ()
    firsts: Sequence[dict[str, Any]] = ()
    beside: dict[str, str] = field(default_factory=dict)
    unknown: Sequence[float] | None = None

    @property
    def kind(self) -> str:
        """What a card calls it."""
        return self.card.partition(",")[0].removeprefix("kind: ")

    def array(self, at: Sequence[int], *, encoded: bool) -> Any:
        """The rows at these places as a binary tensor, or as files."""
        if encoded and self.files is not None and self.datatype != "BYTES":
            return np.array([self.files[i] for i in at], object)
        rows = self.tensor[[*at]]
        return np.char.encode(rows.astype(str)).astype(object) if self.dtype == "string" else rows


def _table(*lines: Sequence[Any]) -> str:
    return "".join(",".join(map(str, line)) + "\n" for line in lines)


def _csv(text: str) -> dict[str, Any]:
    return {"content": text.encode(), "headers": {"Content-Type": "text/csv"}}


def _picture() -> Given:
    pixels = np.stack([noise((HEIGHT, WIDTH), seed=seed) for seed in range(ROWS)])
    files = [encoded(each) for each in pixels]
    return Given(
        'kind: picture, scale: "0..1"',
        (HEIGHT, WIDTH, 3),
        lambda x: layers.Flatten()(layers.AveragePooling2D(4)(layers.Conv2D(2, 3)(x))),
        [b64encode(file).decode() for file in files],
        [("a.png", file) for file in files],
        pixels.astype(np.float32) / 255,
        files=files,
        bodies=[{"files": [("image", ("a.png", file)) for file in files]}],
        firsts=[{"content": files[0], "headers": {"Content-Type": "image/png"}}],
    )


def _fields() -> Given:
    # A word stands for a number, also where the numbers have gaps.
    choices = {"never": 3, "daily": 7}
    rows = [{"a": 0.25, "b": -1.5, "smokes": "daily"}, {"a": 3, "b": 0.5, "smokes": "never"}]
    tensor = [[row["a"], row["b"], choices[str(row["smokes"])]] for row in rows]
    table = _table(["smokes", "a", "b"], *([row["smokes"], row["a"], row["b"]] for row in rows))
    return Given(
        "kind: fields, fields: [{name: a, example: 1}, {name: b, example: 2}, "
        "{name: smokes, choices: {3: never, 7: daily}}]",
        (3,),
        lambda x: layers.Dense(5, "tanh")(x),
        rows,
        [(None, json.dumps(row)) for row in rows],
        np.array(tensor, np.float32),
        bodies=[_csv(table), {"files": {"file": ("rows.csv", table)}}],
        firsts=[{"json": rows[0]}],
    )


# Punctuation, capitals, letters beyond ASCII, unknown words; and more words than the model takes.
TEXTS = ["The FILM, was über... lousy!", "good bad good film the was good über"]


def _vectorization() -> Any:
    return layers.TextVectorization(vocabulary=WORDS, output_sequence_length=LENGTH)


def _embedded(ids: Any) -> Any:
    return layers.Flatten()(layers.Embedding(len(WORDS) + 2, 3, "normal")(ids))


def _bodies_of_texts(name: str) -> list[dict[str, Any]]:
    table = _table(["text"], *([f'"{text}"'] for text in TEXTS))
    return [
        {"json": TEXTS},
        _csv(table),
        {"files": {"file": ("texts.csv", table)}},
        {"files": [(name, (None, text)) for text in TEXTS]},
    ]


def _words() -> Given:
    return Given(
        "kind: text",
        (1,),
        lambda x: _embedded(_vectorization()(x)),
        TEXTS,
        [(None, text) for text in TEXTS],
        np.array(TEXTS, object)[:, None],
        dtype="string",
        datatype="BYTES",
        files=[text.encode() for text in TEXTS],
        bodies=_bodies_of_texts(INPUTS["words"]),
        firsts=[{"json": {"text": TEXTS[0]}}],
    )


def _ids() -> Given:
    ids = np.asarray(_vectorization()(np.array(TEXTS, object)))
    return Given(
        f"kind: text, length: {LENGTH}",
        (LENGTH,),
        _embedded,
        TEXTS,
        [(None, text) for text in TEXTS],
        ids.astype(np.int32),
        dtype="int32",
        datatype="INT32",
        files=[text.encode() for text in TEXTS],
        bodies=_bodies_of_texts(INPUTS["ids"]),
        firsts=[{"json": {"text": TEXTS[0]}}],
        beside={"vocabulary.txt": "\n".join(["", "[UNK]", *WORDS])},
        unknown=[0.2, 0.0],
    )


def _audio() -> Given:
    waves = np.random.default_rng(5).uniform(-1, 1, (ROWS, SAMPLES)).astype(np.float32)
    # The second is cut.
    waves[0, 350:] = 0
    cut = [waves[0, :350], np.append(waves[1], np.full(9, 0.5, np.float32))]
    files = [recording(wave, RATE, subtype="FLOAT") for wave in cut]
    return Given(
        f"kind: audio, rate: {RATE}",
        (SAMPLES,),
        lambda x: layers.Flatten()(
            layers.Conv1D(2, 40, 40, activation="tanh")(layers.Reshape((SAMPLES, 1))(x))
        ),
        [b64encode(file).decode() for file in files],
        [("a.wav", file) for file in files],
        waves,
        files=files,
        bodies=[{"files": [("audio", ("a.wav", file)) for file in files]}],
        firsts=[{"content": files[0], "headers": {"Content-Type": "audio/wav"}}],
    )


def _series() -> Given:
    series = np.random.default_rng(6).normal(size=(ROWS, 5, 2)).round(2)
    first: Any = series[0].tolist()
    second: Any = series[1].tolist()
    table = _table(["day", "wind", "temp"], *([f"d{i}", w, t] for i, (t, w) in enumerate(first)))
    return Given(
        "kind: series, columns: [temp, wind]",
        (5, 2),
        lambda x: layers.Flatten()(layers.Conv1D(2, 2, activation="tanh")(x)),
        [[{"temp": temp, "wind": wind} for temp, wind in first], [[9, 9], *second]],
        [(None, json.dumps(first)), (None, _table(*second))],
        series.astype(np.float32),
        bodies=[{"json": [first, second]}],
        firsts=[_csv(table), {"files": {"file": ("a.csv", table)}}, {"json": first}],
    )


def _tensor() -> Given:
    tensor = np.random.default_rng(7).normal(size=(ROWS, 2, 3)).astype(np.float32)
    values = tensor.tolist()
    return Given(
        "kind: tensor",
        (2, 3),
        lambda x: layers.Flatten()(x),
        values,
        [(None, json.dumps(value)) for value in values],
        tensor,
        bodies=[{"json": {INPUTS["tensor"]: values}}],
    )


def givens() -> dict[str, Given]:
    """Every kind of input; texts as strings (`words`) and as `ids`."""
    made = (_picture(), _fields(), _words(), _ids(), _audio(), _series(), _tensor())
    return dict(zip(INPUTS, made, strict=True))


def _mask(x: Any, features: Any, name: str) -> Any:
    return layers.Conv2D(len(NAMES), 3, padding="same", activation="softmax", name=name)(x)


def _drawn(x: Any, features: Any, name: str) -> Any:
    return layers.Conv2D(3, 3, padding="same", activation="sigmoid", name=name)(x)


def _boxes(x: Any, features: Any, name: str) -> Any:
    """Nine boxes with a score for each of two labels."""
    spread = layers.Dense(9 * 6, kernel_initializer="normal")(30 * features)
    return layers.Reshape((9, 6), name=name)(ops.sigmoid(spread))


# What makes each kind of output of the picture (if there is one) and the features, and its card.
HEADS: dict[str, tuple[Callable[[Any, Any, str], Any], str]] = {
    "classes": (
        lambda x, features, name: layers.Dense(3, "softmax", name=name)(features),
        f"kind: classes, labels: [{', '.join(LABELS)}]",
    ),
    "number": (
        lambda x, features, name: layers.Dense(1, name=name)(features),
        "kind: number, unit: m, decimals: 3",
    ),
    "vector": (lambda x, features, name: layers.Dense(4, name=name)(features), "kind: vector"),
    "tensor": (
        lambda x, features, name: layers.Reshape((2, 3), name=name)(layers.Dense(6)(features)),
        "kind: tensor",
    ),
    "mask": (_mask, f"kind: mask, labels: [{', '.join(NAMES)}]"),
    "picture": (_drawn, 'kind: picture, scale: "0..1"'),
    "boxes": (
        _boxes,
        "kind: boxes, format: center_xywh, relative: true, activation: none, "
        f"labels: [{', '.join(THINGS)}], threshold: {LEAST}, top: {MOST}",
    ),
}
OF_ALL = ("classes", "number", "vector", "tensor")
OF_PICTURES = ("mask", "picture", "boxes")


@dataclass(frozen=True)
class Case:
    """A model: its kinds of inputs, as `givens` calls them, and of outputs."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def name(self) -> str:
        """Of the model."""
        return f"{'.'.join(self.inputs)}-{'.'.join(self.outputs)}"


CASES = [
    *(Case((given,), (head,)) for given in INPUTS for head in OF_ALL),
    *(Case(("picture",), (head,)) for head in OF_PICTURES),
    Case(("picture",), ("classes", "number", "mask")),
    Case(("picture", "fields", "words"), ("classes", "vector", "picture")),
    Case(("ids", "picture", "tensor"), ("boxes", "tensor", "number")),
    Case(("audio", "fields"), ("classes", "number")),
    Case(("series", "fields"), ("tensor", "vector")),
    Case(("words", "ids"), ("number",)),
    Case(("audio", "series", "tensor"), ("tensor",)),
]
# Of models whose batch has a fixed size.
FIXED_CASES = [
    *(Case((given,), ("tensor",)) for given in INPUTS),
    Case(("tensor",), ("classes",)),
    *(Case(("picture",), (head,)) for head in OF_PICTURES),
    Case(("picture", "fields", "words"), ("classes", "vector", "picture")),
    Case(("ids", "picture", "tensor"), ("boxes", "tensor", "number")),
    Case(("audio", "series", "tensor"), ("tensor",)),
]


def save(
    folder: Path, case: Case, given: dict[str, Given], batch: int | None = None
) -> keras.Model:
    """Save the model of a case, with its card; returns it. batch: the only number of rows that it
    takes; None for any."""
    inputs = {
        each: layers.Input(
            batch_shape=(batch, *given[each].shape), dtype=given[each].dtype, name=INPUTS[each]
        )
        for each in case.inputs
    }
    parts = [given[each].trunk(x) for each, x in inputs.items()]
    features = parts[0] if len(parts) == 1 else layers.Concatenate()(parts)
    made = {
        f"its_{head}": HEADS[head][0](inputs.get("picture"), features, f"its_{head}")
        for head in case.outputs
    }
    alone = len(made) == 1
    model = keras.Model([*inputs.values()], next(iter(made.values())) if alone else made)
    (folder / case.name).mkdir(parents=True)
    model.save(folder / case.name / "model.keras")
    card = ["inputs:", *(f"  {INPUTS[each]}: {{{given[each].card}}}" for each in case.inputs)]
    card += ["outputs:", *(f"  its_{head}: {{{HEADS[head][1]}}}" for head in case.outputs)]
    (folder / case.name / "model.yaml").write_text("\n".join(card))
    for each in case.inputs:
        for name, text in given[each].beside.items():
            (folder / case.name / name).write_text(text, encoding="utf-8")
    return model
