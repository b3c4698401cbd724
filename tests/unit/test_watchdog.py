"""Runs that do not end."""

from __future__ import annotations
