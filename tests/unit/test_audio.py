"""Inputs that take recordings: what fits a model, the forms of requests, and their limits."""

from __future__ import annotations

import io
import json
from base64 import b64encode
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.errors import BadRequest, CardError, Detail, InvalidInput
from app.serving.cards.card import Card
from app.serving.cards.inference.infer import completed
from app.serving.cards.read import dump_card, parse_card
from app.serving.tasks import Limits, Payload, RowTask
from app.serving.tasks.base import Part
from tests.sounds import recording, tone
from tests.support import picture
from tests.unit.signatures import Shape, problems, signature, spec

VOICE = recording(tone(), subtype="FLOAT")
TEXT = b64encode(VOICE).decode()


def task(
    shape: Shape = (None, 1000),
    card: dict[str, Any] | None = None,
    *,
    dtype: str = "float32",
    limits: Limits | None = None,
    max_length: int | None = None,
    more: dict[str, Any] | None = None,
) -> RowTask:
    inputs = {"wave": {"kind": "audio", "rate": 16_000} | (card or {})}
    specs = [spec("wave", dtype, shape)]
    if more:
        inputs |= more
        specs += [spec("face", shape=(None, 8, 8, 3)), spec("x", shape=(None, 2))]
    said = {"inputs": inputs, "outputs": {"y": {"kind": "vector"}}}
    full = Card.model_validate(said)
    of = signature(*specs, outputs=(spec("y", shape=(None, 2)),))
    return RowTask(full, of.bounded(max_length or full.max_length, 1000), limits or Limits())


def body(value: Any) -> Payload:
    return Payload("json", json.dumps(value).encode())


def files(*data: bytes) -> Payload:
    return Payload("files", files=[io.BytesIO(each) for each in data])


@pytest.mark.parametrize(
    "payload",
    [
        files(VOICE),
        body({"audio": TEXT}),
        body({"wave": f"data:audio/wav;base64,{TEXT}"}),
        body([{"audio": TEXT.rstrip("=")}]),
    ],
)
@pytest.mark.parametrize("shape", [(None, 1000), (None, 1000, 1)])
def test_a_recording_comes_as_a_file_or_in_json(payload: Payload, shape: Shape) -> None:
    for file in payload.files:
        file.seek(0)
    (array,) = task(shape).read(payload)
    assert array.dtype == np.float32
    assert array.shape == (1, *(shape or ())[1:])
    np.testing.assert_array_equal(array.reshape(-1), tone()[:1000])


def test_several_recordings_are_several_rows() -> None:
    other = recording(tone(hertz=300)[:500], subtype="FLOAT")
    (array,) = task().read(files(VOICE, other))
    np.testing.assert_array_equal(array[1], np.pad(tone(hertz=300)[:500], (0, 500)))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_the_type_is_that_of_the_model(dtype: str) -> None:
    (array,) = task(dtype=dtype).read(files(VOICE))
    assert array.dtype == dtype
    np.testing.assert_allclose(array[0], tone()[:1000], atol=1e-3)


@pytest.mark.parametrize("shape", [(None, None), (None, None, 1), (None, None, None)])
def test_a_model_of_any_length(shape: Shape) -> None:
    (array,) = task(shape).read(files(VOICE))
    assert array.shape[:2] == (1, 4000)
    (array,) = task(shape, {"seconds": 0.5}).read(files(VOICE))
    assert array.shape[:2] == (1, 8000)
    (array,) = task(shape, {"seconds": 0.1}).read(files(VOICE))
    assert array.shape[:2] == (1, 1600)


def test_the_longest_recording_is_of_half_a_minute() -> None:
    limits = Limits(max_body_bytes=10**6)
    of = task((None, None), limits=limits)
    long = recording(np.zeros(30 * 16_000), format="FLAC")
    assert of.read(files(long))[0].shape == (1, 480_000)
    longer = recording(np.zeros(30 * 16_000 + 1), format="FLAC")
    (detail,) = problems(of, files(longer))
    assert detail == Detail("audio", "the recording is longer than 30 s", expected="at most 30 s")
    (detail,) = problems(task((None, None), max_length=100), files(VOICE))
    assert detail.expected == "at most 0.00625 s"


def test_recordings_of_one_request_are_of_one_length() -> None:
    short = recording(tone()[:100])
    (detail,) = problems(task((None, None)), files(VOICE, short))
    assert (detail.field, detail.problem) == ("audio[1]", "100 samples")
    assert detail.expected == "4,000, as in the first recording, or a request for each"


@pytest.mark.parametrize("shape", [(None, 4000), (None, None)])
def test_samples_of_a_request_have_a_limit(shape: Shape) -> None:
    silence = recording(np.zeros(4000), format="FLAC")
    of = task(shape, {"seconds": 0.25}, limits=Limits(max_body_bytes=48_000))
    assert of.read(files(*[silence] * 3))[0].shape == (3, 4000)
    with pytest.raises(InvalidInput, match="more than 12,000 samples together"):
        of.read(files(*[silence] * 4))
    # One is always taken.
    assert len(task(shape, {"seconds": 0.25}, limits=Limits(max_body_bytes=1)).read(files(VOICE)))


def test_samples_of_open_lengths_are_counted_as_they_come() -> None:
    silence = recording(np.zeros(4000), format="FLAC")
    of = task((None, None), max_length=4_000, limits=Limits(max_body_bytes=48_000))
    assert of.read(files(*[silence] * 3))[0].shape == (3, 4000)
    with pytest.raises(InvalidInput, match="more than 12,000 samples together"):
        of.read(files(*[silence] * 4))


def test_as_many_recordings_as_a_request_may_have() -> None:
    of = task((None, 1), limits=Limits(max_rows=2))
    assert len(of.read(files(VOICE, VOICE))[0]) == 2
    with pytest.raises(InvalidInput, match="3 recordings in one request: expected at most 2"):
        of.read(files(VOICE, VOICE, VOICE))
    with pytest.raises(InvalidInput, match="3 recordings in one request: expected at most 2"):
        of.read(body([{"audio": TEXT}] * 3))


def test_all_problems_at_once() -> None:
    found = problems(task(), files(b"no", VOICE, VOICE[:500]))
    assert [(d.field, d.problem) for d in found] == [
        ("audio[0]", "not a recording in a supported format"),
        ("audio[2]", f"the recording is damaged: its last {len(VOICE) - 500:,} bytes are missing"),
    ]
    found = problems(task(), body([{"audio": 3}, {"wav": TEXT}, {"audio": "?"}]))
    assert [(d.field, d.problem) for d in found] == [
        ("[0].audio", "wrong type"),
        ("[1].wav", "unexpected"),
        ("[1].wave", "missing"),
        ("[2].audio", "not base64"),
    ]
    with pytest.raises(BadRequest, match="no recording: send it as the body, or as the field 'a"):
        task().read(Payload("files"))


TOGETHER = {
    "face": {"kind": "picture"},
    "x": {"kind": "fields", "fields": [{"name": "a"}, {"name": "b"}]},
}


def test_beside_a_picture_and_fields() -> None:
    of = task(more=TOGETHER)
    face = picture(0)
    row = {"wave": TEXT, "face": b64encode(face).decode(), "x": {"a": 1, "b": 2}}
    arrays = of.read(body(row))
    assert [array.shape for array in arrays] == [(1, 1000), (1, 8, 8, 3), (1, 2)]
    parts = [
        Part("wave", "a.wav", io.BytesIO(VOICE), len(VOICE)),
        Part("face", "a.png", io.BytesIO(face), len(face)),
        Part("x", None, io.BytesIO(b'{"a": 1, "b": 2}'), 16),
    ]
    for sent, read in zip(arrays, of.read(Payload("form", parts=parts)), strict=True):
        np.testing.assert_array_equal(sent, read)
    no = b64encode(b"no").decode()
    found = problems(of, body({**row, "wave": no, "face": no}))
    assert {d.field: d.problem for d in found} == {
        "wave": "not a recording in a supported format",
        "face": "not a picture in a supported format",
    }
    found = problems(of, body({"wave": no, "face": no, "x": {}}))
    assert [d.field for d in found] == ["x.a", "x.b", "face", "wave"]


@pytest.mark.parametrize(
    ("shape", "card", "message"),
    [
        ((None, 8, 8, 3), {}, "needs an input of floats of shape (rows, samples) or"),
        ((None, 8, 2), {}, "inputs.wave: the kind audio needs an input of floats"),
        ((8,), {}, "one recording and no rows (export the model with a dimension of rows first)"),
        ((None,), {}, "one recording and no rows"),
        ((None, 1000), {"seconds": 2}, "seconds 2 at 16000 a second are 32000 samples, the model"),
    ],
)
def test_what_does_not_fit_the_model(shape: Shape, card: dict[str, Any], message: str) -> None:
    with pytest.raises(CardError) as caught:
        task(shape, card)
    assert message in caught.value.message


def test_types_that_are_no_samples() -> None:
    for dtype in ("int16", "string"):
        with pytest.raises(CardError, match="needs an input of floats"):
            task(dtype=dtype)


def test_a_card_may_say_the_length_of_the_model() -> None:
    assert task((None, 16_000), {"seconds": 1}).read(files(VOICE))[0].shape == (1, 16_000)


def test_seconds_are_bounded_by_the_models_length() -> None:
    with pytest.raises(CardError, match=r"seconds 1 at .* above runtime.max_length, 15999"):
        task((None, None), {"seconds": 1}, max_length=15_999)
    task((None, None), {"seconds": 1}, max_length=16_000)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("inputs: {x: {kind: audio}}", "the key 'inputs.x.rate' is missing"),
        ("inputs: {x: {kind: audio, rate: 999}}", "inputs.x.rate: expected greater than or equal"),
        ("inputs: {x: {kind: audio, rate: 192001}}", "inputs.x.rate: expected less than or equal"),
        ("inputs: {x: {kind: audio, rate: 16000, seconds: 0}}", "inputs.x.seconds: expected great"),
        ("inputs: {x: {kind: audio, rate: 16000, scale: none}}", "unknown key 'inputs.x.scale'"),
        ("inputs: {x: {kind: series, columns: []}}", "inputs.x.columns: "),
        ("inputs: {x: {kind: series, columns: [a, a]}}", "columns: the name 'a' is used twice"),
        ("inputs: {x: {kind: series, steps: 0}}", "inputs.x.steps: expected greater"),
    ],
)
def test_what_a_card_may_not_say(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "model.yaml").write_text(text)
    with pytest.raises(CardError) as caught:
        parse_card(tmp_path)
    assert message in caught.value.message


def test_a_card_is_written_as_it_is_read(tmp_path: Path) -> None:
    inputs = {
        "a": {"kind": "audio", "rate": 8000, "seconds": 1.5},
        "b": {"kind": "series", "columns": ["x", "y"], "steps": 3},
    }
    card = Card.model_validate({"inputs": inputs})
    (tmp_path / "model.yaml").write_text(dump_card(card))
    assert parse_card(tmp_path) == card


def test_a_waveform_is_not_guessed() -> None:
    """Conv1D reads series as well as sound; what the card would need is in the error."""
    bare = signature(spec("x", shape=(None, 16_000, 1)), classes=2, activation="softmax")
    card, _ = completed(None, bare)
    assert card.task == "tensor"
    of = RowTask(card, replace(bare), Limits())
    assert "'inputs: {x: {kind: audio, rate: 16000}}' makes it take recordings" in of.hint
    assert "'inputs: {x: {kind: series}}'" in of.hint


@pytest.mark.parametrize(("shape", "samples"), [((None, 1000), 1000), ((None, None, 1), 16_000)])
def test_the_example_is_silence(shape: Shape, samples: int) -> None:
    (array,) = task(shape).example() or []
    assert array.size == samples
    assert not array.any()
