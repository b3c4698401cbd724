"""Masks and pictures that come out: what a bare file gives, what a card may say, how they are
drawn."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from app.api.http.json_writer import dumps, json_pieces
from app.errors import CardError, InvalidInput
from app.serving.cards.card import Card
from app.serving.cards.inference.guesses import guesses
from app.serving.cards.inference.infer import completed
from app.serving.cards.inference.picture_outputs import answer_kind
from app.serving.limits import Limits
from app.serving.reductions import MaskReduction, PictureReduction
from app.serving.signature import Grid, OutputMeaning, PictureEvidence, Signature
from app.serving.tasks import RowTask
from app.serving.tasks.base import Drawing
from app.serving.tasks.files.pictures import PictureSpec, opened
from app.serving.tasks.files.placement import Placement
from app.serving.tasks.outputs.drawn import Drawn, check_drawing
from tests.unit.signatures import MEANINGS, Shape, signature, spec

FOUND = PictureEvidence("0..1", False, "a guess")
ONE = OutputMeaning("softmax", True, True, "a softmax")
LOGITS = OutputMeaning("logits", True, True, "the loss takes logits")
SURE = OutputMeaning("sigmoid", True, True, "the loss is binary_crossentropy", True)
COPY = OutputMeaning("sigmoid", False, True, "the loss is mse", True, bounds=(0.0, 1.0))
NUMBERS = OutputMeaning("values", False, True, "the loss is mse")


def model(taken: Shape, given: Shape, meaning: OutputMeaning, dtype: str = "float32") -> Signature:
    return Signature(
        (spec("photo", shape=taken),),
        (spec("out", dtype, given),),
        meanings=(meaning,),
        parameters=1,
        pictures={"photo": FOUND},
    )


def whole(channels: int) -> Shape:
    return (None, None, None, channels)


@pytest.mark.parametrize(
    ("taken", "given", "meaning", "kind", "guessed"),
    [
        (3, 21, ONE, "mask", False),
        (3, 2, LOGITS, "mask", False),
        (3, 1, SURE, "mask", False),
        (1, 1, SURE, "mask", True),
        (3, 1, MEANINGS["sigmoid"], "mask", True),
        (3, 5, SURE, "mask", True),
        (3, 3, SURE, "picture", True),
        (3, 3, COPY, "picture", False),
        (1, 1, COPY, "picture", False),
        (3, 3, NUMBERS, "picture", False),
        (1, 1, NUMBERS, "picture", True),
        (1, 3, NUMBERS, "picture", True),
        (3, 3, MEANINGS["linear"], "picture", True),
        # A depth, a density, a flow, features.
        (3, 1, NUMBERS, "tensor", False),
        (3, 2, NUMBERS, "tensor", False),
        (3, 64, MEANINGS["relu"], "tensor", False),
        (3, 300, ONE, "tensor", False),
    ],
)
def test_the_kind_of_a_map(
    taken: int, given: int, meaning: OutputMeaning, kind: str, guessed: bool
) -> None:
    of = model(whole(taken), whole(given), meaning)
    found = answer_kind(of.outputs[0], of)
    assert (found.kind, found.guess is not None) == (kind, guessed)


@pytest.mark.parametrize(
    "of",
    [
        signature(spec("x", shape=(None, 8, 8, 5)), outputs=(spec("y", shape=whole(2)),)),
        model(whole(3), (None, None, 2), ONE),
        model(whole(3), (None, 4, 4, None), ONE),
        model(whole(3), whole(2), ONE, "int64"),
    ],
)
def test_what_is_no_map_of_a_picture_stays_a_tensor(of: Signature) -> None:
    assert answer_kind(of.outputs[0], of).kind == "tensor"


def test_a_bare_file_takes_pictures_in_their_own_size() -> None:
    of = model(whole(3), whole(2), ONE)
    card, _ = completed(None, of)
    (taken,), (given,) = (card.inputs or {}).values(), (card.outputs or {}).values()
    assert taken.kind == "picture"
    assert taken.size == "own"
    assert given.kind == "mask"
    keys = [guess.key for guess in guesses(None, card, of)]
    assert "outputs.out.labels" in keys
    assert not any(key.endswith(("size", "kind")) for key in keys)
    # A classifier of any size keeps its usual one.
    card, _ = completed(None, model(whole(3), (None, 2), ONE))
    assert card.input.size == (224, 224)


@pytest.mark.parametrize(
    ("bounds", "scale", "guessed"),
    [
        ((0.0, 1.0), "0..1", False),
        ((-1.0, 1.0), "-1..1", False),
        ((0.0, 255.0), "none", False),
        (None, "0..1", True),
        ((-2.0, 3.0), "0..1", True),
    ],
)
def test_the_scale_of_a_picture_that_comes_out(bounds: Any, scale: str, guessed: bool) -> None:
    of = model(whole(3), whole(3), OutputMeaning("values", False, True, "mse", bounds=bounds))
    card, _ = completed(None, of)
    (given,) = (card.outputs or {}).values()
    assert given.kind == "picture"
    assert given.scale == scale
    keys = [guess.key for guess in guesses(None, card, of)]
    assert ("outputs.out.scale" in keys) == guessed


# --- cards


def test_what_an_output_shows_is_a_guess_where_its_layers_do_not_tell() -> None:
    def keys(of: Signature, said: dict[str, Any] | None = None) -> list[str]:
        stated = None if said is None else Card.model_validate({"outputs": {"out": said}})
        return [g.key for g in guesses(stated, completed(stated, of)[0], of)]

    covers = "outputs.out.covers"
    sized = model((None, 572, 572, 3), (None, 388, 388, 2), ONE)
    assert covers in keys(sized)
    assert covers not in keys(sized, {"kind": "mask", "covers": "middle"})
    same = model((None, 8, 8, 3), (None, 8, 8, 2), ONE)
    assert covers not in keys(same)
    assert covers in keys(model(whole(3), whole(2), ONE))
    known = replace(sized, grids={"out": Grid((1.0, 1.0), (92.0, 92.0))})
    assert covers not in keys(known)


def task(output: dict[str, Any], of: Signature) -> RowTask:
    taken = {"kind": "picture"}
    card = Card.model_validate({"inputs": {"photo": taken}, "outputs": {"out": output}})
    return RowTask(completed(card, of)[0], of, Limits())


@pytest.mark.parametrize(
    ("said", "given", "meaning", "message"),
    [
        ({"kind": "mask", "labels": ["a"]}, whole(3), ONE, "1 labels do not match.*3 channels"),
        ({"kind": "mask", "labels": ["a"]}, whole(1), SURE, "1 labels do not match.*1 channel"),
        ({"kind": "mask"}, (None, 3), ONE, "the kind mask needs an output of shape"),
        ({"kind": "mask"}, whole(256), ONE, "at most 255 channels"),
        ({"kind": "mask", "threshold": 0.3}, whole(3), ONE, "the highest counts; leave it out"),
        ({"kind": "mask", "activation": "softmax"}, whole(1), SURE, "softmax needs several"),
        ({"kind": "picture"}, whole(2), NUMBERS, "the kind picture needs an output of shape"),
    ],
)
def test_what_does_not_fit_is_refused(
    said: dict[str, Any], given: Shape, meaning: OutputMeaning, message: str
) -> None:
    with pytest.raises(CardError, match=message):
        task(said, model(whole(3), given, meaning))


@pytest.mark.parametrize("kind", ["mask", "picture"])
def test_boxes_have_no_mask_or_picture_beside_them(kind: str) -> None:
    of = Signature(
        (spec("photo", shape=whole(3)),),
        (spec("where", shape=(None, 9, 6)), spec("out", shape=whole(3))),
        meanings=(NUMBERS, ONE),
        parameters=1,
        pictures={"photo": FOUND},
    )
    boxes = {"kind": "boxes", "format": "xyxy", "labels": ["a", "b"]}
    card = Card.model_validate({"outputs": {"where": boxes, "out": {"kind": kind}}})
    with pytest.raises(CardError, match="boxes, and masks or pictures beside them"):
        RowTask(completed(card, of)[0], of, Limits())
    card = Card.model_validate({"outputs": {"where": boxes, "out": {"kind": "tensor"}}})
    assert [out.kind for out in RowTask(completed(card, of)[0], of, Limits()).outputs] == [
        "boxes",
        "tensor",
    ]


def test_numbers_of_classes_need_labels() -> None:
    of = model(whole(3), (None, None, None), ONE, "int64")
    with pytest.raises(CardError, match=r"outputs\.out\.labels: the model gives numbers"):
        task({"kind": "mask"}, of)
    (out,) = task({"kind": "mask", "labels": ["a", "b"]}, of).drawn
    assert out.reduction == MaskReduction("numbers", 2)


@pytest.mark.parametrize(
    ("said", "channels", "meaning", "reduction"),
    [
        ({}, 3, ONE, MaskReduction("highest", 3)),
        ({}, 3, LOGITS, MaskReduction("highest", 3)),
        ({}, 1, SURE, MaskReduction("second", 2)),
        ({"threshold": 0.25}, 1, SURE, MaskReduction("second", 2, 0.25)),
        ({"activation": "sigmoid"}, 1, LOGITS, MaskReduction("second", 2, 0.0)),
        ({}, 4, SURE, MaskReduction("several", 4)),
        ({"activation": "sigmoid"}, 4, LOGITS, MaskReduction("several", 4, 0.0)),
    ],
)
def test_what_decides_between_labels(
    said: dict[str, Any], channels: int, meaning: OutputMeaning, reduction: MaskReduction
) -> None:
    (out,) = task({"kind": "mask", **said}, model(whole(3), whole(channels), meaning)).drawn
    assert out.reduction == reduction


# --- drawing


def drawn(
    out: Drawn, row: Any, placed: Placement | None = None, *, at_model_size: bool = False
) -> tuple[dict[str, Any], Image.Image]:
    value = out.draw(row, placed, Drawing(at_model_size, as_files=True), lambda: None)
    return value, Image.open(io.BytesIO(value["png"]))


def whole_of(width: int, height: int) -> Placement:
    """All of a picture, stretched."""
    return Placement((width, height), (0, 0, width, height), (2, 2), (0, 0, 2, 2))


def mask_of(classes: int) -> Drawn:
    (out,) = task({"kind": "mask"}, model(whole(3), whole(classes), ONE)).drawn
    return out


@pytest.mark.parametrize("classes", [2, 3, 5, 17, 255])
def test_a_mask_has_the_numbers_of_classes_and_their_colours(classes: int) -> None:
    row = np.arange(35 * 29).reshape(35, 29) % classes
    value, image = drawn(mask_of(classes), row.astype(np.uint8))
    np.testing.assert_array_equal(np.asarray(image), row)
    palette = image.getpalette()
    assert palette is not None
    colors = [f"#{bytes(palette[i : i + 3]).hex()}" for i in range(0, 3 * classes, 3)]
    assert colors == [each["color"] for each in value["classes"]]
    assert len(set(colors)) == classes
    counts = np.bincount(row.ravel(), minlength=classes) / row.size
    np.testing.assert_allclose([each["share"] for each in value["classes"]], counts, atol=1e-6)


def test_a_mask_gets_the_size_of_its_picture() -> None:
    row = np.array([[0, 1], [1, 0]], np.uint8)
    value, image = drawn(mask_of(2), row, whole_of(6, 4))
    assert value["size"] == [4, 6]
    np.testing.assert_array_equal(np.asarray(image), row.repeat(2, 0).repeat(3, 1))
    value, image = drawn(mask_of(2), row, whole_of(6, 4), at_model_size=True)
    np.testing.assert_array_equal(np.asarray(image), row)


def test_what_was_padded_is_cut_off_and_does_not_count() -> None:
    row = np.zeros((8, 8), np.uint8)
    row[2:6] = 1
    frame = Placement((20, 10), (0, 0, 20, 10), (8, 8), (0, 2, 8, 6))
    value, image = drawn(mask_of(2), row, frame)
    assert (np.asarray(image) == 1).all()
    assert image.size == (20, 10)
    assert [each["share"] for each in value["classes"]] == [0.0, 1.0]


def test_what_was_cropped_is_transparent() -> None:
    frame = Placement((30, 10), (10, 0, 20, 10), (8, 8), (0, 0, 8, 8))
    value, image = drawn(mask_of(2), np.ones((8, 8), np.uint8), frame)
    assert image.size == (30, 10)
    seen = np.asarray(image.convert("RGBA"))[..., 3] == 255
    assert seen[:, 10:20].all()
    assert not seen[:, :10].any()
    assert not seen[:, 20:].any()
    assert [each["share"] for each in value["classes"]] == [0.0, 1.0]


def test_a_mask_of_the_middle_lies_in_the_middle() -> None:
    of = model((None, 10, 10, 3), (None, 6, 6, 2), ONE)
    (out,) = task({"kind": "mask", "covers": "middle"}, of).drawn
    frame = Placement((20, 10), (0, 0, 20, 10), (10, 10), (0, 0, 10, 10))
    value, image = drawn(out, np.ones((6, 6), np.uint8), frame)
    seen = np.asarray(image.convert("RGBA"))[..., 3] == 255
    assert seen[2:8, 4:16].all()
    assert seen.sum() == 6 * 12
    assert [each["share"] for each in value["classes"]] == [0.0, 1.0]
    value, _ = drawn(out, np.ones((6, 6), np.uint8), frame, at_model_size=True)
    assert value["box"] == {"xmin": 4, "ymin": 2, "xmax": 16, "ymax": 8}


def test_a_mask_that_shows_nothing_of_the_picture_is_refused() -> None:
    of = model((None, 10, 10, 3), (None, 6, 6, 2), ONE)
    (out,) = task({"kind": "mask", "covers": "middle"}, of).drawn
    narrow = Placement((1, 10), (0, 0, 1, 10), (10, 10), (0, 0, 1, 10))
    with pytest.raises(InvalidInput, match="picture: too small for this model, with 1 × 10"):
        drawn(out, np.ones((6, 6), np.uint8), narrow)


def test_pixels_of_none_of_the_labels_have_a_label_of_their_own() -> None:
    (out,) = task({"kind": "mask", "labels": ["a", "b"]}, model(whole(3), whole(2), SURE)).drawn
    scores = np.array([[[[0.9, 0.1], [0.4, 0.2]], [[0.1, 0.6], [0.5, 0.5]]]], np.float32)
    value, image = drawn(out, out.reduction.numpy(scores)[0])
    assert np.asarray(image).tolist() == [[0, 2], [1, 0]]
    assert [each["label"] for each in value["classes"]] == ["a", "b", "none of these"]


@pytest.mark.parametrize(
    ("scale", "values", "pixels"),
    [
        ("0..1", [-1, 0, 0.5, 1, 2], [0, 0, 128, 255, 255]),
        ("-1..1", [-2, -1, 0, 1], [0, 0, 128, 255]),
        ("none", [-1, 0, 99.6, 255, 300], [0, 0, 100, 255, 255]),
    ],
)
def test_numbers_become_pixels(scale: Any, values: list[float], pixels: list[int]) -> None:
    found = PictureReduction(scale).numpy(np.array(values, np.float32))
    assert found.tolist() == pixels


def test_a_picture_is_cut_to_what_was_sent() -> None:
    of = model(whole(3), whole(1), NUMBERS)
    (out,) = task({"kind": "picture"}, of).drawn
    row = np.arange(16 * 32).reshape(16, 32, 1).astype(np.uint8)
    # 5 x 11, extended to 8 x 16, and doubled.
    _, image = drawn(out, row, Placement((11, 5), (0, 0, 11, 5), (16, 8), (0, 0, 11, 5)))
    np.testing.assert_array_equal(np.asarray(image), row[:10, :22, 0])


def test_masks_are_as_large_together_as_the_largest_picture() -> None:
    limits, placed = Limits(max_pixels=200), [whole_of(10, 10)] * 2
    check_drawing([mask_of(2)], placed, Drawing(), limits)
    many = [*placed, whole_of(1, 1)]
    with pytest.raises(InvalidInput, match=r"201 pixels for 3 rows, expected at most 200 \(KERA"):
        check_drawing([mask_of(2)], many, Drawing(), limits)
    check_drawing([mask_of(2)], many, Drawing(at_model_size=True), limits)


# --- sizes


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_a_picture_in_its_own_size_is_extended(format: str, orientation: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (13, 22, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format, exif=exif)
    spec = PictureSpec(None, "RGB", "stretch", 10**6, max_side=64, multiple=8)
    with opened(file, spec) as picture:
        found = picture.decode()
        placed = picture.placement
    own = (22, 13) if orientation == 1 else (13, 22)
    assert placed.size == own
    assert placed.area == (0, 0, *own)
    assert placed.fed == ((24, 16) if orientation == 1 else (16, 24))
    assert found.shape == (placed.fed[1], placed.fed[0], 3)
    # Beyond its edges it is mirrored.
    np.testing.assert_array_equal(found[:, own[0]], found[:, own[0] - 1])
    np.testing.assert_array_equal(found[own[1]], found[own[1] - 1])


# --- answers


@pytest.mark.parametrize("text", ["x" * 700_000, 'a"\\é\U0001f600\n' * 90_000])
def test_long_texts_are_written_in_pieces(text: str) -> None:
    value = {"predictions": [{"mask": {"size": [1, 2], "png": text}}]}
    pieces = [*json_pieces(value)]
    assert b"".join(pieces) == dumps(value)
    assert max(map(len, pieces)) < 3_000_000
