"""Run the cells of a study in processes side by side."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context
from typing import Any


def finished(tasks: Sequence[Callable[[], Any]], jobs: int, until: float) -> Iterator[Any]:
    """Run tasks in processes of their own, and give what they return as it comes.

    Args:
        tasks: The tasks, in the order in which they start; each can be pickled.
        jobs: How many run at a time.
        until: Time of ``time.monotonic`` after which none starts.

    Raises:
        BaseException: A task failed. It is raised after all others have ended; several failures come as a group.
    """
    waiting = list(reversed(tasks))
    running: set[Future[Any]] = set()
    failures: list[BaseException] = []
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as workers:
        while running or (waiting and time.monotonic() < until):
            while waiting and len(running) < jobs and time.monotonic() < until:
                running.add(workers.submit(waiting.pop()))
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for each in done:
                failure = each.exception()
                if failure is None:
                    yield each.result()
                    continue
                failures.append(failure)
                if isinstance(failure, BrokenExecutor):  # a process died, and the others accept no more tasks
                    waiting.clear()
    if len(failures) == 1:
        raise failures[0]
    if failures:
        raise BaseExceptionGroup(f"{len(failures)} tasks failed", failures)
