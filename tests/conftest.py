"""Settings of every test run: no model hub, no deadlines for property tests on slow machines."""

from __future__ import annotations

import os

from hypothesis import settings

os.environ["HF_HUB_OFFLINE"] = "1"  # read when the hub's client is imported
if "PYTEST_XDIST_WORKER" in os.environ:  # tests side by side share the cores, or small matrices take for ever
    os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile("star_al", deadline=None, derandomize=True)
settings.load_profile("star_al")
