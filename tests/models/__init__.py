"""Models that tests make, and the tests that need TensorFlow in their own process."""

from tests.models.saved import (
    ECHOED,
    save_caption_model,
    save_constant_model,
    save_echo,
    save_half_plus_two,
    save_hanging_model,
    save_image_models,
    save_killing_model,
    save_picture_model,
    save_slow_model,
    save_tabular_model,
    save_tagged_model,
    save_text_model,
)

__all__ = [
    "ECHOED",
    "save_caption_model",
    "save_constant_model",
    "save_echo",
    "save_half_plus_two",
    "save_hanging_model",
    "save_image_models",
    "save_killing_model",
    "save_picture_model",
    "save_slow_model",
    "save_tabular_model",
    "save_tagged_model",
    "save_text_model",
]
