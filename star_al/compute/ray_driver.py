"""Speak with Ray for a campaign; run as a program of its own by ``driver_process``.

It reads a ``Begin`` and then tasks from standard input, and writes messages to standard output. When its input
closes, it ends its workers, and the cluster if it has started one.
"""

from __future__ import annotations

import os
import pickle
import queue
import secrets
import signal
import socket
import sys
import threading
import time
from collections import Counter, deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from star_al.common.wording import count
from star_al.compute.driver_process import Begin, Ended, Finished, Message, Read, Say, Submit
from star_al.compute.worker import Worker
from star_al.config.spec import RayComputeSpec
from star_al.errors import ClusterError, StarALError

STEP = 0.2
"""Seconds between two looks at what is new."""

ASK_EVERY = 1.0
"""Seconds between two questions to a worker how far it is."""

HEAD_EVERY = 1.0
"""Seconds between two looks whether the head of the cluster answers."""

HEAD_MISSES = 3
"""Looks in a row that find no head before the cluster counts as lost."""

CONNECT_SECONDS = 60.0
"""Seconds that connecting may take; Ray itself may wait for ever."""

TRIES = 3
"""Workers that a task may lose before it counts as what ended them."""

OBJECT_STORE_BYTES = 100_000_000
"""Memory for arguments on a cluster of our own; results are files."""


class ClusterLostError(Exception):
    """The head of the cluster does not answer."""


class Channel:
    """The way to the campaign's process."""

    def __init__(self, source: BinaryIO, target: BinaryIO) -> None:
        self._source, self._target, self._lock = source, target, threading.Lock()
        self.submitted: queue.SimpleQueue[Submit | None] = queue.SimpleQueue()

    def begin(self) -> Begin:
        """Read the first message, and from then on tasks; None is the end."""
        begin: Begin = pickle.load(self._source)
        threading.Thread(target=self._read, name="tasks", daemon=True).start()
        return begin

    def send(self, message: Message) -> None:
        """Write a message; if nobody reads it, this process is about to end."""
        with self._lock, suppress(OSError):
            pickle.dump(message, self._target)
            self._target.flush()

    def _read(self) -> None:
        try:
            while True:
                self.submitted.put(pickle.load(self._source))
        except (EOFError, OSError, pickle.UnpicklingError):
            self.submitted.put(None)


@dataclass
class _Run:
    """A task that a worker is at, and the last question how far it is."""

    actor: Any
    submit: Submit
    asked: Any = None
    asked_at: float = field(default_factory=time.monotonic)


class Pool:
    """Workers on the cluster and their tasks.

    Args:
        ray: The module.
        begin: What to work on.
        channel: Where messages go.
    """

    def __init__(self, ray: Any, begin: Begin, channel: Channel) -> None:
        self._ray, self._begin, self._channel = ray, begin, channel
        settings = begin.settings
        self._make = ray.remote(num_cpus=settings.threads, num_gpus=settings.gpus, max_concurrency=2)(Worker)
        self._starting: dict[Any, Any] = {}
        self._idle: list[Any] = []
        self._running: dict[Any, _Run] = {}
        self._waiting: deque[Submit] = deque()
        self._lost: Counter[str] = Counter()
        self._failed_starts = 0
        for _ in range(settings.workers):
            self._start_worker()

    def add(self, submit: Submit) -> None:
        """Take a task."""
        self._waiting.append(submit)

    def step(self) -> None:
        """Give tasks to workers, and tell what is new.

        Raises:
            ClusterError: No worker can be started.
        """
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
                    f"the workers cannot be started: {_last_line(exc)}. Install star_al, in the same version as here, "
                    "on all machines of the cluster."
                ) from exc
            self._start_worker()
            return
        self._failed_starts = 0
        self._idle.append(actor)

    def _ended(self, future: Any) -> None:
        run = self._running.pop(future)
        try:
            outcome = self._ray.get(future)
        except self._ray.exceptions.RayActorError:
            self._start_worker()
            self._try_again(run.submit)
            return
        except self._ray.exceptions.RayError as exc:
            outcome = StarALError(f"internal error on a worker: {_last_line(exc)}")
        self._channel.send(Finished(run.submit.key, outcome))
        self._idle.append(run.actor)

    def _try_again(self, submit: Submit) -> None:
        self._lost[submit.key] += 1
        texts = count(len(submit.task.items), "text")
        if self._lost[submit.key] < TRIES:
            self._channel.send(Say(f"A worker was lost while it read {texts}; another one reads them"))
            self._waiting.appendleft(submit)
            return
        error = ClusterError(
            f"{TRIES} workers were lost while they read the same {texts}. They may have run out of memory: lower "
            "compute.workers or model.batch_tokens."
        )
        self._channel.send(Finished(submit.key, error))

    def _ask(self) -> None:
        now = time.monotonic()
        for run in self._running.values():
            if run.asked is None and now - run.asked_at >= ASK_EVERY:
                run.asked, run.asked_at = run.actor.items_done.remote(), now

    def _told(self, future: Any, run: _Run) -> None:
        run.asked = None
        try:
            self._channel.send(Read(run.submit.key, self._ray.get(future)))
        except self._ray.exceptions.RayError:
            return  # the end of its task tells


class Head:
    """The head of the cluster."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._place = host.strip("[]"), int(port)

    def watch(self, channel: Channel) -> None:
        """End this process when the head is lost: calls of Ray would wait for it, and Ray ends the process at last."""
        threading.Thread(target=self._watch, args=(channel,), name="head", daemon=True).start()

    def _watch(self, channel: Channel) -> None:
        misses = 0
        while misses < HEAD_MISSES:
            time.sleep(HEAD_EVERY)
            misses = 0 if self.answers() else misses + 1
        _give_up(channel, f"nobody listens at {self._place[0]}:{self._place[1]}")

    def answers(self) -> bool:
        """Look whether somebody listens."""
        try:
            socket.create_connection(self._place, timeout=HEAD_EVERY).close()
        except OSError:
            return False
        return True


def set_environment(settings: RayComputeSpec) -> None:
    """Set what Ray reads of the environment when it is imported."""
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    if settings.address is None:
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    if settings.address is None or _listens_here_alone(settings.address):
        # Ray's way to say that all servers have the address 127.0.0.1; it takes a loopback address for that of the
        # machine's network otherwise.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"


def _listens_here_alone(address: str) -> bool:
    """Return whether a head listens on a loopback address, and not on this machine's own."""
    host, _, port = address.rpartition(":")
    if host not in ("127.0.0.1", "localhost", "[::1]"):
        return False
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("8.8.8.8", 53))  # sends nothing, but chooses the network
        except OSError:
            return True
        return not Head(f"{probe.getsockname()[0]}:{port}").answers()


def connect(ray: Any, settings: RayComputeSpec) -> str:
    """Connect with the cluster, or start one on this machine that no other can reach; return the head's address.

    Raises:
        ClusterLostError: It does not answer.
        ClusterError: It cannot be used.
    """
    quiet = {"log_to_driver": False, "configure_logging": False}
    if settings.address is None:
        own = {"num_cpus": settings.threads * settings.workers, "object_store_memory": OBJECT_STORE_BYTES}
        ray.init(address="local", include_dashboard=False, **own, **quiet)
    else:
        try:
            ray.init(address=settings.address, **quiet)
        except (ConnectionError, TimeoutError) as exc:
            raise ClusterLostError(_last_line(exc)) from exc
        except (RuntimeError, ValueError) as exc:  # such as another version of Ray or Python
            message = f"the Ray cluster at {settings.address} cannot be used: {_last_line(exc)}"
            raise ClusterError(message) from exc
    return str(ray.get_runtime_context().gcs_address)


def work(channel: Channel, begin: Begin) -> None:
    """Run the tasks that come, until no more can come.

    Raises:
        ClusterLostError: The cluster does not answer.
        ClusterError: It cannot be used.
    """
    address = begin.settings.address
    if address is not None and not Head(address).answers():
        raise ClusterLostError(f"nobody listens at {address}")
    set_environment(begin.settings)
    import ray

    slow = threading.Timer(
        CONNECT_SECONDS, _give_up, [channel, f"it took more than {CONNECT_SECONDS:.0f} s to connect"]
    )
    slow.daemon = True
    slow.start()
    head = Head(connect(ray, begin.settings))
    slow.cancel()
    head.watch(channel)
    pool = Pool(ray, begin, channel)
    while True:
        while not channel.submitted.empty():
            submit = channel.submitted.get()
            if submit is None:
                ray.shutdown()
                return
            pool.add(submit)
        pool.step()


def main() -> None:
    """Serve the campaign's process that has started this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    channel = Channel(sys.stdin.buffer, os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)  # what libraries print is no message
    begin = channel.begin()
    try:
        work(channel, begin)
    except ClusterLostError as exc:
        channel.send(Ended(reason=str(exc)))
    except StarALError as exc:
        channel.send(Ended(exc))
    except Exception as exc:
        channel.send(Ended(reason=_last_line(exc)))
    sys.stderr.flush()
    os._exit(0)  # Ray's own exit waits for a head that may be gone


def _give_up(channel: Channel, reason: str) -> None:
    """End this process, whatever Ray is at."""
    channel.send(Ended(reason=reason))
    os._exit(0)


def _last_line(exc: BaseException) -> str:
    lines = [line.strip() for line in str(exc).split("\n") if line.strip()]
    return (lines[-1] if lines else type(exc).__name__).rstrip(".")[:300]


if __name__ == "__main__":
    main()
