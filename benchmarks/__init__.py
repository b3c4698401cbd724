"""Keraport against its own ceiling and against the ordinary script, side by side."""
