"""The requirements of a Keras file beyond its own contents, reported in one message with advice."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.errors import LoadError
from app.serving.cards.card import TRUSTING_CARD
from app.serving.reading import graph_rules
from app.serving.reading.keras import keras1, lambdas
from app.serving.reading.keras.keras_config import Findings, plain_name
from app.serving.reading.keras.lambdas import Lambda

CUSTOM_FILE = "custom.py"
_BESIDE = f"{CUSTOM_FILE} beside the model"
# The most names in a message; the next attempt shows the rest.
_SHOWN = 3


@dataclass(frozen=True)
class Requirements:
    """Everything that is not in the file, or must not run without its owner's consent.

    code: descriptions of Python code in it. foreign: classes and functions that are not part of
    Keras; guessed: those that Keras may know by another name. others: further problems, as whole
    sentences. export: the call that saves a SavedModel in the Keras that wrote the file; empty if
    it has none. translated: whether it is a file of Keras 1.
    """

    lambdas: Sequence[Lambda]
    code: Sequence[str]
    foreign: Sequence[str]
    guessed: Sequence[str]
    others: Sequence[str]
    export: str
    custom_file: bool
    translated: bool

    @classmethod
    def of(cls, file: Any, folder: Path, known: Collection[str] = ()) -> Requirements:
        """Return the requirements of an inspected file. folder: where it is, perhaps with a
        `custom.py`. known: foreign names that have a stand-in."""
        found = file.findings
        foreign = [name for name in _names(found.foreign) if name not in known]
        guessed = _names(found.unknown)
        return cls(
            lambdas.find_lambdas(found.objects),
            found.code,
            foreign,
            [name for name in guessed if name not in foreign and name not in known],
            _others(found),
            _export(file.version, file.keras_version),
            (folder / CUSTOM_FILE).is_file(),
            translated=file.version < (2, 0),
        )

    def refuse_untranslated(self) -> None:
        """Raise LoadError for code in a file of Keras 1, which nothing can replace."""
        if self.translated and (self.lambdas or self.code):
            what = self.code[0] if self.code else self.lambdas[0].description
            raise LoadError(
                f"the Keras 1 file has {what}, which is not translated: {keras1.REBUILD}"
            )

    def refuse_untrusted(self) -> None:
        """Raise LoadError if any of it needs trust."""
        stuck = [each for each in self.lambdas if not each.runs_here]
        code = [c for c in self.code if not stuck or "ambda" not in c]
        if not (stuck or code or self.foreign):
            if self.others:
                raise LoadError("; besides, ".join(self.others))
            return
        what, advice = _problems_and_advice(stuck, [*self.foreign, *self.guessed])
        if code:
            listed = " and ".join(code[:_SHOWN])
            what.insert(0, f"has {listed}, which is Python code that would run on this server")
        advice.append(f"give it {TRUSTING_CARD}")
        message = f"the model {' and '.join(what)}: if you trust it, {_and(advice)}"
        if self.export:
            message += f"; or save it as a SavedModel with {self.export}, where it was trained"
        raise LoadError("; besides, ".join([message, *self.others]))

    def refuse_lambdas(self, custom: Collection[str]) -> None:
        """Raise LoadError for lambdas that cannot run and have no function in `custom`."""
        stuck = [each for each in self.lambdas if not (each.runs_here or each.name in custom)]
        if stuck:
            self._refuse_trusted(stuck, custom)

    def refuse_custom(self, custom: Collection[str]) -> None:
        """Raise LoadError for classes and functions that `custom` does not have."""
        if any(name not in custom for name in (*self.foreign, *self.guessed)):
            self._refuse_trusted([], custom)

    def hint(self, custom: Collection[str]) -> str:
        """Return advice about lambdas that Keras has run from the file; empty without any."""
        left = [each for each in self.lambdas if each.name not in custom]
        if not left:
            return ""
        return (
            "; the code of a lambda lacks the imports of its module and may be that of another "
            f"Python: {_function(left)}"
        )

    def _refuse_trusted(self, stuck: Sequence[Lambda], custom: Collection[str]) -> None:
        missing = [name for name in (*self.foreign, *self.guessed) if name not in custom]
        what, advice = _problems_and_advice(stuck, missing)
        it = "it" if len(stuck) + len(missing) == 1 else "them"
        lacks = f"there is no {_BESIDE}"
        if self.custom_file:
            lacks = f"{_BESIDE} does not define {it}"
        raise LoadError(f"the model {' and '.join(what)}, and {lacks}: {_and(advice)}")


def _problems_and_advice(
    stuck: Sequence[Lambda], names: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Return what the model needs and does not have here, and what to do about it."""
    what, advice = [], []
    if stuck:
        what.append(f"has {' and '.join(each.description for each in stuck[:_SHOWN])}")
        advice.append(_function(stuck))
    if names:
        listed = " and ".join(repr(name) for name in names[:_SHOWN])
        classes = "the custom classes" if len(names) > 1 else "the custom class"
        are = "are" if len(names) > 1 else "is"
        what.append(f"uses {classes} {listed}, which {are} not part of Keras")
        advice.append(f"put {'their' if len(names) > 1 else 'its'} source into {_BESIDE}")
    return what, advice


def _function(stuck: Sequence[Lambda]) -> str:
    lines = " and ".join(f"'{each.stub}'" for each in stuck[:_SHOWN])
    return (
        f"write into {_BESIDE}, with the imports that it needs, {lines}, where … is what the "
        "lambda returns in the code that trained the model"
    )


def _and(parts: Sequence[str]) -> str:
    return ", and ".join(parts)


def _names(nodes: Sequence[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(map(plain_name, nodes)))


def _others(findings: Findings) -> list[str]:
    found = [
        f"the model reads its vocabulary from {path!r}, which is not part of it: give the layer "
        "the words themselves as vocabulary=[…] and save it again"
        for path in findings.vocabularies[:1]
    ]
    try:
        graph_rules.check_operations(findings.operations)
    except LoadError as error:
        found.append(error.message)
    return found


def _export(version: tuple[int, int], keras_version: str) -> str:
    """Return the call that saves a SavedModel: `Model.export` came with Keras 2.13, and SavedModels
    with tf.keras, whose versions end in `-tf` up to 2.3. Keras without TensorFlow saved files
    only."""
    if version >= (2, 13):
        return "model.export('folder')"
    if version >= (2, 4) or keras_version.endswith("-tf"):
        return "model.save('folder', save_format='tf')"
    return ""
