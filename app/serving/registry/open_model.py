"""Opens a version on disk as a model that answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Lock

from app.errors import CardError
from app.resources.memory import free_memory, freeze_imports, growth, resident
from app.serving.cards import architecture_files
from app.serving.cards.card import CARD_FILE, TEXT_TASK, Card
from app.serving.cards.examples import example_texts
from app.serving.cards.inference.guesses import guesses
from app.serving.cards.inference.infer import completed
from app.serving.cards.read import read_card, with_imagenet
from app.serving.cards.versions import Policy
from app.serving.models.model import Model
from app.serving.models.statistics import Statistics
from app.serving.models.stream_limit import StreamLimit
from app.serving.reading.model_files import find_model
from app.serving.reading.process import ReaderProcess
from app.serving.registry.folder import ScannedVersion, files_below
from app.serving.signature import Converted, GenerationRequest
from app.serving.tasks.base import Limits
from app.serving.tasks.vocabulary import excluded_tokens

# Files of examples have these ends, which no part of a model has.
_PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif")
_MEDIA = (*_PICTURES, ".wav", ".flac", ".ogg")
_importing = Lock()
_imported = False


def import_engine() -> None:
    """Import the engine with TensorFlow, which takes seconds: not on the hub. From any thread; one
    imports, the others wait."""
    global _imported
    with _importing:
        if not _imported:
            import app.serving.models.tensor_model
            import app.serving.models.text_model  # noqa: F401 - with all that they need

            freeze_imports()
            _imported = True


def open_model(
    scanned: ScannedVersion,
    reader: ReaderProcess,
    limits: Limits,
    stream_limit: StreamLimit,
    statistics: Statistics,
    on_card: Callable[[Card], None],
    adapt: Callable[[Card | None], Card] | None = None,
) -> Model:
    """Read the card, convert the model and open its session.

    stream_limit: of the streams of all models together. statistics: where the model is counted.
    on_card: called with the card as soon as it is known. adapt: returns a card to use in place of
    the one that was written, if any was. Raises CardError or LoadError."""
    if scanned.problem:
        raise CardError(scanned.problem)
    card, folder = stated_card(scanned)
    if adapt is not None:
        card = adapt(card)
    source = scanned.path if scanned.home is None else find_model(scanned.path, card)
    if card is not None:
        on_card(card)
    generation = generation_request(card)
    trusted = card is not None and card.trusted
    precision = "float32" if card is None else card.runtime.precision
    with reader.convert(
        source,
        trusted=trusted,
        generation=generation,
        precision=precision,
        files=partial(_files, scanned, source, card, folder),
    ) as converted:
        folders = [] if scanned.home is None else [scanned.path, scanned.home]
        stated, (card, signature) = card, completed(card, converted.signature, folders)
        converted, card = replace(converted, signature=signature), with_imagenet(card)
        on_card(card)
        import_engine()
        began = resident()
        model = _made(scanned, card, converted, limits, stream_limit, statistics, folder)
        model.guessed = guesses(stated, card, converted.signature)
        model.loading_bytes = reader.peak_bytes + growth(began, resident())
        model.from_cache = reader.from_cache
        free_memory()
        return model


def _made(
    scanned: ScannedVersion,
    card: Card,
    converted: Converted,
    limits: Limits,
    stream_limit: StreamLimit,
    statistics: Statistics,
    folder: Path | None,
) -> Model:
    from app.serving.models.tensor_model import TensorModel
    from app.serving.models.text_model import TextModel

    name, version = scanned.name, scanned.version
    if card.task == TEXT_TASK:
        return TextModel(name, version, card, converted, limits, statistics, stream_limit, folder)
    return TensorModel(name, version, card, converted, limits, statistics, folder)


def _files(
    scanned: ScannedVersion, source: Path, card: Card | None, folder: Path | None
) -> list[Path]:
    """List the files that the model may be read from: those of its folder but the card and the
    pictures or sounds that are its examples. folder: of the card."""
    if scanned.home is None:
        design = architecture_files.beside(source)
        return [source] if design is None else [source, design]
    root = source if source.is_dir() else source.parent
    texts = example_texts(card.examples or ()) if card is not None and folder is not None else []
    examples = {
        (folder or root) / text
        for text in texts
        # A model may read what lies among its assets.
        if text.lower().endswith(_MEDIA) and not text.startswith("assets")
    }
    return [
        p
        for p in files_below(root)
        if p not in examples and (p.name != CARD_FILE or architecture_files.looks_like_one(p))
    ]


def stated_card(scanned: ScannedVersion) -> tuple[Card | None, Path | None]:
    """Read the card of the version's own folder, else that of the model's; with the folder.

    Raises CardError.
    """
    if scanned.home is None:
        return None, None
    card = read_card(scanned.path)
    if card is None and scanned.numbered:
        return read_card(scanned.home), scanned.home
    misplaced = sorted(card.model_fields_set & set(Policy.model_fields)) if card else []
    if misplaced and scanned.numbered:
        raise CardError(
            f"{CARD_FILE}: {', '.join(misplaced)}: this is said for all versions at once, in "
            f"{scanned.name}/{CARD_FILE}"
        )
    return card, scanned.path


def generation_request(card: Card | None) -> GenerationRequest | None:
    """Return the request for a graph that writes texts; None for cards of other tasks."""
    if card is None or card.task != TEXT_TASK:
        return None
    assert isinstance(card.text.vocabulary, list), "read with the card"
    never = excluded_tokens(card.text, card.text.vocabulary)
    return GenerationRequest(never=never, window=card.text.window)
