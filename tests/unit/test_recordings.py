"""Recordings become samples: every format, rate and number of channels, and what is refused."""

from __future__ import annotations

import io
import struct
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import soxr

from app.serving.tasks.files.recordings import (
    BLOCK,
    MAX_CHANNELS,
    RATES,
    RecordingSpec,
    UnreadableRecording,
    decode,
)
from tests.sounds import Samples, recording, tone

ALL = RecordingSpec(16_000, None, 160_000)


def read(data: bytes, spec: RecordingSpec = ALL) -> Samples:
    samples = decode(io.BytesIO(data), spec)
    assert samples.dtype == np.float32
    return samples


def problem(data: bytes, spec: RecordingSpec = ALL) -> tuple[str, str]:
    with pytest.raises(UnreadableRecording) as caught:
        read(data, spec)
    return caught.value.problem, caught.value.expected


@pytest.mark.parametrize(
    ("format", "subtype", "error"),
    [
        ("WAV", "PCM_U8", 1 / 128),
        ("WAV", "PCM_16", 1 / 32768),
        ("WAV", "PCM_24", 2**-23),
        ("WAV", "PCM_32", 2**-23),
        ("WAV", "FLOAT", 0),
        ("WAV", "DOUBLE", 0),
        ("WAV", "ULAW", 0.02),
        ("WAV", "ALAW", 0.02),
        ("WAVEX", "PCM_16", 1 / 32768),
        ("RF64", "PCM_16", 1 / 32768),
        ("FLAC", "PCM_16", 1 / 32768),
        ("FLAC", "PCM_24", 2**-23),
        ("OGG", "VORBIS", 0.05),
        ("OGG", "OPUS", 0.1),
    ],
)
def test_every_format_has_the_same_samples(format: str, subtype: str, error: float) -> None:
    samples = tone()
    found = read(recording(samples, format=format, subtype=subtype))
    assert len(found) == len(samples)
    # Codecs need a moment to settle.
    np.testing.assert_allclose(found[1000:-1000], samples[1000:-1000], atol=error)


def test_whole_numbers_are_scaled_as_by_tensorflow() -> None:
    """tf.audio.decode_wav divides by 32768."""
    data = recording(np.array([-32768, -1, 0, 1, 32767], np.int16), subtype="PCM_16")
    assert (read(data) * 32768).tolist() == [-32768, -1, 0, 1, 32767]


def test_channels_become_their_mean() -> None:
    left, right = tone(hertz=300), tone(hertz=500)
    data = recording(np.stack([left, right], 1), subtype="FLOAT")
    np.testing.assert_allclose(read(data), (left + right) / 2, atol=1e-7)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("seconds", [0.01, 0.5, 5])
def test_other_rates_are_resampled_as_in_one_go(rate: int, seconds: float) -> None:
    samples = tone(seconds, rate)
    found = read(recording(samples, rate, subtype="FLOAT"))
    whole = soxr.resample(samples, rate, 16_000, quality="HQ")
    assert len(found) == len(whole) == round(len(samples) * 16_000 / rate)
    np.testing.assert_allclose(found, whole, atol=1e-6)
    if seconds > 0.1:
        wanted = tone(seconds)[: len(found)]
        np.testing.assert_allclose(found[500:-500], wanted[500:-500], atol=2e-3)


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_recordings_are_cut_or_padded(rate: int) -> None:
    data = recording(tone(0.5, rate), rate, subtype="FLOAT")
    whole = read(data)
    for length in (1, 100, 7_999, 8_000, 8_001, 20_000):
        found = read(data, RecordingSpec(16_000, length, length))
        padded = np.pad(whole, (0, max(0, length - len(whole))))[:length]
        np.testing.assert_allclose(found, padded, atol=1e-6)


def test_no_more_is_decoded_than_is_wanted() -> None:
    """An hour of silence has 300 kB as FLAC."""
    blocks: list[None] = []
    data = io.BytesIO(recording(np.zeros(20 * BLOCK), 16_000, "FLAC"))
    decode(data, RecordingSpec(16_000, 100, 100), lambda: blocks.append(None))
    assert len(blocks) == 1
    with pytest.raises(UnreadableRecording, match=r"longer than 10 s"):
        decode(data, ALL, lambda: blocks.append(None))
    assert len(blocks) == 1 + 1 + ALL.most // BLOCK


def test_the_longest_recording() -> None:
    spec = RecordingSpec(16_000, None, 4_000)
    assert len(read(recording(tone()), spec)) == 4_000
    longer = recording(np.append(tone(), 0))
    assert problem(longer, spec) == ("the recording is longer than 0.25 s", "at most 0.25 s")


def test_the_end_of_the_work_is_noticed() -> None:
    calls: list[None] = []

    def check() -> None:
        calls.append(None)
        if len(calls) == 2:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        decode(io.BytesIO(recording(np.zeros(2 * BLOCK))), ALL, check)


def test_a_file_that_was_closed_meanwhile_is_no_crash(capfd: pytest.CaptureFixture[str]) -> None:
    file = io.BytesIO(recording(np.zeros(2 * BLOCK)))
    with pytest.raises(UnreadableRecording):
        decode(file, ALL, file.close)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("count", [1, 2, MAX_CHANNELS])
def test_channels(count: int) -> None:
    assert len(read(recording(np.zeros((100, count))))) == 100


def test_too_many_channels() -> None:
    found = problem(recording(np.zeros((100, MAX_CHANNELS + 1))))
    assert found == (f"the recording has {MAX_CHANNELS + 1} channels", f"at most {MAX_CHANNELS}")


@pytest.mark.parametrize("rate", RATES)
def test_rates_at_the_limit(rate: int) -> None:
    assert len(read(recording(np.zeros(1000), rate))) == round(1000 * 16_000 / rate)


@pytest.mark.parametrize("rate", [1, RATES[0] - 1, RATES[1] + 1, 2**31 - 1])
def test_rates_beyond_the_limit(rate: int) -> None:
    assert problem(recording(np.zeros(10), rate))[1] == "1,000 to 384,000"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("at", [0, BLOCK + 1])
def test_samples_that_are_no_numbers(value: float, at: int) -> None:
    samples = np.zeros(2 * BLOCK, np.float32)
    samples[at] = value
    data = recording(samples, subtype="FLOAT")
    assert problem(data)[0] == "the recording has samples that are no numbers"


def test_samples_that_were_never_scaled() -> None:
    assert read(recording(np.array([10, -10.0]), subtype="FLOAT")).tolist() == [10, -10]
    data = recording(np.array([0, 32_000.0]), subtype="FLOAT")
    assert problem(data) == ("the recording has samples of 32,000", "samples of -1 to 1")
    assert problem(recording(np.array([1e300]), subtype="DOUBLE"))[0].endswith("no numbers")


@pytest.mark.parametrize("format", ["WAV", "RF64", "OGG"])
def test_an_empty_recording(format: str) -> None:
    found = problem(recording(np.zeros(0), format=format))
    assert found == ("the recording is empty", "at least one sample")


@pytest.mark.parametrize(
    ("format", "subtype"),
    [("WAV", "PCM_16"), ("WAV", "FLOAT"), ("FLAC", None), ("OGG", "VORBIS"), ("OGG", "OPUS")],
)
def test_a_file_that_ends_too_early(format: str, subtype: str | None) -> None:
    data = recording(tone(2), format=format, subtype=subtype)
    read(data)
    for end in (len(data) - 1, len(data) * 3 // 4, len(data) // 2, len(data) // 4):
        assert problem(data[:end])[0].startswith("the recording is damaged"), end


def test_a_header_that_does_not_know_the_length() -> None:
    """Programs that write to a pipe leave it open."""
    data = bytearray(recording(tone(), subtype="PCM_16"))
    at = data.index(b"data") + 4
    for size in (0xFFFF_FFFF, 0x7FFF_FFFF):
        data[at : at + 4] = struct.pack("<I", size)
        np.testing.assert_allclose(read(bytes(data)), tone(), atol=1e-4)


def test_headers_that_lie() -> None:
    flac = bytearray(recording(tone(), format="FLAC"))
    # The number of samples: 36 bits behind the rate, channels and bits (RFC 9639, section 8.2).
    flac[4 + 4 + 13] |= 0x0F
    flac[4 + 4 + 14 : 4 + 4 + 18] = b"\xff" * 4
    assert problem(bytes(flac))[0].startswith("the recording is damaged: its last 68,7")
    wav = bytearray(recording(tone(), subtype="PCM_16"))
    wav[4:8] = b"\xff" * 4
    np.testing.assert_allclose(read(bytes(wav)), tone(), atol=1e-4)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "not a recording in a supported format"),
        (b"RIFF", "not a recording in a supported format"),
        (b"RIFF\0\0\0\0AVI LIST", "not a recording in a supported format"),
        (b"RIFF\0\0\0\0WAVE", "the recording is damaged"),
        (b"RIFF\0\0\0\0WAVEdata\0\0\0\0", "the recording is damaged"),
        (b"fLaC", "the recording is damaged"),
        (b"OggS", "the recording is damaged"),
        (b"OggS" + bytes(100), "the recording is damaged"),
        (b"ID3\4" + bytes(100), "MP3 is not supported"),
        (b"\xff\xfb\x90\x64" + bytes(100), "MP3 is not supported"),
        (b"\0\0\0\x20ftypM4A " + bytes(100), "M4A is not supported"),
        (b"\x1aE\xdf\xa3" + bytes(100), "WebM is not supported"),
        (recording(tone(), format="AIFF"), "AIFF is not supported"),
        (recording(tone(), format="AU"), "AU is not supported"),
        (recording(tone(), format="CAF"), "not a recording in a supported format"),
        (recording(tone(), subtype="IMA_ADPCM"), "the codec IMA_ADPCM is not supported"),
        (recording(tone(), subtype="GSM610", rate=8000), "the codec GSM610 is not supported"),
        (b"<svg></svg>", "not a recording in a supported format"),
    ],
)
def test_what_is_no_recording(data: bytes, found: str) -> None:
    said, expected = problem(data)
    assert said.startswith(found)
    assert expected


@pytest.mark.parametrize(("format", "subtype"), [("WAV", None), ("FLAC", None), ("OGG", None)])
def test_damaged_files_are_problems_of_the_file(format: str, subtype: Any) -> None:
    """Whatever bytes change, the file is read or refused, and nothing else is raised."""
    random = np.random.default_rng(1)
    data = np.frombuffer(recording(tone(0.1), format=format, subtype=subtype), np.uint8)
    for _ in range(150):
        broken = data.copy()
        at = random.integers(0, min(len(broken), 400), 4)
        broken[at] = random.integers(0, 256, 4)
        with suppress(UnreadableRecording):
            assert np.isfinite(read(broken.tobytes())).all()
