"""What Schemathesis sends where OpenAPI says no more than that it is a picture."""

from __future__ import annotations

import schemathesis
from hypothesis import strategies

from app.serving.tasks.pictures import FORMATS, MEDIA_TYPES
from tests.support import picture

for format, media_type in zip(FORMATS, MEDIA_TYPES, strict=True):
    # Nobody reads the type: the content says what it is.
    content = strategies.just(picture(format=format)) | strategies.binary(max_size=300)
    schemathesis.openapi.media_type(media_type, content)
