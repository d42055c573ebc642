"""Train and measure the language model of one round; run as a program of its own by ``training_process``.

It reads an ``Order`` from standard input and writes messages to standard output. It exits when its input closes.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
import warnings
from contextlib import closing
from dataclasses import replace
from typing import Any, BinaryIO

from star_al.app.compose import open_learner, open_parts
from star_al.app.stores import find_campaign, open_store
from star_al.app.training_process import Order
from star_al.app.worker_processes import MessageKind, PipeProgress, exit_cleanly, internal_error
from star_al.common.patience import Patience
from star_al.errors import StarALError
from star_al.steps.cut_texts import say_cut_texts
from star_al.steps.train import train_and_measure

PRIORITY = 10
"""Niceness of the worker: the head that ranks gets nine tenths of a core that both want, and a worker on a machine
with other work still gets on."""


class _Output:
    """Where messages go."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def send(self, message: Any, /) -> None:
        """Write a message."""
        pickle.dump(message, self._stream)
        self._stream.flush()


def work(order: Order, progress: PipeProgress) -> None:
    """Send what is found out about a round's language model.

    Raises:
        StarALError: It cannot be trained or measured.
    """
    from star_al.models.devices import use_threads

    use_threads(order.threads)
    file = order.file
    with closing(open_store(file, patience=Patience(waits=True, say=progress.say))) as store:
        campaign = find_campaign(file, store)
        rounds = store.rounds(campaign.campaign_id)
        learner = open_learner(file, file.spec, rounds, progress, cache=file.trunk_folder)
        parts = open_parts(file, store, campaign, progress, file.spec, learner=learner)
        parts = replace(parts, lease=order.lease)
        for result in train_and_measure(parts, order.round_):
            progress.send(MessageKind.RESULT, result)
        say_cut_texts(parts, set())


def main() -> None:
    """Work on the order that standard input gives."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which ends this process
    signal.signal(signal.SIGTERM, exit_cleanly)
    warnings.simplefilter("ignore")  # libraries' warnings, as on the command line
    output = _Output(os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)  # what libraries print is no message
    order: Order = pickle.load(sys.stdin.buffer)
    threading.Thread(target=_exit_with_parent, name="exit-with-parent", daemon=True).start()
    os.nice(max(0, PRIORITY - os.nice(0)))  # one that is nicer already stays so
    progress = PipeProgress(output)
    error: StarALError | None = None
    try:
        work(order, progress)
    except StarALError as exc:
        error = exc
    except Exception as exc:
        error = internal_error(exc)
    progress.send(MessageKind.PROCESS_ENDED, error)


def _exit_with_parent() -> None:
    while os.read(0, 4096):  # not sys.stdin, whose lock would abort the interpreter when it ends
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
