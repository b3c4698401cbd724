"""The documentation, tried: every command in it runs, every answer has the shape that it shows."""
