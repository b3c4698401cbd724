"""Reads model files and converts them to graphs, in a child process."""
