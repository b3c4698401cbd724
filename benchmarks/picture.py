"""The picture that is uploaded: made here, the same on every machine."""

from __future__ import annotations

import io
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

HEIGHT, WIDTH = 375, 500
SEED = 7
# Gives about 32 kB, and takes as long to decode as the photographs of cats and dogs of this size.
QUALITY = 50


@cache
def jpeg() -> bytes:
    """A JPEG of 500x375 pixels whose cost to decode is that of a photograph.

    Photographs have amplitudes that fall with the spatial frequency f as 1/f (Field 1987,
    doi:10.1364/JOSAA.4.002379). White noise would be several times as many bytes.
    """
    random = np.random.default_rng(SEED)
    # Photographs vary in brightness more than in colour: the channels share most of their noise.
    shared = _noise(random)
    channels = [shared + 0.3 * _noise(random) for _ in range(3)]
    pixels = np.clip(np.stack(channels, axis=-1) * 45 + 120, 0, 255).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=QUALITY)
    return out.getvalue()


def _noise(random: np.random.Generator) -> NDArray[np.float64]:
    """1/f noise of shape (HEIGHT, WIDTH), mean 0, deviation 1."""
    across, down = np.fft.fftfreq(WIDTH)[None], np.fft.fftfreq(HEIGHT)[:, None]
    frequency = np.hypot(across, down)
    frequency[0, 0] = np.inf  # no mean
    white = np.fft.fft2(random.normal(size=(HEIGHT, WIDTH)))
    noise = np.fft.ifft2(white / frequency**1.2).real
    scaled: NDArray[np.float64] = noise / noise.std()
    return scaled
