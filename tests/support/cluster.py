"""A Ray cluster of several processes on this machine, and the NumPy learner on its workers."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from star_al.compute.tasks import Order
from star_al.compute.worker import Opened
from star_al.config.spec import CampaignSpec
from star_al.ports import Advance
from star_al.task import closed, make_task
from star_al.types import Item, Predictions
from support.controller import environment
from support.numpy_learner import NumpyLearner

VICTIMS = "victims"
"""A file beside the campaign file with ids of processes, which a worker kills in mid-task; "self" is its own."""


class Cluster:
    """A head with two cores; ``restart`` starts another one at the same address."""

    def __init__(self) -> None:
        with socket.socket() as place:
            place.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{place.getsockname()[1]}"
        self.restart()

    def restart(self) -> None:
        port = self.address.partition(":")[2]
        own = "--head --block --num-cpus=2 --include-dashboard=false --object-store-memory=100000000"
        self._head = subprocess.Popen(
            [sys.executable, "-m", "ray.scripts.scripts", "start", *own.split(), f"--port={port}"],
            env=environment(
                RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0", RAY_USAGE_STATS_ENABLED="0", OMP_NUM_THREADS="1"
            ),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while not self._answers():
            assert self._head.poll() is None, "Ray does not start"
            time.sleep(0.1)

    @property
    def processes(self) -> list[int]:
        """The head's processes; those that keep the cluster together come first."""
        found = [process for process in psutil.Process(self._head.pid).children() if process.is_running()]
        return [self._head.pid, *(process.pid for process in found)]

    def wait_for_end(self) -> None:
        self._head.wait(60)

    def end(self) -> None:
        for pid in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._head.wait()

    def _answers(self) -> bool:
        host, _, port = self.address.partition(":")
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
        except OSError:
            return False
        return True


@contextmanager
def ray_cluster() -> Iterator[Cluster]:
    cluster = Cluster()
    try:
        yield cluster
    finally:
        cluster.end()


class MortalLearner(NumpyLearner):
    """The NumPy learner; while it predicts, it kills those whom a file names."""

    def __init__(self, order: Order, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._victims = Path(order.file).parent / VICTIMS

    def predict(
        self,
        folder: Path | None,
        items: Sequence[Item],
        *,
        draws: range | None,
        seed: int,
        advance: Advance,
        tolerance: float = 0.0,
    ) -> Predictions:
        with contextlib.suppress(FileNotFoundError):
            victims = self._victims.read_text().split()
            self._victims.unlink()
            for victim in victims:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(os.getpid() if victim == "self" else int(victim), signal.SIGKILL)
        return super().predict(folder, items, draws=draws, seed=seed, advance=advance, tolerance=tolerance)


def open_numpy(order: Order) -> Opened:
    """Open the NumPy learner on a worker."""
    learner = MortalLearner(order, closed(make_task(CampaignSpec.model_validate(order.spec).task)))
    return Opened(learner, learner.base_key)
