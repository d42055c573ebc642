"""The process that speaks with Ray, with a stand-in for Ray: what is a loss, what is an error, what never starts."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from star_al.compute import driver_process, ray_driver
from star_al.compute.driver_process import Begin, DriverProcess, Ended, Finished, Message, Say, Submit
from star_al.compute.ray_pool import ClusterLostError, Pool
from star_al.compute.tasks import Order, Task
from star_al.compute.worker import Done
from star_al.config.spec import RayComputeSpec
from star_al.errors import ClusterError, StarALError


class RayError(Exception):
    pass


class RayTaskError(RayError):
    pass


class OutOfMemoryError(RayError):
    pass


class AuthenticationError(RayError):
    pass


class Ray:
    """Stands for the module: workers start unless ``places`` is 0, and a task ends as ``ends`` says next."""

    exceptions = SimpleNamespace(
        RayError=RayError, RayTaskError=RayTaskError, AuthenticationError=AuthenticationError
    )

    def __init__(self, *ends: Any, places: int = 2, cores: float = 2.0) -> None:
        self._ends, self.places, self._cores = deque(ends), places, cores
        self.started = 0
        self.killed: list[Any] = []

    def remote(self, **needs: Any) -> Callable[[Any], Any]:
        return lambda worker: SimpleNamespace(remote=self._start)

    def _start(self, *arguments: Any) -> Any:
        self.started += 1
        return SimpleNamespace(
            items_done=SimpleNamespace(remote=lambda: ("start", self.started)),
            run=SimpleNamespace(remote=lambda key, *rest: ("run", key)),
        )

    def nodes(self) -> list[dict[str, Any]]:
        return [
            {"Alive": True, "Resources": {"CPU": self._cores}},
            {"Alive": False, "Resources": {"CPU": 99}},
        ]

    def wait(self, futures: list[Any], **how: Any) -> tuple[list[Any], list[Any]]:
        return [future for future in futures if future[0] == "run" or self.places][:1], []

    def get(self, future: Any) -> Any:
        end = self._ends.popleft() if future[0] == "run" else 0
        if isinstance(end, Exception):
            raise end
        return end

    def kill(self, actor: Any) -> None:
        self.killed.append(actor)


def begin(**settings: Any) -> Begin:
    return Begin(RayComputeSpec(kind="ray", workers=1, **settings), "artefacts", "1")


def run_one(ray: Ray) -> list[Message]:
    """What is told of one task."""
    told: list[Message] = []
    pool = Pool(ray, begin(), told.append)
    pool.add(Submit("k", Task("embed", None, (("a", "text", ()),)), Order("m:f", "file", {}, {}, "")))
    for _ in range(20):
        pool.step()
        if told and isinstance(told[-1], Finished):
            return told
    raise AssertionError(told)


def test_a_worker_that_the_memory_monitor_ends_is_replaced_and_its_task_done_again() -> None:
    ray = Ray(OutOfMemoryError("killed"), Done("file", 0))
    lost, finished = run_one(ray)
    assert isinstance(lost, Say) and "A worker was lost" in lost.line
    assert finished == Finished("k", Done("file", 0))
    assert (ray.started, len(ray.killed)) == (2, 1)


def test_an_error_of_the_code_is_no_lost_worker() -> None:
    ray = Ray(RayTaskError("Traceback\nTypeError: no"))
    (finished,) = run_one(ray)
    assert isinstance(finished, Finished) and isinstance(finished.outcome, StarALError)
    assert "TypeError: no" in str(finished.outcome) and ray.started == 1


@pytest.mark.parametrize(
    ("settings", "need"), [({"threads": 3}, "3 CPU cores"), ({"gpus": 1}, "1 CPU core and 1 GPU")]
)
def test_workers_that_no_machine_has_room_for_are_refused_at_once(settings: Any, need: str) -> None:
    with pytest.raises(ClusterError, match=f"no machine of the cluster has the {need} that a worker needs"):
        Pool(Ray(), begin(**settings), lambda message: None)


def test_workers_that_do_not_start_are_told_of_and_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, told = [0.0], list[Message]()
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    pool = Pool(Ray(places=0), begin(wait_seconds=90), told.append)
    for now[0] in (10.0, 40.0, 80.0):
        pool.step()
    assert told == [Say("No worker has started yet; each needs 1 CPU core of the cluster")]
    now[0] = 90.0
    with pytest.raises(ClusterError, match="no worker has started for 90 s"):
        pool.step()


def test_a_cluster_on_which_all_workers_are_lost_and_none_starts_is_connected_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, ray = [0.0], Ray()
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    pool = Pool(ray, begin(wait_seconds=90), lambda message: None)
    pool.step()
    pool.step()
    pool._idle.clear()
    ray.places = 0
    pool._start_worker()
    now[0] = 31.0
    with pytest.raises(ClusterLostError, match="all workers were lost, and none has started for 31 s"):
        pool.step()


def test_a_missing_token_is_named() -> None:
    def init(**how: Any) -> None:
        raise AuthenticationError("no authentication token was found")

    ray = SimpleNamespace(init=init, exceptions=Ray.exceptions)
    with pytest.raises(ClusterError, match="RAY_AUTH_TOKEN"):
        ray_driver.connect(ray, RayComputeSpec(kind="ray", address="10.0.0.5:6379"))


def test_a_wrong_token_is_no_lost_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = (
        "import pickle, sys; from star_al.compute.driver_process import Ended; "
        "print('Unauthenticated: RPC error: InvalidAuthToken: ...', file=sys.stderr, flush=True); "
        "pickle.dump(Ended(reason='Failed to connect'), sys.stdout.buffer)"
    )
    monkeypatch.setattr(driver_process, "PROGRAM", ("-c", program))
    driver = DriverProcess(begin(address="10.0.0.5:6379"))
    message = driver.receive(60)
    driver.end()
    assert isinstance(message, Ended) and "RAY_AUTH_TOKEN" in str(message.error)
