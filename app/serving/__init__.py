"""Serving models: cards, loading, sessions, batching. Knows no HTTP."""
