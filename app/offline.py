"""What the command line does with models without a server: check them, ask them, describe them."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from gevent.pool import Pool

from app.errors import (
    BadRequest,
    CardError,
    InvalidInput,
    KeraportError,
    LoadError,
    ModelError,
    ModelNotFound,
)
from app.serving.call import Call
from app.serving.card import CARD_FILE, Card, ImageInput, dump_card, infer_card
from app.serving.discovery import Found, discover, look_at, understand
from app.serving.entry import Entry, Group, no_folder
from app.serving.loader import Loader
from app.serving.open_model import open_model
from app.serving.overlooked import overlooked, overlooked_of_model
from app.serving.places import Places
from app.serving.signature import Signature
from app.serving.tasks.base import Limits, Payload
from app.serving.tasks.csvtext import on_lines, read_table

if TYPE_CHECKING:
    from app.serving.model import Model

# Offline nobody waits in a browser, and nobody sends bombs to himself.
PATIENCE_S = 24 * 3600.0
# What a starter card says in comments.
SCALE = """\
  # Check this: the file does not tell what training did to the pixels, and a wrong scale gives
  # wrong answers without an error. One of none, 0..1, -1..1, caffe, torch.
"""
DESCRIPTION = "# description: One line for people.\n"


def check(folder: Path, limits: Limits) -> Iterator[Entry]:
    """Load every model of `folder` (or the one that it is), one version after the other, as the
    server would; each is yielded loaded or failed, and freed afterwards. Raises CardError if there
    is no such folder."""
    loader = Loader()
    try:
        for found in _found(folder):
            for entry in _load(found, loader, limits):
                yield entry
                if entry.model is not None:
                    entry.model.close()
    finally:
        loader.close()


def _found(folder: Path) -> list[Found]:
    if _is_model(folder):
        return understand({(s.name, s.version): s for s in look_at(folder.resolve())})
    return discover(folder)


def _load(found: Found, loader: Loader, limits: Limits) -> Iterator[Entry]:
    """The versions that a server would serve, those first that answer by default."""
    group = Group(found.name)
    group.policy = found.policy or group.policy
    group.there = frozenset(found.versions)
    failed: set[int] = set()
    while left := [v for v in group.policy.wanted(group.there, failed) if v not in group.versions]:
        source = found.versions.get(left[0])
        entry = Entry(group, left[0])
        try:
            if source is None:
                raise CardError(no_folder(entry))
            entry.path, entry.home = source.seen.path, source.seen.home
            places, tell = Places(limits.max_streams), partial(setattr, entry, "card")
            entry.model = open_model(source.seen, loader, limits, places, tell)
            entry.state = "ready"
        except ModelError as error:
            entry.state, entry.reason = "failed", error.message
            failed.add(entry.version)
        group.put(entry)
        yield entry


def warnings(folder: Path) -> list[str]:
    """What `check` passes over in `folder`, one line a file."""
    return overlooked_of_model(folder) if _is_model(folder) else overlooked(folder)


def _is_model(folder: Path) -> bool:
    return (folder / CARD_FILE).is_file() or (folder / "saved_model.pb").is_file()


@contextmanager
def loaded(folder: Path, name: str, limits: Limits) -> Iterator[Model]:
    """One model of `folder`, ready, in the version that a server would answer with. Raises
    ModelNotFound, CardError or LoadError."""
    models = {found.name: found for found in discover(folder)}
    if name not in models:
        raise ModelNotFound(
            f"there is no model {name!r} in {folder}; the models are: {', '.join(models) or '-'}"
        )
    loader = Loader()
    try:
        for entry in _load(models[name], loader, limits):
            if entry.model is not None:
                break
        else:
            raise LoadError(f"model {name}: {entry.group.trouble}")
    finally:
        loader.close()
    try:
        yield entry.model
    finally:
        entry.model.close()


def predict(
    model: Model, files: Iterable[Path]
) -> Iterator[tuple[Path, Sequence[Any] | KeraportError]]:
    """The predictions for each file, in order; a file that cannot be read gives its error.

    As many files at once as make up a batch, so that it runs as fast as the server would.
    """

    def one(path: Path) -> tuple[Path, Sequence[Any] | KeraportError]:
        try:
            payload = _payload(model, path)
            try:
                return path, model.predict(payload, Call(time.monotonic() + PATIENCE_S))
            except InvalidInput as error:
                if payload.kind == "csv":
                    names = model.task.input_schema()["required"]
                    lines = read_table(payload.data, names, Limits(max_rows=sys.maxsize)).lines
                    error.details = on_lines(error.details, lines)
                raise
        except KeraportError as error:
            return path, error

    runtime = model.card.runtime
    yield from Pool(min(2 * runtime.max_batch_size, runtime.max_queue)).imap(one, files)


def write(model: Model, order: dict[str, Any]) -> Iterator[str]:
    """A text in pieces, as they come, its seed first. Raises BadRequest for other models, and what
    the model says of the order."""
    from app.serving.text_model import TextModel

    if not isinstance(model, TextModel):
        raise BadRequest(f"the model {model.name!r} answers files: name some")
    call = Call(time.monotonic() + PATIENCE_S)
    with model.writing(Payload("json", orjson.dumps(order)), call) as (text, pieces):
        yield text.seed
        yield from filter(None, pieces)


def _payload(model: Model, path: Path) -> Payload:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CardError(f"cannot be read: {error.strerror}") from None
    if "files" in model.task.accepts:
        return Payload("files", files=[io.BytesIO(data)])
    if "csv" in model.task.accepts and path.suffix.lower() in (".csv", ".tsv"):
        return Payload("csv", data)
    return Payload("json", data)


def starter_card(source: Path) -> str:
    """A `model.yaml` for the model file `source`, to be completed by its author.

    Raises LoadError if the file cannot be served.
    """
    loader = Loader()
    try:
        # A Lambda layer is no reason to refuse a description, but running it would be one.
        with loader.convert(source, trusted=False) as converted:
            signature = converted.signature
    finally:
        loader.close()
    card = infer_card(signature)
    title = source.parent.name if source.stem in ("model", "saved_model") else source.stem
    scale = card.input.scale
    card = card.model_copy(
        update={
            "title": title.replace("-", " ").replace("_", " ").capitalize(),
            **_placeholders(card, signature),
        }
    )
    text = _header(signature) + dump_card(card) + DESCRIPTION
    # There even where it is the default: whoever completes the card must see that it is a guess.
    return text.replace("\ninput:\n", f'\ninput:\n{SCALE}  scale: "{scale}"\n')


def _placeholders(card: Card, signature: Signature) -> dict[str, Any]:
    update: dict[str, Any] = {}
    if "classification" in card.task:
        units = (signature.outputs[0].shape or (None, None))[1] or 1
        update["labels"] = [f"class {i}" for i in range(max(2, units))]
    if card.task == "image-classification":
        _, height, width, channels = signature.inputs[0].shape or (None, None, None, None)
        update["input"] = ImageInput(
            size=(height or 224, width or 224),
            color="grey" if channels == 1 else "rgb",
        )
    return update


def _header(signature: Signature) -> str:
    lines = [
        "# Written from the model file: correct what is a guess (docs/models.md has every key)."
    ]
    for side, tensors in (("input", signature.inputs), ("output", signature.outputs)):
        for t in tensors:
            shape = "?" if t.shape is None else list(t.shape)
            lines.append(f"#   {side} {t.name}: {t.dtype} {shape}".replace("None", "any"))
    return "\n".join(lines) + "\n"
