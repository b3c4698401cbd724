"""Queues and threads: requests become runs of a session."""
