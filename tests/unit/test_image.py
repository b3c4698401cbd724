"""The task of pictures: which models it fits, and what requests may contain."""

from __future__ import annotations

import io
import time
from typing import Any

import numpy as np
import pytest
from PIL import Image

from app.errors import BadRequest, CardError, DeadlineExceeded, InvalidInput
from app.serving.call import Call
from app.serving.cards.card import Card, ImageInput
from app.serving.signature import PictureFeed, Scale
from app.serving.tasks import Limits, Payload, RowTask
from app.serving.tasks.files.pictures import DecodeCost, Picture
from app.serving.tasks.inputs.decoding import Upload, measure_all
from app.serving.tasks.inputs.picture import Picture as PictureInput
from tests.support import picture
from tests.unit.signatures import Shape, problems, signature, spec


def task(
    shape: Shape = (None, 6, 8, 3),
    max_pixels: int = 10**6,
    labels: list[str] | None = None,
    **image: Any,
) -> RowTask:
    card = Card(task="image-classification", labels=labels, input=ImageInput(**image))
    return RowTask(
        card,
        signature(spec(shape=shape), classes=2, activation="softmax"),
        Limits(max_pixels=max_pixels),
    )


def payload(*files: bytes) -> Payload:
    return Payload("files", files=[io.BytesIO(f) for f in files])


@pytest.mark.parametrize(
    ("shape", "image", "feed"),
    [
        ((None, 6, 8, 3), {}, (6, 8, 3)),
        ((None, 6, 8, 1), {}, (6, 8, 1)),
        ((1, 6, 8, 3), {}, (6, 8, 3)),
        ((None, 6, 8, 3), {"size": (6, 8), "color": "rgb"}, (6, 8, 3)),
        ((None, 6, 8, None), {}, (6, 8, 3)),
        ((None, 6, 8, None), {"color": "grey"}, (6, 8, 1)),
        ((None, None, None, 3), {"size": (5, 7)}, (5, 7, 3)),
        ((None, None, 7, 1), {"size": (5, 7)}, (5, 7, 1)),
        ((None, 6, 8, 4), {}, (6, 8, 4)),
        ((None, 6, 8, 4), {"color": "rgba", "scale": "none"}, (6, 8, 4)),
        ((None, 6, 8, None), {"color": "rgba"}, (6, 8, 4)),
        ((None, 6, 8), {}, (6, 8)),
        ((None, 6, 8), {"color": "grey"}, (6, 8)),
        ((None, None, None), {"size": (5, 7)}, (5, 7)),
    ],
)
def test_size_and_colour_come_from_the_model_and_the_card(
    shape: Shape, image: dict[str, Any], feed: tuple[int, ...]
) -> None:
    made = task(shape, **image)
    assert made.pictures == {"x": PictureFeed(feed, "none")}
    (pixels,) = made.read(payload(picture(0)))
    assert pixels.shape == (1, *feed)
    assert pixels.dtype == np.uint8


@pytest.mark.parametrize(
    ("shape", "image", "message"),
    [
        ((None, 6, 8, 3), {"size": (8, 6)}, r"input.size \[8, 6\] does not match .* \[6, 8\]"),
        ((None, None, 8, 3), {"size": (6, 9)}, r"\[6, 9\] does not match .* \[None, 8\]"),
        ((None, None, None, 3), {}, r"say which with 'input: \{size: \[height, width\]\}'"),
        ((None, 6, None, 3), {}, "say which"),
        ((None, 6, 8, 3), {"color": "grey"}, "color grey does not match the model's 3 channels"),
        ((None, 6, 8, 1), {"color": "rgb"}, "color rgb does not match the model's 1 channel$"),
        ((None, 6, 8, 1), {"scale": "caffe"}, "scale caffe needs 'color: rgb'"),
        ((None, 6, 8, 1), {"scale": "torch"}, "scale torch needs 'color: rgb'"),
        ((None, 6, 8, None), {"scale": "torch", "color": "grey"}, "scale torch needs"),
        ((None, 6, 8, 4), {"scale": "torch"}, "scale torch needs"),
        ((None, 6, 8, 4), {"color": "rgb"}, "color rgb does not match the model's 4 channels"),
        ((None, 6, 8), {"color": "bgr"}, "color bgr does not match the model's 1 channel$"),
        ((None, 6, 8, 3), {"color": "rgba"}, "color rgba does not match the model's 3 channels"),
        ((None, 6, 8, 3), {"color": "bgr", "scale": "caffe"}, "leave 'color: bgr' out"),
        ((None, 6, 8, 2), {}, "1, 3 or 4 channels.*task: tensor"),
        ((None, 6), {}, "1, 3 or 4 channels"),
        (None, {}, "1, 3 or 4 channels"),
    ],
)
def test_a_card_that_does_not_fit_says_why(
    shape: Shape, image: dict[str, Any], message: str
) -> None:
    with pytest.raises(CardError, match=message):
        task(shape, **image)


@pytest.mark.parametrize("scale", ["none", "0..1", "-1..1", "torch"])
def test_the_order_of_the_colours_goes_to_the_graph(scale: Scale) -> None:
    made = task(color="bgr", scale=scale)
    assert made.pictures == {"x": PictureFeed((6, 8, 3), scale, "bgr")}
    assert made.input_schema()["color"] == "bgr"


def test_two_inputs_are_no_picture_model() -> None:
    two = signature(spec("a", shape=(None, 6, 8, 3)), spec("b"), classes=2)
    with pytest.raises(CardError, match="one input"):
        RowTask(Card(task="image-classification"), two, Limits())


def test_labels_must_match() -> None:
    with pytest.raises(CardError, match="3 labels do not match the model's output of 2 units"):
        task(labels=["a", "b", "c"])


def test_several_pictures_keep_their_order() -> None:
    files = [picture(seed, (64, 48), fmt) for seed, fmt in enumerate(("JPEG", "PNG", "BMP", "GIF"))]
    made = task()
    (pixels,) = made.read(payload(*files))
    assert pixels.shape == (4, 6, 8, 3)
    for row, file in zip(pixels, files, strict=True):
        assert np.array_equal(row, made.read(payload(file))[0][0])
    assert len(np.unique(pixels.reshape(4, -1), axis=0)) == 4


def test_every_bad_picture_is_listed_by_its_place() -> None:
    files = [b"no", picture(0), picture(0)[:500], picture(1, (2000, 2000)), picture(2)]
    found = problems(task(), payload(*files))
    assert [d.field for d in found] == ["image[0]", "image[2]", "image[3]"]
    assert [d.problem.split(":")[0] for d in found] == [
        "not a picture in a supported format",
        "the picture is damaged",
        "the picture has 2000x2000 pixels",
    ]
    assert [d.expected for d in found] == [
        "JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF",
        "an intact file",
        "at most 1,000,000 pixels (KERAPORT_MAX_PIXELS)",
    ]


def test_a_single_bad_picture_is_part_of_the_message_without_a_place() -> None:
    with pytest.raises(InvalidInput) as caught:
        task().read(payload(b"no"))
    assert [d.field for d in caught.value.details] == ["image"]
    assert caught.value.message == (
        "image: not a picture in a supported format, "
        "expected JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF"
    )


def test_no_picture_at_all() -> None:
    with pytest.raises(BadRequest, match="no picture"):
        task().read(payload())


def test_an_empty_picture_is_none() -> None:
    assert problems(task(), payload(b""))[0].field == "image"


# --- what a request may cost


def flat(width: int, height: int, format: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    Image.new("L", (width, height)).save(out, format, **options)
    return out.getvalue()


def test_pixels_of_all_pictures_count_up_to_the_limit() -> None:
    """Eight of the largest; a broken one beside them counts nothing."""
    made, most = task(max_pixels=10_000), flat(100, 100)
    assert made.read(payload(*[most] * 8))[0].shape == (8, 6, 8, 3)
    assert [d.field for d in problems(made, payload(*[most] * 8, b"no"))] == ["image[8]"]
    with pytest.raises(InvalidInput) as caught:
        made.read(payload(*[most] * 8, flat(1, 1)))
    assert caught.value.message == (
        "9 pictures with 80,048 pixels to decode in one request: expected at most 80,000 "
        "(8 times KERAPORT_MAX_PIXELS)"
    )
    assert caught.value.details == []


def test_pixels_are_counted_before_any_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[Picture] = []
    monkeypatch.setattr(Picture, "decode", decoded.append)
    with pytest.raises(InvalidInput, match="9 pictures"):
        task(max_pixels=10_000).read(payload(*[flat(100, 100)] * 9))
    assert decoded == []


@pytest.mark.parametrize("shape", [(None, 224, 224, 3), (None, 3000, 4000, 3)])
@pytest.mark.parametrize("progressive", [False, True])
def test_32_photos_of_12_megapixels_are_one_request(shape: Shape, progressive: bool) -> None:
    """Whatever the model needs of them, with the default limits."""
    card, limits = Card(task="image-classification"), Limits()
    made = RowTask(card, signature(spec(shape=shape), classes=2, activation="softmax"), limits)
    (taken,) = made.inputs
    assert isinstance(taken, PictureInput)
    photo = flat(4032, 3024, "JPEG", progressive=progressive)
    uploads = [Upload(io.BytesIO(photo), taken.spec, "image") for _ in range(32)]
    found = measure_all(uploads, limits)
    assert all(isinstance(cost, DecodeCost) for cost in found)


def test_bytes_and_files_are_the_same_pictures() -> None:
    made, files = task(), [picture(0), picture(1)]
    found = made.decoded({"x": files})
    assert np.array_equal(found["x"], made.read(payload(*files))[0])


def test_too_many_pictures_are_not_even_looked_at() -> None:
    class Never:
        def __len__(self) -> int:
            return 10**9

    never: Any = Never()
    with pytest.raises(
        InvalidInput, match=r"^1000000000 pictures in one request: .* at most 1000$"
    ):
        task().decoded({"x": never})


def test_the_end_of_a_call_ends_decoding() -> None:
    """For a call that has ended already, and one that ends during decoding, whatever comes after
    it."""
    made = task(max_pixels=10**8)
    for call in (Call(time.monotonic() - 1), Call(time.monotonic() + 0.05)):
        with pytest.raises(DeadlineExceeded):
            made.read(payload(*[flat(5000, 5000)] * 30), call)
    assert made.read(payload(picture(0)), Call(time.monotonic() + 60))[0].shape == (1, 6, 8, 3)


def test_the_answer_and_the_schema() -> None:
    made = task(labels=["cat", "dog"], resize="pad")
    assert made.answer([np.array([[0.25, 0.75]], np.float32)]) == [
        {
            "label": "dog",
            "probability": 0.75,
            "top": [{"label": "dog", "probability": 0.75}, {"label": "cat", "probability": 0.25}],
        }
    ]
    assert made.input_schema() == {
        "type": "picture",
        "formats": "JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF",
        "resized_to": [6, 8],
        "resize": "pad",
        "color": "rgb",
        "max_pixels": 10**6,
        "labels": ["cat", "dog"],
    }
