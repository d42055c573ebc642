"""Settings of every test run: no model hub, no deadlines on slow machines, the longest files first."""

from __future__ import annotations

import os
import signal

import pytest
from hypothesis import HealthCheck, settings

os.environ["HF_HUB_OFFLINE"] = "1"  # read when the hub's client is imported
if "PYTEST_XDIST_WORKER" in os.environ:  # workers share the cores, and more threads than cores are slow
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# The shell starts background jobs with SIGINT ignored, and child processes would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile(
    "star_al", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("star_al")

LONGEST_FIRST = (
    "e2e",
    "compute",
    "label_studio",
    "local_server",
    "cli",
    "api",
    "models",
    "docs",
    "packaging",
    "report",
)
"""Folders in the order in which workers begin with their files, so that no long file is left over at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the tests by folder; the order within a folder stays."""
    turn = {folder: number for number, folder in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: turn.get(item.path.parent.name, len(turn)))
