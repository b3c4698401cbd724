"""Recordings that tests make, in the formats that servers take."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

Samples = NDArray[np.float32]
BLOCK = 65_536


def tone(
    seconds: float = 0.25, rate: int = 16_000, hertz: float = 440, level: float = 0.5
) -> Samples:
    """A sine, as float32 (samples,)."""
    time = np.arange(round(seconds * rate)) / rate
    return (level * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


def recording(
    samples: Any, rate: int = 16_000, format: str = "WAV", subtype: str | None = None
) -> bytes:
    """Samples, (n,) or (n, channels), as a file."""
    out, samples = io.BytesIO(), np.asarray(samples)
    channels = samples.shape[1] if samples.ndim > 1 else 1
    with soundfile.SoundFile(
        out, "w", samplerate=rate, channels=channels, format=format, subtype=subtype
    ) as file:
        # The encoder of Vorbis has all that it is given at once on its stack.
        for start in range(0, len(samples), BLOCK):
            file.write(samples[start : start + BLOCK])
    return out.getvalue()
