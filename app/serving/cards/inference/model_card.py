"""Model cards of the Hugging Face Hub: what their metadata say of a model.

https://huggingface.co/docs/hub/model-cards describes them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from app.serving.cards.inference.outputs import GREY_AND_RGB, OutputGuess, OutputKind
from app.serving.cards.labels import LABEL_FILES
from app.serving.signature import Signature, TensorSpec

MODEL_CARD = "README.md"
_MAX_BYTES = 100_000
_METADATA = re.compile(r"---[ \t]*\r?\n(.*?)^---[ \t]*\r?$", re.DOTALL | re.MULTILINE)
_TAG = re.compile(r"""^pipeline_tag:[ \t]+(["']?)([\w-]+)\1[ \t]*(?:#.*)?\r?$""", re.MULTILINE)
# The tags that say what an output is; a number may also be a vector.
_KINDS: dict[str, OutputKind] = {
    "image-classification": "classes",
    "audio-classification": "classes",
    "text-classification": "classes",
    "tabular-classification": "classes",
    "tabular-regression": "number",
    "time-series-forecasting": "number",
    "feature-extraction": "number",
    "image-feature-extraction": "number",
    "image-segmentation": "mask",
    "image-to-image": "picture",
}
_DRAWN = ("mask", "picture")


def pipeline_tag(folders: Sequence[Path]) -> str | None:
    """Return what the first model card in these folders says the model is for, such as
    `image-classification`; None where none says anything."""
    for folder in folders:
        try:
            with (folder / MODEL_CARD).open("rb") as file:
                text = file.read(_MAX_BYTES).decode("utf-8-sig", errors="replace")
        except OSError:
            continue
        if (metadata := _METADATA.match(text)) and (found := _TAG.search(metadata[1])):
            return found[2]
    return None


def with_model_card(signature: Signature, folders: Sequence[Path]) -> Signature:
    """Return a signature with one output as the model card in these folders describes it. Labels
    beside a model say more."""
    tag = pipeline_tag(folders)
    labelled = any((folder / name).is_file() for folder in folders for name in LABEL_FILES)
    if tag is None or labelled or len(signature.outputs) != 1:
        return signature
    meanings = signature.meanings
    if meanings and _KINDS.get(tag) == "classes":
        (meaning,) = meanings
        if meaning.numbers == "logits" and meaning.classes is None:
            # Of what may be anything, a softmax would make probabilities.
            meanings = (replace(meaning, numbers="values"),)
    return replace(signature, meanings=meanings, pipeline_tag=tag)


def tagged(guess: OutputGuess, spec: TensorSpec, signature: Signature) -> OutputGuess:
    """Let the model card decide the kind of an output where the file does not. It stays a guess,
    and one of the kinds that shape and numbers allow."""
    tag, meaning = signature.pipeline_tag, signature.meaning(spec)
    kind = None if tag is None else _KINDS.get(tag)
    if kind is None or guess.guess is None or (kind in _DRAWN) != (guess.kind in _DRAWN):
        return guess
    units = spec.row_shape[-1] if spec.row_shape else 1
    if kind == "number":
        kind = "number" if units == 1 else "vector"
    elif kind != guess.kind:
        # Of a single unit, it would not be known from which value on it stands for which class.
        classes = kind == "classes" and len(spec.row_shape) == 1 and units != 1
        sigmoid = meaning is not None and meaning.numbers == "sigmoid" and units in GREY_AND_RGB
        if not (sigmoid if kind in _DRAWN else classes):
            return guess
    return OutputGuess(kind, f"the {MODEL_CARD} beside it says {tag}")
