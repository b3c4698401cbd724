"""The fields of a form for recordings and for series."""

from __future__ import annotations

from wtforms import FileField, StringField, TextAreaField

from app.serving.tasks.files.recordings import FORMATS_TEXT, MEDIA_TYPES
from app.serving.tasks.inputs.audio import Audio
from app.serving.tasks.inputs.series import Series

# Numbers of an example that the page opens with.
MOST_EXAMPLE = 200
_ACCEPT = [*MEDIA_TYPES, ".wav", ".flac", ".ogg", ".oga", ".opus"]


def recording_field(each: Audio) -> FileField:
    """Return a field for a recording. Its script draws the part that the model hears."""
    spec = each.recording
    heard = f"the model hears the first {spec.most / spec.rate:g} s"
    if spec.length is None:
        heard = f"at most {spec.most / spec.rate:g} s"
    about = {"accept": ",".join(_ACCEPT), "data-seconds": f"{spec.most / spec.rate:g}"}
    return FileField(each.name, description=f"{FORMATS_TEXT}; {heard}.", render_kw=about)


def series_fields(each: Series) -> tuple[StringField, FileField]:
    """Return a field for a series as text, and one for a file in its place."""
    text = TextAreaField(
        each.name,
        description=f"As CSV, or as JSON: {each.expected()}.",
        render_kw={"rows": 8, "spellcheck": "false"},
    )
    file = FileField(f"{each.name}, as a file", render_kw={"accept": ".csv,.tsv,.txt,.json"})
    return text, file


def series_example(each: Series) -> str:
    """Return a series as CSV; empty where it would be too long to read."""
    steps, columns = each.shape.steps or 1, each.shape.columns
    if steps * columns > MOST_EXAMPLE:
        return ""
    header = [",".join(each.columns)] if each.columns else []
    return "\n".join([*header, *[",".join(["0.5"] * columns)] * steps])
