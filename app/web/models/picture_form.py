"""The form for sending pictures."""

from __future__ import annotations

from wtforms import FileField, Form, MultipleFileField

from app.serving.tasks.files.pictures import FORMATS_TEXT, MEDIA_TYPES


def picture_form(label: str, *, several: bool) -> Form:
    """Return a form with one field, `image`, which lists the supported formats for the browser to
    check.

    Phones convert HEIC to JPEG because it is not among them.
    """
    form: Form = type("PictureForm", (Form,), {"image": picture_field(label, several=several)})()
    return form


def picture_field(label: str, *, several: bool) -> FileField:
    """Return a field for pictures."""
    kind = MultipleFileField if several else FileField
    kw = {"accept": ",".join(MEDIA_TYPES), "data-formats": FORMATS_TEXT}
    return kind(label, render_kw=kw)
