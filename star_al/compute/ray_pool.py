"""Workers on a Ray cluster and the tasks that they are at."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from star_al.common.wording import count
from star_al.compute.driver_process import Begin, Finished, Message, Read, Say, Submit
from star_al.compute.worker import Worker
from star_al.errors import ClusterError, StarALError

STEP = 0.2
"""Seconds between two looks at what is new."""

ASK_EVERY = 1.0
"""Seconds between two questions to a worker how far it is."""

TRIES = 3
"""Workers that a task may lose before it counts as what ended them."""

SAY_SECONDS = 30.0
"""Seconds without any worker before the user is told."""

LOST_SECONDS = 15.0
"""Seconds without any worker before a cluster that had some counts as lost."""

START_SECONDS = 60.0
"""Seconds that a worker may take to start, however short ``wait_seconds`` is."""


@dataclass
class _Run:
    """A task that a worker is at, and the last question how far it is."""

    actor: Any
    submit: Submit
    asked: Any = None
    asked_at: float = field(default_factory=time.monotonic)


class ClusterLostError(Exception):
    """The cluster does not answer, or is another one by now."""


class Pool:
    """Workers on the cluster and their tasks.

    Args:
        ray: The module.
        begin: What to work on.
        send: Tells the campaign's process.

    Raises:
        ClusterError: No machine of the cluster is large enough for a worker.
    """

    def __init__(self, ray: Any, begin: Begin, send: Callable[[Message], None]) -> None:
        self._ray, self._begin, self._send = ray, begin, send
        settings = begin.settings
        self._require_room()
        self._make = ray.remote(num_cpus=settings.threads, num_gpus=settings.gpus, max_concurrency=2)(Worker)
        self._starting: dict[Any, Any] = {}
        self._idle: list[Any] = []
        self._running: dict[Any, _Run] = {}
        self._waiting: deque[Submit] = deque()
        self._lost: Counter[str] = Counter()
        self._failed_starts = 0
        self._none_since, self._said_none, self._had_workers = time.monotonic(), False, False
        for _ in range(settings.workers):
            self._start_worker()

    def add(self, submit: Submit) -> None:
        """Take a task."""
        self._waiting.append(submit)

    def step(self) -> None:
        """Give tasks to workers, and tell what is new.

        Raises:
            ClusterError: No worker can be started, or none has started for too long.
            ClusterLostError: All workers were lost and none starts, as after a quick restart of the head.
        """
        self._watch_start()
        while self._waiting and self._idle:
            actor, submit = self._idle.pop(), self._waiting.popleft()
            self._running[actor.run.remote(submit.key, submit.task, submit.order)] = _Run(actor, submit)
        asked = {run.asked: run for run in self._running.values() if run.asked is not None}
        futures = [*self._starting, *self._running, *asked]
        if not futures:
            time.sleep(STEP)
            return
        ready, _ = self._ray.wait(futures, num_returns=1, timeout=STEP)
        for future in ready:
            if future in self._starting:
                self._started(future)
            elif future in self._running:
                self._ended(future)
            else:
                self._told(future, asked[future])
        self._ask()

    def _require_room(self) -> None:
        """Refuse settings for which Ray would wait for ever."""
        settings = self._begin.settings
        machines = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        if not any(
            machine.get("CPU", 0) >= settings.threads and machine.get("GPU", 0) >= settings.gpus
            for machine in machines
        ):
            raise ClusterError(
                f"no machine of the cluster has the {self._need()} that a worker needs. Lower compute.threads or "
                "compute.gpus, or start Ray on such a machine first."
            )

    def _need(self) -> str:
        settings = self._begin.settings
        cores = count(settings.threads, "CPU core")
        return f"{cores} and {settings.gpus:g} GPU" if settings.gpus else cores

    def _watch_start(self) -> None:
        """Tell that no worker starts, and wait no longer than for a lost cluster."""
        now = time.monotonic()
        if self._idle or self._running:
            self._none_since, self._had_workers = now, True
            return
        waited = now - self._none_since
        if waited >= max(self._begin.settings.wait_seconds, START_SECONDS):
            raise ClusterError(
                f"no worker has started for {waited:.0f} s. Each needs {self._need()}, which others on the cluster "
                "may have: wait for them, or add machines; then run the same command again."
            )
        if waited >= LOST_SECONDS and self._had_workers:
            raise ClusterLostError(f"all workers were lost, and none has started for {waited:.0f} s")
        if waited >= SAY_SECONDS and not self._said_none:
            self._said_none = True
            self._send(Say(f"No worker has started yet; each needs {self._need()} of the cluster"))

    def _replace(self, actor: Any) -> None:
        """Start a worker in place of one that is lost, or that Ray does not reach."""
        with suppress(Exception):
            self._ray.kill(actor)
        self._start_worker()

    def _start_worker(self) -> None:
        actor = self._make.remote(self._begin.artefacts, self._begin.campaign)
        self._starting[actor.items_done.remote()] = actor

    def _started(self, future: Any) -> None:
        actor = self._starting.pop(future)
        try:
            self._ray.get(future)
        except self._ray.exceptions.RayError as exc:
            self._failed_starts += 1
            if self._failed_starts > TRIES:
                raise ClusterError(
                    f"the workers cannot be started: {last_line(exc)}. Install star_al, in the same version as here, "
                    "on all machines of the cluster."
                ) from exc
            self._replace(actor)
            return
        self._failed_starts = 0
        self._idle.append(actor)

    def _ended(self, future: Any) -> None:
        run = self._running.pop(future)
        try:
            outcome = self._ray.get(future)
        except self._ray.exceptions.RayTaskError as exc:
            outcome = StarALError(f"internal error on a worker: {last_line(exc)}")
        except self._ray.exceptions.RayError:  # whatever ended it: a crash, its machine, Ray's memory monitor
            self._replace(run.actor)
            self._try_again(run.submit)
            return
        self._send(Finished(run.submit.key, outcome))
        self._idle.append(run.actor)

    def _try_again(self, submit: Submit) -> None:
        self._lost[submit.key] += 1
        if self._lost[submit.key] < TRIES:
            self._send(Say(f"A worker was lost while it {submit.task.words}; another one takes over"))
            self._waiting.appendleft(submit)
            return
        error = ClusterError(
            f"{TRIES} workers were lost, one after another, while they {submit.task.words}. They may have run out of "
            "memory: lower compute.workers or model.batch_tokens."
        )
        self._send(Finished(submit.key, error))

    def _ask(self) -> None:
        now = time.monotonic()
        for run in self._running.values():
            if run.asked is None and now - run.asked_at >= ASK_EVERY:
                run.asked, run.asked_at = run.actor.items_done.remote(), now

    def _told(self, future: Any, run: _Run) -> None:
        run.asked = None
        try:
            self._send(Read(run.submit.key, self._ray.get(future)))
        except self._ray.exceptions.RayError:
            return  # the end of its task tells


def last_line(exc: BaseException) -> str:
    """The last line of what an error says, where Ray has the cause."""
    lines = [line.strip() for line in str(exc).split("\n") if line.strip()]
    return (lines[-1] if lines else type(exc).__name__).rstrip(".")[:300]
