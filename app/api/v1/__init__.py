"""The REST API of TensorFlow Serving (v1)."""
