"""Keraport beside other servers for models, in turns in one run: `python -m benchmarks.peers`."""
