"""The pictures of an answer as one file: a zip of PNGs, named after the files that were sent."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from flask import Response

from app.serving.call import Call
from app.serving.hub_rounds import spread
from app.serving.large_bodies import run_large
from app.serving.tasks.base import Payload
from app.thread_slices import SLICE, checkpoint

ZIP = "application/zip"
# What names of files must not have on some system.
_UNSAFE = re.compile(r'[\x00-\x1f\x7f-\x9f\ud800-\udfff<>:"/\\|?*]+')
# Characters of the name of a file, and of an output: 255 bytes hold both, and a number.
_LONGEST, _LONGEST_OUTPUT = 40, 15


def zip_response(
    model: str, outputs: Sequence[str], predictions: Sequence[Any], payload: Payload, call: Call
) -> Response:
    """Return the pictures of all predictions. Blocks the greenlet. Raises what ends `call`.

    model: the name of the download. outputs: the names of those that are pictures, as PNG files.
    payload: the request, which has the names of the files that were sent.
    """
    sent = payload.names or [part.filename for part in payload.parts if part.filename]
    sent = sent if len(sent) == len(predictions) else [""] * len(predictions)
    names = picture_names(sent, outputs if len(outputs) > 1 else [""])
    pictures = [prediction[out]["png"] for prediction in predictions for out in outputs]
    size = sum(map(len, pictures))
    buffer = run_large(size, partial(_zipped, names, pictures), call)
    pieces: Iterator[bytes] = iter(partial(buffer.read, SLICE), b"")
    response = Response(spread(pieces), mimetype=ZIP)
    response.content_length = buffer.getbuffer().nbytes
    response.headers["Content-Disposition"] = f"attachment; filename={model}-answers.zip"
    response.vary.add("Accept")
    return response


def _zipped(names: Sequence[str], pictures: Sequence[bytes]) -> io.BytesIO:
    buffer = io.BytesIO()
    with ZipFile(buffer, "w", ZIP_STORED) as file:
        for name, png in zip(names, pictures, strict=True):
            info = ZipInfo(f"{name}.png")
            info.file_size = len(png)
            with file.open(info, "w") as entry:
                for at in range(0, len(png), SLICE):
                    checkpoint()
                    entry.write(png[at : at + SLICE])
    buffer.seek(0)
    return buffer


def picture_names(sent: Sequence[str], outputs: Sequence[str]) -> list[str]:
    """Return a name without an extension for each output of each file, no two of them alike, and
    safe on every system. `zip.js` gives the same names.

    sent: the names of the files, each of which may be empty. outputs: those of the outputs; one
    that is empty stands for the only one.
    """
    taken: set[str] = set()
    numbers: dict[str, int] = {}
    names = []
    for i, file in enumerate(sent):
        last = re.split(r"[/\\]", file)[-1]
        stem = _safe(re.sub(r"(?<=.)\.[^.]*$", "", last), _LONGEST) or str(i + 1)
        for out in outputs:
            name = f"{stem}-{_safe(out, _LONGEST_OUTPUT)}" if out else stem
            made, key = name, name.lower()
            while made.lower() in taken:
                numbers[key] = numbers.get(key, 1) + 1
                made = f"{name}-{numbers[key]}"
            taken.add(made.lower())
            names.append(made)
    return names


def _safe(name: str, longest: int) -> str:
    return _UNSAFE.sub("_", name)[:longest].strip(" .")
