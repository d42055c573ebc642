"""Run the command line in a process that sends itself a signal at one write to the store or at one request.

    python -m support.kill_at SIGNAL POINTS N before|after ARGS…

SIGNAL is SIGKILL, SIGSTOP or SIGINT. POINTS are writing methods of the store, separated by commas; or ``request`` for
any HTTP request; or ``request:TEXT`` for requests whose URL holds TEXT; or ``-`` for never. The signal is sent before
or after the N-th of these calls, counted from 1. With STAR_AL_TEST_LEARNER=numpy the model is the NumPy learner, so
that a run takes a second. ARGS ``api FILE`` answers the campaign's questions from Python. STAR_AL_TEST_FIRST_PAUSE
sets the first pause, in seconds, of a run that waits for people.

SIGSTOP is never sent during a transaction of another thread, such as the renewal of the lease: a process stopped
there would keep SQLite's write lock, and nobody could take over.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any


def main(arguments: list[str]) -> None:
    signal_name, points, n, moment, *command = arguments
    if os.environ.get("STAR_AL_TEST_LEARNER") == "numpy":
        use_numpy_learner()
    if pause := os.environ.get("STAR_AL_TEST_FIRST_PAUSE"):
        from star_al.app import waiting

        waiting.FIRST_PAUSE = float(pause)
    if points != "-":
        sent = signal.Signals[signal_name]
        if sent == signal.SIGSTOP:
            _one_transaction_at_a_time()
        _signal_at(points, _Counter(sent, int(n), moment))
    if command[0] == "api":
        from support import api_program

        api_program.main(*command[1:])
        sys.exit(0)
    sys.argv = ["star-al", *command]
    from star_al.cli.main import main as cli

    cli()


def use_numpy_learner(replace: Callable[[Any, str, Any], None] = setattr) -> None:
    """Put the NumPy learner in the place of models and heads; a test passes what puts them back at its end."""
    from star_al.app import compose, computing, running
    from star_al.task import closed, make_task
    from support.label_set_learner import learner_for
    from support.numpy_learner import NumpyLearner

    def numpy_learner(file: Any, spec: Any, rounds: Any, progress: Any, **_: Any) -> Any:
        return learner_for(make_task(spec.task))

    def numpy_head(file: Any, spec: Any, rounds: Any, progress: Any, *_: Any, **__: Any) -> NumpyLearner:
        return NumpyLearner(closed(make_task(spec.task)), "head")

    for module in (compose, running):
        replace(module, "open_learner", numpy_learner)
        replace(module, "open_head", numpy_head)
    replace(computing, "OPENER", "support.cluster:open_numpy")


_IN_TRANSACTION = threading.RLock()
"""Held by a thread in a transaction, and by the thread that sends SIGSTOP."""


def _one_transaction_at_a_time() -> None:
    from db import engine

    run = engine._Transaction.run

    def alone(transaction: engine._Transaction[Any]) -> Any:
        with _IN_TRANSACTION:
            return run(transaction)

    engine._Transaction.run = alone  # type: ignore[method-assign, assignment]


class _Counter:
    """Counts calls and sends the signal before or after the n-th."""

    def __init__(self, sent: signal.Signals, n: int, moment: str) -> None:
        self._sent, self._n, self._moment, self._calls = sent, n, moment, 0

    def around(self, function: Callable[[], Any]) -> Any:
        self._calls += 1
        its_turn = self._calls == self._n
        if its_turn and self._moment == "before":
            self._send()
        result = function()
        if its_turn and self._moment == "after":
            self._send()
        return result

    def _send(self) -> None:
        with _IN_TRANSACTION:
            os.kill(os.getpid(), self._sent)


def _signal_at(points: str, counter: _Counter) -> None:
    if points.partition(":")[0] == "request":
        import httpx

        _count(httpx.Client, "send", counter, points.partition(":")[2])
        return
    from db.store import SqlStore

    for method in points.split(","):
        _count(SqlStore, method, counter)


def _count(owner: type, name: str, counter: _Counter, url_part: str = "") -> None:
    """Let ``counter`` count the calls of a method; of ``httpx.Client.send``, only those to a URL with ``url_part``."""
    function = getattr(owner, name)

    @functools.wraps(function)
    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        if url_part and url_part not in str(args[0].url):
            return function(self, *args, **kwargs)
        return counter.around(lambda: function(self, *args, **kwargs))

    setattr(owner, name, counted)


if __name__ == "__main__":
    main(sys.argv[1:])
