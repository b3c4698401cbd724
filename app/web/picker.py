"""The form that pictures are sent with."""

from __future__ import annotations

from wtforms import FileField, Form, MultipleFileField

from app.serving.tasks.pictures import FORMATS_TEXT, MEDIA_TYPES


def picture_form(label: str, *, several: bool) -> Form:
    """A form with the one field `image`. It says which formats are read, for the browser to check;
    phones turn their HEIC into JPEG when that is not among them."""
    kind = MultipleFileField if several else FileField
    kw = {"accept": ",".join(MEDIA_TYPES), "data-formats": FORMATS_TEXT}
    form: Form = type("PictureForm", (Form,), {"image": kind(label, render_kw=kw)})()
    return form
