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
from contextlib import suppress
from typing import Any, BinaryIO

from star_al.compute.driver_process import Begin, Ended, Message, Submit, refused
from star_al.compute.ray_pool import ClusterLostError, Pool, last_line
from star_al.config.spec import RayComputeSpec
from star_al.errors import ClusterError, StarALError

HEAD_EVERY = 1.0
"""Seconds between two looks whether the head of the cluster answers."""

HEAD_MISSES = 3
"""Looks in a row that find no head before the cluster counts as lost."""

CONNECT_SECONDS = 60.0
"""Seconds that connecting may take; Ray itself may wait for ever."""

OBJECT_STORE_BYTES = 100_000_000
"""Memory for arguments on a cluster of our own; results are files."""


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
        try:
            ray.init(address="local", include_dashboard=False, **own, **quiet)
        except (
            Exception
        ) as exc:  # Ray has no class of its own for a machine that is too busy to start it in time
            raise ClusterLostError(last_line(exc)) from exc
    else:
        try:
            ray.init(address=settings.address, **quiet)
        except ray.exceptions.AuthenticationError as exc:
            raise refused(settings.address) from exc
        except (ConnectionError, TimeoutError) as exc:
            raise ClusterLostError(last_line(exc)) from exc
        except (RuntimeError, ValueError) as exc:  # such as another version of Ray or Python
            message = f"the Ray cluster at {settings.address} cannot be used: {last_line(exc)}"
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
    try:
        pool = Pool(ray, begin, channel.send)
        _serve(channel, pool)
    except (ray.exceptions.RayError, OSError) as exc:
        raise ClusterLostError(last_line(exc)) from exc
    ray.shutdown()


def _serve(channel: Channel, pool: Pool) -> None:
    while True:
        while not channel.submitted.empty():
            submit = channel.submitted.get()
            if submit is None:
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
        channel.send(
            Ended(StarALError(f"internal error of the process that speaks with Ray: {last_line(exc)}"))
        )
    sys.stderr.flush()
    os._exit(0)  # Ray's own exit waits for a head that may be gone


def _give_up(channel: Channel, reason: str) -> None:
    """End this process, whatever Ray is at."""
    channel.send(Ended(reason=reason))
    os._exit(0)


if __name__ == "__main__":
    main()
