"""Reads Keras files of every version into models in memory."""
