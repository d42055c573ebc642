"""Gives every process of a test the NumPy learner: Python imports this when it starts, if it is on its path."""

from __future__ import annotations

import os

if os.environ.get("STAR_AL_TEST_LEARNER") == "numpy":
    from star_al.app import worker_processes
    from support.kill_at import use_numpy_learner

    no_torch = [name for name in worker_processes.PRELOADED if not name.startswith("star_al.models")]
    worker_processes.PRELOADED[:] = no_torch
    use_numpy_learner()
