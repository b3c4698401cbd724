"""Checks and decoding of picture formats that Pillow leaves open, one module per format."""
