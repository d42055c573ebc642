"""Settings of every test run: no model hub, no deadlines for property tests on slow machines."""

from __future__ import annotations

import os
import signal

from hypothesis import HealthCheck, settings

os.environ["HF_HUB_OFFLINE"] = "1"  # read when the hub's client is imported
if "PYTEST_XDIST_WORKER" in os.environ:  # tests side by side share the cores, or small matrices take for ever
    os.environ.setdefault("OMP_NUM_THREADS", "1")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's background job, whose children inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile(
    "star_al", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("star_al")
