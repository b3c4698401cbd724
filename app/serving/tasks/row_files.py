"""The files of a request for rows, and the room in memory for what they become."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import islice

import numpy as np

from app.errors import Detail, InvalidInput
from app.serving.arrays import Array
from app.serving.call import Call
from app.serving.limits import Limits
from app.serving.row_room import take_room
from app.serving.tasks.base import Files, invalid
from app.serving.tasks.inputs.audio import Audio, Sound
from app.serving.tasks.inputs.decoding import (
    Upload,
    check_count,
    decode_all,
    measure_all,
    unreadable,
)
from app.serving.tasks.inputs.input import Input, Parsed, Sized
from app.serving.tasks.inputs.picture import Picture
from app.serving.threads import in_a_thread

# Bytes of a text in a CSV at least, with the end of its line.
_LEAST_TEXT = 2


class RowFiles:
    """Decodes the pictures and recordings of requests. inputs: all of a model."""

    def __init__(self, inputs: Sequence[Input], limits: Limits) -> None:
        self._limits = limits
        self._takers = [each for each in inputs if isinstance(each, Picture)]
        self._heard = [each for each in inputs if isinstance(each, Audio)]
        self._sized = [each for each in inputs if isinstance(each, Sized)]

    def parsed(
        self, parsed: Parsed, call: Call | None
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        """Decode the files of a request, in the hub's thread. Return the arrays by the model's
        inputs, and where the pictures lie in them by the names of requests.

        Raises InvalidInput with all problems of the request at once; of one with other problems,
        pictures are only measured.
        """
        takers, heard = self._takers, self._heard
        uploads = [each.uploads(parsed) for each in takers]
        sounds = [each.sounds(parsed) for each in heard]
        if parsed.details:
            every = [upload for some in uploads for upload in some]
            details = parsed.details + unreadable(every, measure_all(every, self._limits, call))
            for each, some in zip(heard, sounds, strict=True):
                details += each.problems(some, call)
            raise invalid(details)
        if not (takers or heard):
            return {}, {}
        self.take_room({name: len(some) for name, some in parsed.files.items()}, call)
        return self._files(takers, uploads, heard, sounds, call)

    def decoded(
        self, files: Mapping[str, Files], call: Call | None = None, hint: str = ""
    ) -> dict[str, Array]:
        """Decode pictures and recordings, by the model's inputs. Raises InvalidInput with all
        problems at once. hint: added to those of files that cannot be read."""
        takers = [each for each in self._takers if each.specs[0].name in files]
        check_count(sum(len(files[each.specs[0].name]) for each in takers), self._limits)
        uploads = []
        for each in takers:
            name = each.specs[0].name
            some = files[name]
            uploads.append([Upload(f, each.spec, f"{name}[{i}]") for i, f in enumerate(some)])
        heard = [each for each in self._heard if each.spec.name in files]
        sounds = []
        for hearer in heard:
            name = hearer.spec.name
            sounds.append([Sound(f, f"{name}[{i}]") for i, f in enumerate(files[name])])
        found, _ = self._files(takers, uploads, heard, sounds, call, hint)
        for name, array in [*found.items()]:
            if array.dtype != object:
                continue
            if len({pixels.shape for pixels in array}) > 1:
                raise InvalidInput(f"{name}: pictures of different sizes need a request each")
            found[name] = in_a_thread(partial(np.stack, [*array]))
        return found

    def take_room(self, rows: Mapping[str, int], call: Call | None) -> None:
        """Wait for room in memory for what files and texts become. rows: how many, by the names of
        requests. Raises what `app.serving.row_room.take_room` raises."""
        size = sum(each.most_bytes(rows.get(each.name, 0)) for each in self._sized)
        take_room(size, self._limits, call)

    def take_room_of_texts(self, size: int, call: Call) -> None:
        """The same for a body of `size` bytes that is not yet read, of a model that takes no files:
        while it is read, texts become ids."""
        if self._sized and not (self._takers or self._heard):
            rows = min(self._limits.max_rows, 1 + size // _LEAST_TEXT)
            self.take_room({each.name: rows for each in self._sized}, call)

    def _files(
        self,
        takers: Sequence[Picture],
        uploads: Sequence[Sequence[Upload]],
        heard: Sequence[Audio],
        sounds: Sequence[Sequence[Sound]],
        call: Call | None,
        hint: str = "",
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        """Decode all files, and return them as `_decoded` does. Raises InvalidInput with the
        problems of all."""
        arrays: dict[str, Array] = {}
        placed: dict[str, Array] = {}
        details: list[Detail] = []
        try:
            if takers:
                arrays, placed = self._decoded(takers, uploads, call, hint)
        except InvalidInput as error:
            details += _own(error)
        for each, some in zip(heard, sounds, strict=True):
            try:
                arrays[each.spec.name] = each.decoded(some, call, hint)
            except InvalidInput as error:
                details += _own(error)
        if details:
            raise invalid(details)
        return arrays, placed

    def _decoded(
        self,
        takers: Sequence[Picture],
        uploads: Sequence[Sequence[Upload]],
        call: Call | None,
        hint: str = "",
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        """Return the pixels by the model's inputs, and where the pictures lie in them by the names
        of requests."""
        check_count(sum(map(len, uploads)), self._limits)
        rooms = [each.room(len(some)) for each, some in zip(takers, uploads, strict=True)]
        every = [upload for some in uploads for upload in some]
        places: list[Array | None] = []
        for room, some in zip(rooms, uploads, strict=True):
            places += [None] * len(some) if room is None else [*room]
        left = iter(decode_all(every, places, self._limits, call, hint))
        pixels, placed = {}, {}
        for each, room, some in zip(takers, rooms, uploads, strict=True):
            own = [*islice(left, len(some))]
            if room is None:
                room = each.stacked([one.pixels for one in own])
            pixels[each.specs[0].name] = room
            placed[each.name] = np.empty(len(own), object)
            placed[each.name][:] = [one.placement for one in own]
        return pixels, placed


def _own(error: InvalidInput) -> list[Detail]:
    """Return the problems of single files. Raises `error` if it is one of the whole request."""
    if not error.details:
        raise error
    return error.details
