"""Runs that do not end."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import gevent
import numpy as np
import pytest

from app.errors import DeadlineExceeded, KeraportError, ModelUnavailable
from app.serving.batching import Batcher, Call
from app.serving.entry import Entry
from app.serving.streams import Generator, Stream
from app.serving.watchdog import Watchdog
from tests.unit.fixtures import Gate  # type: ignore[attr-defined]
