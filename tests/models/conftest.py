"""Tests of models need all of TensorFlow, of which the engine alone would import a part."""

import tensorflow  # noqa: F401
