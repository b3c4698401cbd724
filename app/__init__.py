"""Keraport: a folder of Keras models as an HTTPS web app and API."""

__version__ = "0.1.0"
