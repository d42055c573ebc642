"""Run the command line in a process that sends itself a signal at one write to the store.

    python -m support.kill_at SIGNAL METHOD N before|after ARGS…

SIGNAL is SIGKILL, SIGSTOP or SIGINT; METHOD is a method of the store that writes, and the signal comes before
or after its N-th call (from 1); METHOD ``-`` means never. The model is the NumPy learner when
STAR_AL_TEST_LEARNER=numpy, so that a run takes a second.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Callable
from typing import Any


def main(arguments: list[str]) -> None:
    signal_name, method, n, moment, *command = arguments
    if os.environ.get("STAR_AL_TEST_LEARNER") == "numpy":
        _use_numpy_learner()
    if method != "-":
        from db.store import SqlStore

        setattr(
            SqlStore,
            method,
            _signalling(getattr(SqlStore, method), signal.Signals[signal_name], int(n), moment),
        )
    sys.argv = ["star-al", *command]
    from star_al.cli.main import main as cli

    cli()


def _use_numpy_learner() -> None:
    from star_al.app import compose, running
    from star_al.task import ClosedTask
    from support.numpy_learner import NumpyLearner

    def numpy_learner(file: Any, spec: Any, rounds: Any) -> NumpyLearner:
        return NumpyLearner(ClosedTask(spec.task), spec.posterior.samples)

    compose.open_learner = running.open_learner = numpy_learner


def _signalling(
    function: Callable[..., Any], sent: signal.Signals, n: int, moment: str
) -> Callable[..., Any]:
    calls = 0

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == n and moment == "before":
            os.kill(os.getpid(), sent)
        result = function(*args, **kwargs)
        if calls == n and moment == "after":
            os.kill(os.getpid(), sent)
        return result

    return wrapper


if __name__ == "__main__":
    main(sys.argv[1:])
