"""Another scale of pixels, for a model whose scale is a guess."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from flask import Request

from app.errors import BadRequest, Detail, InvalidInput
from app.serving.cards.inference.guesses import guessed_scales
from app.serving.models.model import Model
from app.serving.pixels import scales
from app.serving.signature import Scale
from app.serving.tasks import RowTask
from app.serving.tasks.inputs.picture import CHANNELS, Picture

SCALE = "scale"


def takers(model: Model) -> dict[str, Picture]:
    """Return the inputs that take pictures, by name."""
    if not isinstance(model.task, RowTask):
        return {}
    return {each.name: each for each in model.task.inputs if isinstance(each, Picture)}


def guessed_takers(model: Model) -> list[Picture]:
    """Return the inputs whose scale is a guess."""
    found = takers(model)
    return [found[name] for name in guessed_scales(model.guessed, [*found])]


def other_scales(model: Model) -> list[Scale]:
    """Return the scales that a request may try, the likeliest first: none where the model takes no
    pictures, or its card or its file shows how they are scaled."""
    guessed = guessed_takers(model)
    if not guessed:
        return []
    colours = {CHANNELS[each.color] for each in guessed}
    found = scales(3 if colours == {3} else 1)
    first = guessed[0]
    evidence = model.signature.pictures.get(first.specs[0].name)
    others = evidence.others if evidence is not None else ()
    likely = [first.feed.scale, *others]
    return sorted(found, key=lambda scale: likely.index(scale) if scale in likely else len(likely))


def scale_of(request: Request, model: Model) -> Scale | None:
    """Return the scale after `?scale=`, if there is one. Raises InvalidInput for one that the model
    does not have, and where its scale is no guess; BadRequest for a parameter of a similar name."""
    if not request.query_string:
        return None
    found = takers(model)
    if found and (name := _similar(request.args)) is not None:
        raise BadRequest(
            f"unknown query parameter {name[:100]!r}: '?scale=none' tries another scale of pixels, "
            "for every picture whose scale is a guess"
        )
    text = request.args.get(SCALE)
    if text is None:
        return None
    known = other_scales(model)
    if text in known:
        return text
    if known:
        expected = f"one of {', '.join(known)}"
        detail = Detail(SCALE, "not a scale of this model", text[:100], expected)
        raise InvalidInput(f"{SCALE}: {detail.problem}, expected {expected}", [detail])
    problem = "this model takes no pictures"
    if found:
        problem = f"the scale of this model is settled ({_settled(model, found)})"
    raise InvalidInput(f"{SCALE}: {problem}", [Detail(SCALE, problem, text[:100])])


def check_without_scale(request: Request) -> None:
    """Raise BadRequest where a request to several models names a scale, or something similar."""
    name = SCALE if SCALE in request.args else _similar(request.args)
    if name is not None:
        raise BadRequest(
            f"the query parameter {name[:100]!r} goes with one model: POST /api/NAME?scale=none "
            "tries another scale of pixels where that of the model is a guess"
        )


def _similar(names: Iterable[str]) -> str | None:
    """The first name that is probably meant as `scale`."""
    for name in names:
        text = name.lower()
        meant = text.startswith("scal") or text.endswith(SCALE)
        if name != SCALE and (meant or get_close_matches(text[:100], [SCALE], cutoff=0.8)):
            return name
    return None


def _settled(model: Model, found: dict[str, Picture]) -> str:
    said = []
    for name, each in found.items():
        evidence = model.signature.pictures.get(each.specs[0].name)
        shown = evidence is not None and evidence.proven and evidence.scale == each.feed.scale
        of = f"{name}: " if len(found) > 1 else ""
        said.append(f"{of}{each.feed.scale}, {'shown by its file' if shown else 'by its card'}")
    return "; ".join(said)
