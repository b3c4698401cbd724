"""Models on the command line, without a server: check, ask and describe them."""

from __future__ import annotations

import io
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import orjson
from gevent.pool import Pool

from app.cli.footprint import Footprint, measured
from app.errors import (
    BadRequest,
    CardError,
    Detail,
    InvalidInput,
    KeraportError,
    LoadError,
    ModelError,
    ModelNotFound,
)
from app.json_body import without_bom
from app.serving.base64_text import decode_base64
from app.serving.call import Call
from app.serving.cards.card import CARD_FILE, Card
from app.serving.models.model import Model
from app.serving.models.statistics import Statistics
from app.serving.models.stream_limit import StreamLimit
from app.serving.reading.model_files import holds_model
from app.serving.reading.process import ReaderProcess
from app.serving.registry.entry import Entry, Group, no_folder
from app.serving.registry.folder import ScannedModel, discover, read_cards, scan_model
from app.serving.registry.ignored_files import ignored_files, ignored_files_of_model
from app.serving.registry.open_model import import_engine, open_model
from app.serving.tasks import Limits, Payload, RowTask
from app.serving.tasks.base import invalid
from app.serving.tasks.files.file_kinds import files_of
from app.serving.tasks.inputs.files import FileInput
from app.serving.tasks.tables.csv_table import on_lines, read_table

_MAX_PATH = 255
Adapt = Callable[[Card | None], Card]
# Offline no browser waits, and no one sends bombs to oneself.
PATIENCE_S = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class CheckedVersion:
    """A version that was loaded, or failed, what that took, and what is a guess about it.

    examples: of its card. problems: of those that the model did not answer.
    """

    entry: Entry
    footprint: Footprint
    guesses: list[str]
    examples: int = 0
    problems: Sequence[str] = ()


def check(folder: Path, limits: Limits) -> Iterator[CheckedVersion]:
    """Load every model of `folder` (or the one that it is), one version after the other, as the
    server would, and ask it about the examples of its card; each is yielded loaded or failed, and
    freed afterwards. Raises CardError if there is no such folder."""
    # What this takes is not the first model's.
    import_engine()

    reader = ReaderProcess()
    try:
        for found in _found(folder):
            for entry, footprint in _load(found, reader, limits):
                model = entry.model
                if model is None:
                    yield CheckedVersion(entry, footprint, [])
                    continue
                guesses = [str(guess) for guess in model.guessed]
                count, problems = len(model.examples), _tried(model)
                yield CheckedVersion(entry, footprint, guesses, count, problems)
                model.close()
    finally:
        reader.close()


def _found(folder: Path) -> list[ScannedModel]:
    if _is_model(folder):
        return read_cards({(s.name, s.version): s for s in scan_model(folder.resolve())})
    return discover(folder)


def _tried(model: Model) -> list[str]:
    """The problems of the examples that the model does not answer."""
    problems = []
    for i, example in enumerate(model.examples):
        try:
            model.predict(example.payload, Call(time.monotonic() + PATIENCE_S))
        except KeraportError as error:
            problems.append(f"examples[{i}] ({example.name}): {error.message}")
    return problems


def _load(
    found: ScannedModel, reader: ReaderProcess, limits: Limits, adapt: Adapt | None = None
) -> Iterator[tuple[Entry, Footprint]]:
    """Load the versions that a server would serve, default candidates first. adapt: see
    `open_model`."""
    group = Group(found.name)
    group.policy = found.policy or group.policy
    group.present = frozenset(found.versions)
    failed: set[int] = set()
    while left := [
        v for v in group.policy.wanted(group.present, failed) if v not in group.versions
    ]:
        source = found.versions.get(left[0])
        entry = Entry(group, left[0])
        with measured(reader) as footprint:
            try:
                if source is None:
                    raise CardError(no_folder(entry))
                entry.path, entry.home = source.scanned.path, source.scanned.home
                entry.model = open_model(
                    source.scanned,
                    reader,
                    limits,
                    StreamLimit(limits.max_streams),
                    Statistics(),
                    partial(setattr, entry, "card"),
                    adapt,
                )
                entry.state = "ready"
            except ModelError as error:
                entry.state, entry.reason = "failed", error.message
                failed.add(entry.version)
        if entry.model is not None and footprint.serving_bytes is not None:
            # It may have grown into what the model before has left.
            footprint.serving_bytes = max(footprint.serving_bytes, entry.model.weight_bytes)
        group.put(entry)
        yield entry, footprint


def warnings(folder: Path) -> list[str]:
    """List the files in `folder` that `check` ignores, one line per file."""
    return ignored_files_of_model(folder) if _is_model(folder) else ignored_files(folder)


def _is_model(folder: Path) -> bool:
    return (folder / CARD_FILE).is_file() or holds_model(folder)


def find(folder: Path, name: str) -> ScannedModel:
    """Return one model of `folder`. Raises ModelNotFound or CardError."""
    models = {found.name: found for found in discover(folder)}
    if name not in models:
        raise ModelNotFound(
            f"there is no model {name!r} in {folder}; the models are: {', '.join(models) or '-'}"
        )
    return models[name]


@contextmanager
def loaded(folder: Path, name: str, limits: Limits) -> Iterator[Model]:
    """Load one model of `folder`, in the version that a server would answer with. Raises
    ModelNotFound, CardError or LoadError."""
    with load(find(folder, name), limits) as (model, _):
        yield model


@contextmanager
def load(
    found: ScannedModel, limits: Limits, adapt: Adapt | None = None
) -> Iterator[tuple[Model, Footprint]]:
    """Load a model in the version that a server would answer with, with what that took. adapt: see
    `open_model`. Raises LoadError."""
    reader = ReaderProcess()
    model = None
    try:
        for entry, footprint in _load(found, reader, limits, adapt):
            model, took = entry.model, footprint
            if model is not None:
                break
    finally:
        reader.close()
    if model is None:
        raise LoadError(f"model {found.name}: {entry.group.trouble}")
    try:
        yield model, took
    finally:
        model.close()


def predict(
    model: Model, files: Iterable[Path]
) -> Iterator[tuple[Path, Sequence[Any] | KeraportError]]:
    """Return the predictions for each file, in order; a file that cannot be read gives its error.

    As many files at once as make up a batch, so that it runs as fast as the server would.
    """

    def one(path: Path) -> tuple[Path, Sequence[Any] | KeraportError]:
        try:
            payload = _payload(model, path)
            try:
                return path, model.predict(payload, Call(time.monotonic() + PATIENCE_S))
            except InvalidInput as error:
                if payload.kind == "csv" and (columns := _columns(model)):
                    limits = Limits(max_rows=sys.maxsize)
                    lines = read_table(payload.data, columns, limits).lines
                    error.details = on_lines(error.details, lines)
                raise
        except KeraportError as error:
            return path, error

    runtime = model.card.runtime
    yield from Pool(min(2 * runtime.max_batch_size, runtime.max_queue)).imap(one, files)


def write(model: Model, body: dict[str, Any]) -> Iterator[str]:
    """Yield a text in pieces, as they come, its seed first. body: of the request. Raises BadRequest
    for other models, and the errors of `TextModel.predict`."""
    from app.serving.models.text_model import TextModel

    if not isinstance(model, TextModel):
        raise BadRequest(f"the model {model.name!r} answers files: name some")
    call = Call(time.monotonic() + PATIENCE_S)
    with model.writing(Payload("json", orjson.dumps(body)), call) as (text, pieces):
        yield text.seed
        yield from filter(None, pieces)


def _payload(model: Model, path: Path) -> Payload:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CardError(f"cannot be read: {error.strerror}") from None
    takes_files = files_of(model.task.accepts) is not None
    if takes_files and path.suffix.lower() != ".json":
        return Payload("files", files=[io.BytesIO(data)])
    if "csv" in model.task.accepts and path.suffix.lower() in (".csv", ".tsv"):
        return Payload("csv", data)
    if _takes_texts(model) and path.suffix.lower() != ".json":
        return _texts([data.decode(errors="replace")])
    if takes_files or "form" in model.task.accepts:
        data = _with_files(cast("RowTask", model.task), data, path)
    return Payload("json", data)


def answer_texts(model: Model, texts: Sequence[str]) -> Sequence[Any]:
    """Return the predictions for texts. Raises BadRequest for models that take anything else, and
    the errors of `Model.predict`."""
    if not _takes_texts(model):
        raise BadRequest(f"the model {model.name!r} takes no texts: name files")
    return model.predict(_texts(texts), Call(time.monotonic() + PATIENCE_S))


def _takes_texts(model: Model) -> bool:
    inputs = model.task.inputs if isinstance(model.task, RowTask) else []
    return [each.kind for each in inputs] == ["text"]


def _texts(texts: Sequence[str]) -> Payload:
    return Payload("json", orjson.dumps([*texts]))


def _with_files(task: RowTask, data: bytes, path: Path) -> bytes:
    """Put pictures and recordings that a request names, as files beside it, into it. path: of the
    request. Raises BadRequest for a file that is none, InvalidInput for names that no file has."""
    takers = [each for each in task.inputs if isinstance(each, FileInput)]
    fields = [each.name for each in takers]
    try:
        body = orjson.loads(without_bom(data))
    except orjson.JSONDecodeError:
        if path.suffix.lower() == ".json" or not takers:
            return data  # the model says what is wrong
        names = ", ".join(f'"{each.name}": …' for each in task.inputs)
        noun = " and ".join(dict.fromkeys(each.files.noun for each in takers))
        raise BadRequest(
            f"this model has several inputs: expected a .json file, {{{names}}}, where "
            f"{' and '.join(fields)} may name {noun} files beside it"
        ) from None
    if (kind := files_of(task.accepts)) is not None:
        fields.append(kind.field)
    missing = []
    for i, row in enumerate(body if isinstance(body, list) else [body]):
        for name in fields if isinstance(row, dict) else ():
            value = row.get(name)
            # Base64 of a file is hardly ever as short as the name of a file.
            if not isinstance(value, str) or len(value) >= _MAX_PATH:
                continue
            if (path.parent / value).is_file():
                row[name] = b64encode((path.parent / value).read_bytes()).decode()
            elif not _is_base64(value):
                where = f"[{i}].{name}" if isinstance(body, list) else name
                problem = f"there is no such file beside {path.name}, and this is not base64"
                missing.append(Detail(where, problem, value))
    if missing:
        raise invalid(missing)
    return orjson.dumps(body)


def _is_base64(value: str) -> bool:
    try:
        decode_base64(value)
    except ValueError:
        return False
    return True


def _columns(model: Model) -> list[str]:
    """The columns of a table for the model; none where it takes a series, whose problems have the
    line already."""
    inputs = cast("RowTask", model.task).inputs
    return [field.name for each in inputs for field in each.fields]
