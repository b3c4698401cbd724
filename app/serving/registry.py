"""Which models there are, which state they are in, and how they come to be ready."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Literal

from app.errors import CardError, ModelError, ModelNotFound, ModelUnavailable
from app.serving.card import (
    MODEL_SUFFIXES,
    Card,
    find_model,
    infer_card,
    name_problem,
    read_card,
)
from app.serving.labels import imagenet_labels
from app.serving.loader import Loader
from app.serving.overlooked import overlooked
from app.serving.signature import GenerationRequest
from app.serving.tasks.base import Limits
from app.serving.tasks.words import never_said

if TYPE_CHECKING:
    from app.serving.model import Model

log = logging.getLogger(__name__)
State = Literal["loading", "ready", "failed"]
TEXT_TASK = "text-generation"
# Of the card, what concerns nobody outside, or is too long to show.
HIDDEN: Any = {"trusted": True, "file": True, "text": {"vocabulary", "starts"}}
# When to ask again for what is still loading.
LOADING_RETRY_S = 5


@dataclass
class Entry:
    """A model in the folder, whether it can be served or not.

    path: a model file or a folder. version: the number of that folder where it is one of several
    under `home`, which may hold the card for all of them; else 1.
    reason: why it failed, for people. model: set once ready.
    """

    name: str
    path: Path
    version: int = 1
    home: Path | None = None
    state: State = "loading"
    reason: str | None = None
    model: Model | None = None
    card: Card | None = None
    loaded_at: float | None = None

    def summary(self) -> dict[str, Any]:
        """The entry as `GET /api/models` lists it."""
        card = self.card
        out: dict[str, Any] = {
            "name": self.name,
            "title": (card and card.title) or self.name,
            "description": card.description if card else None,
            "task": card.task if card else None,
            "state": self.state,
            "version": self.version,
            "versions": [{"version": self.version, "state": self.state}],
            "metrics": card.metrics if card else {},
        }
        if self.reason:
            out["reason"] = self.reason
        return out

    def describe(self) -> dict[str, Any]:
        """The entry as `GET /api/models/NAME` shows it: the summary, the card, inputs, outputs."""
        out = self.summary()
        if self.card is not None:
            out["card"] = self.card.model_dump(mode="json", exclude=HIDDEN)
        if self.model is not None:
            out["input"] = self.model.task.input_schema()
            out["signature"] = self.model.signature.describe()
            out["parameters"] = self.model.signature.parameters
            out["loaded_at"] = self.loaded_at
            out["waiting"] = self.model.waiting
            out |= self.model.details()
        return out


class Registry:
    """The models of one folder. Loading happens in a native thread of its own, so that the server
    answers from its first moment; entries change from `loading` to `ready` or `failed`.

    on_loaded: told in that thread of each entry that is ready or failed, and after how many
    seconds.
    """

    def __init__(
        self,
        folder: Path,
        limits: Limits,
        on_loaded: Callable[[Entry, float], None] = lambda entry, seconds: None,
    ) -> None:
        self._folder = folder
        self._limits = limits
        self._on_loaded = on_loaded
        self._entries: dict[str, Entry] = {}
        self._done = Event()
        self._stopping = False
        self._loader = Loader()
        self._thread: Thread | None = None

    def find(self) -> None:
        """List the models. Raises CardError if the folder is missing."""
        self._entries = {entry.name: entry for entry in discover(self._folder)}
        for line in overlooked(self._folder):
            log.warning("%s", line)

    def start(self) -> None:
        """Begin to load what was found."""
        self._thread = Thread(target=self._load_all, name="loading", daemon=True)
        self._thread.start()

    def load(self) -> None:
        """Find and load all models, here and now."""
        self.find()
        self.start()
        self._done.wait()

    @property
    def loaded(self) -> bool:
        """Whether every model is ready or failed."""
        return self._done.is_set()

    def entries(self) -> list[Entry]:
        """All models, by name."""
        return list(self._entries.values())

    def entry(self, name: str) -> Entry:
        """The model called `name`, in whatever state. Raises ModelNotFound."""
        entry = self._entries.get(name)
        if entry is None:
            known = ", ".join(self._entries) or "none"
            raise ModelNotFound(f"there is no model {name[:100]!r}; the models are: {known}")
        return entry

    def get(self, name: str) -> Model:
        """The model called `name`. Raises ModelNotFound, or ModelUnavailable unless it is ready."""
        entry = self.entry(name)
        if entry.model is not None:
            return entry.model
        if entry.state == "failed":
            raise ModelUnavailable(
                f"the model {name!r} failed to load: {entry.reason}", retry_after=60
            )
        raise ModelUnavailable(f"the model {name!r} is still loading", retry_after=LOADING_RETRY_S)

    @contextmanager
    def using(self, name: str, version: int | str | None = None) -> Iterator[Model]:
        """The model called `name`, ready, for as long as the block lasts."""
        yield self.get(name)

    def stop(self) -> None:
        """Load nothing more; the loader process ends. Models that are ready stay usable."""
        self._stopping = True
        self._loader.close()

    def close(self) -> None:
        """Stop, then free every model. Not from the hub while it serves."""
        self.stop()
        if self._thread is not None:
            self._thread.join()
        for entry in self._entries.values():
            if entry.model is not None:
                entry.model.close()
                entry.model = None

    def _load_all(self) -> None:
        for entry in self._entries.values():
            if self._stopping:
                break
            started = time.monotonic()
            if entry.state == "loading":
                self._load(entry)
            if not self._stopping:
                self._on_loaded(entry, time.monotonic() - started)
        self._loader.close()
        if not self._stopping:
            states = [entry.state for entry in self._entries.values()]
            ready, failed = states.count("ready"), states.count("failed")
            log.info("%d model%s ready, %d failed", ready, "" if ready == 1 else "s", failed)
        self._done.set()

    def _load(self, entry: Entry) -> None:
        started = time.monotonic()
        try:
            entry.model = load_entry(entry, self._loader, self._limits)
        except ModelError as error:
            entry.reason, entry.state = error.message, "failed"
            if not self._stopping:
                log.error("model %s failed to load: %s", entry.name, error.message)
        except Exception as error:
            entry.reason, entry.state = f"{type(error).__name__}: {error}", "failed"
            log.exception("model %s failed to load", entry.name)
        else:
            entry.loaded_at = entry.model.loaded_at
            entry.state = "ready"
            log.info("model %s ready in %.1f s", entry.name, time.monotonic() - started)


def load_entry(entry: Entry, loader: Loader, limits: Limits) -> Model:
    """Read the card, convert the model and open its session. Sets `entry.card` as soon as it is
    known. Raises CardError or LoadError."""
    # TensorFlow takes seconds to import: here, in the loading thread, while the server listens.
    from app.serving.model import TensorModel
    from app.serving.text_model import TextModel

    if entry.path.is_dir():
        card = read_card(entry.path)
        if card is None and entry.home is not None:
            card = read_card(entry.home)
        source = find_model(entry.path, card)
    else:
        card, source = None, entry.path
    entry.card = card
    generation = generation_request(card)
    trusted = card is not None and card.trusted
    with loader.convert(source, trusted=trusted, generation=generation) as converted:
        if card is None:
            card = infer_card(converted.signature)
        if card.labels == "imagenet":
            card = card.model_copy(update={"labels": imagenet_labels()})
        entry.card = card
        if card.task == TEXT_TASK:
            return TextModel(entry.name, entry.version, card, converted)
        return TensorModel(entry.name, entry.version, card, converted, limits)


def generation_request(card: Card | None) -> GenerationRequest | None:
    """What the loader has to make besides, for a card of text."""
    if card is None or card.task != TEXT_TASK:
        return None
    assert isinstance(card.text.vocabulary, list), "read with the card"
    never = never_said(card.text, card.text.vocabulary)
    return GenerationRequest(never=never, window=card.text.window)


def discover(folder: Path) -> list[Entry]:
    """Every model in `folder`, by name; what cannot be one for a reason worth telling is listed as
    failed. Raises CardError if there is no such folder."""
    if not folder.is_dir():
        raise CardError(f"there is no folder {str(folder)!r}: set KERAPORT_MODELS_DIR")
    entries: dict[str, Entry] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith((".", "_")):
            continue
        if path.is_dir():
            entry = entry_of_folder(path)
        elif path.suffix.lower() in MODEL_SUFFIXES:
            entry = Entry(path.stem, path)
        else:
            continue
        if problem := name_problem(entry.name):
            _fail(entry, problem)
        if entry.name in entries:
            _fail(entries[entry.name], f"two models have this name: {path.name} is the other one")
        else:
            entries[entry.name] = entry
    return list(entries.values())


def entry_of_folder(path: Path) -> Entry:
    """The model of a folder; of several numbered versions the latest."""
    numbers = [p for p in path.iterdir() if p.is_dir() and p.name.isdecimal()]
    if numbers and not (path / "saved_model.pb").exists():
        latest = max(numbers, key=lambda p: int(p.name))
        return Entry(path.name, latest, version=int(latest.name), home=path)
    return Entry(path.name, path)


def _fail(entry: Entry, reason: str) -> None:
    entry.state, entry.reason = "failed", reason
