"""Functions that the processes of ``test_worker_processes.py`` run; importable by name."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from star_al.errors import DataError
from star_al.ports import Progress


def double(number: int, progress: Progress) -> int:
    progress.say(f"doubling {number}")
    with progress.task("doubling", 2) as advance:
        time.sleep(0.3)
        advance(2)
    return 2 * number


def refuse(progress: Progress) -> None:
    raise DataError("no such row.")


def break_down(progress: Progress) -> None:
    raise KeyError("odd")


def die(progress: Progress) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def hold(mark: str, progress: Progress) -> None:
    """Hold something until the end, and write a file when it is released."""
    try:
        progress.say("holding")
        time.sleep(60)
    finally:
        Path(mark).write_text("given back")
