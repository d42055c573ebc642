"""Implement ``Compute`` on a Ray cluster: tasks go out ahead, their results come back as files, in order."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from types import TracebackType
from typing import Any, cast

from star_al.artefacts.folder import ArtefactFolder
from star_al.compute.driver_process import Begin, DriverProcess, Ended, Finished, Read, Say, Submit
from star_al.compute.results import ResultFiles, joined
from star_al.compute.tasks import AnyTask, Divisible, Order, Task, task_of
from star_al.config.spec import RayComputeSpec
from star_al.errors import ClusterError, StarALError
from star_al.ports import HERE, Advance, FitMember, Job, Progress, ignore
from star_al.ports.compute import ResultT

AHEAD = 2
"""Tasks for each worker that are under way: one that it is at, and one that waits for it."""

PAUSE = 3.0
"""Seconds before a cluster that does not answer is tried again."""

REREADS = 3
"""Times that a task is run whose result cannot be read."""

LISTEN = 0.5
"""Seconds between two calls of ``check`` while results are waited for."""


class RayCompute:
    """Implements ``Compute``; as a context manager, ends the workers.

    Args:
        settings: The cluster.
        models: The models whose calls go to workers, and what says what a worker needs to open each; that is called
            when the first task goes out, since it loads the model. Calls of others are made in this process.
        artefacts: The campaign's artefacts.
        campaign: The campaign, by whose name results are kept until they are used.
        progress: Where the user is told what happens.
        splits: True if a call's items and samples may be read by different workers: what is predicted of an item by
            a sample depends on nothing else.
        check: Called while results are waited for; raises if the campaign must stop.
    """

    def __init__(
        self,
        settings: RayComputeSpec,
        models: Sequence[tuple[object, Callable[[], Order]]],
        artefacts: ArtefactFolder,
        campaign: str,
        progress: Progress,
        *,
        splits: bool,
        check: Callable[[], None],
    ) -> None:
        self._settings, self._models = settings, models
        self._artefacts, self._campaign, self._progress = artefacts, campaign, progress
        self._results = ResultFiles(artefacts, campaign)
        self._splits, self._check = splits, check
        self._orders: dict[int, Order] = {}
        self._driver: DriverProcess | None = None
        self._under_way: dict[str, _Part] = {}
        self._lost_since: float | None = None
        self.truncated = 0

    def __enter__(self) -> RayCompute:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end_driver()

    @property
    def room(self) -> int:
        """How many tasks are under way at once."""
        return AHEAD * self._settings.workers

    def begin(self, learner: Any, job: Job[object]) -> None:
        """See ``Compute.begin``."""
        if any(model is learner for model, _ in self._models):
            self._begin(_Call(learner, job, ignore), 1)

    def each(self, learner: Any, jobs: Iterable[Job[ResultT]], advance: Advance) -> Iterator[ResultT]:
        """See ``Compute.each``; the learner may be any of the models."""
        if all(model is not learner for model, _ in self._models):
            yield from HERE.each(learner, jobs, advance)
            return
        calls = deque[_Call]()
        try:
            yield from self._results_of(learner, iter(jobs), calls, advance)
        finally:
            for call in calls:  # nobody waits for them any more
                for part in call.parts:
                    self._under_way.pop(part.key, None)

    def _results_of(
        self, learner: Any, jobs: Iterator[Job[ResultT]], calls: deque[_Call], advance: Advance
    ) -> Iterator[ResultT]:
        while True:
            new = list(islice(jobs, self.room - len(calls)))
            # Few calls are divided, so that all workers have something to do.
            parts = -(-self.room // len(new)) if new and not calls else 1
            for job in new:
                calls.append(_Call(learner, job, advance))
                self._begin(calls[-1], parts)
            if not calls:
                return
            yield cast(ResultT, self._result(calls[0]))
            for part in calls.popleft().parts:  # what was made of it is kept by now
                if part.file is not None:
                    self._results.remove(part.file)

    def _begin(self, call: _Call, parts: int) -> None:
        """Send a call's tasks to the workers, but those whose result there is already."""
        job = call.job
        folder = getattr(job, "folder", None)
        artefact = None if folder is None else self._artefacts.sha256_of(folder)
        task = None if folder is not None and artefact is None else task_of(job, artefact)
        if task is None:
            return
        order = self._order_of(call.learner)
        whole = task.key(order.key())
        begun = whole in self._under_way or self._results.find(whole) is not None
        for each in [task] if begun else self._divided(call, task, parts):
            key = each.key(order.key())
            part = _Part(call, Submit(key, each, order), file=self._results.find(key))
            call.parts.append(part)
            if part.key in self._under_way:  # has been begun; from now on it is this call's
                self._under_way[part.key] = part
            elif part.file is None:
                self._submit(part)

    def _divided(self, call: _Call, task: AnyTask, parts: int) -> Sequence[AnyTask]:
        """The call in up to ``parts`` tasks: by its items if the learner can tell how, else by its samples."""
        if parts == 1 or not self._splits or not isinstance(task, Task):
            return [task]
        if isinstance(call.learner, Divisible):
            groups = call.learner.divide(call.job.items, parts, adapted=task.artefact is not None)
            if len(groups) > 1:
                call.groups = groups
                return [task.of(group) for group in groups]
        return task.split(parts)

    def _order_of(self, learner: Any) -> Order:
        if id(learner) not in self._orders:
            self._orders[id(learner)] = next(order() for model, order in self._models if model is learner)
        return self._orders[id(learner)]

    def _submit(self, part: _Part) -> None:
        self._under_way[part.key] = part
        self._running_driver().submit(part.submit)

    def _result(self, call: _Call) -> Any:
        """A call's result: that of its tasks, or made here if it is no task."""
        if not call.parts:
            return call.run()
        found = joined([self._read(part) for part in call.parts], call.groups)
        call.finish()
        return found

    def _read(self, part: _Part) -> Any:
        """Wait for a task, and read its result."""
        for _ in range(REREADS):
            while part.file is None:
                if part.key in self._under_way:
                    self._receive()
                elif (found := self._results.find(part.key)) is not None:  # of an equal task
                    part.file = found
                else:
                    self._submit(part)
            result = self._results.read(part.file)
            if result is not None:
                return result
            part.file = None
            self._submit(part)
        raise ClusterError(
            f"{self._results.folder}: what the workers write does not arrive here. Set artefacts to a folder that all "
            "machines of the cluster have at the same path, or to an address such as s3://bucket/folder."
        )

    def _receive(self) -> None:
        """Take in one message of the driver."""
        self._check()
        message = self._running_driver().receive(LISTEN)
        if isinstance(message, Say | Read | Finished):  # only a driver that is connected sends them
            self._lost_since = None
        match message:
            case Say(line):
                self._progress.say(line)
            case Read(key, items) if key in self._under_way:
                self._under_way[key].tell(items)
            case Finished(key, outcome):
                self._finished(key, outcome)
            case Ended(error, reason):
                self._lost(error, reason)

    def _finished(self, key: str, outcome: Any) -> None:
        part = self._under_way.pop(key, None)
        if part is None:
            return
        if isinstance(outcome, StarALError):
            raise outcome
        self.truncated = max(self.truncated, outcome.truncated)
        part.tell(len(part.submit.task.items))
        part.file = outcome.file

    def _lost(self, error: StarALError | None, reason: str) -> None:
        """Connect with the cluster again, and send what has no result.

        Raises:
            ClusterError: It has been lost for too long, or cannot be used.
        """
        self._end_driver()
        if error is not None:
            raise error
        cluster = f"the Ray cluster at {self._settings.address}" if self._settings.address else "Ray"
        now, wait = time.monotonic(), self._settings.wait_seconds
        if self._lost_since is None:
            self._lost_since = now
            self._progress.say(f"{cluster[:1].upper()}{cluster[1:]} does not answer ({reason}); trying again")
        if now - self._lost_since >= wait:
            raise ClusterError(
                f"{cluster} has not answered for {wait:.0f} s ({reason}). Start it again, or set compute.kind: local; "
                "then run the same command again: what was computed is kept."
            )
        until = min(now + PAUSE, self._lost_since + wait)
        while time.monotonic() < until:
            self._check()
            time.sleep(0.2)
        for part in self._under_way.values():
            self._running_driver().submit(part.submit)

    def _running_driver(self) -> DriverProcess:
        if self._driver is None:
            self._driver = DriverProcess(Begin(self._settings, self._artefacts.place, self._campaign))
        return self._driver

    def _end_driver(self) -> None:
        if self._driver is not None:
            self._driver.end()
            self._driver = None


class _Call:
    """A job and its tasks; none if this process does it."""

    def __init__(self, learner: Any, job: Job[Any], advance: Advance) -> None:
        self.learner, self.job, self.parts = learner, job, list[_Part]()
        self.groups: list[list[int]] | None = None
        self._advance, self._told = advance, 0

    def run(self) -> Any:
        """Make the call in this process."""
        return self.job.run(self.learner, self._advance)

    def tell(self) -> None:
        """Count the items that all samples have read, as far as the tasks tell."""
        shared = 1 if self.groups is not None else max(1, len(self.parts))
        self._tell(sum(part.items for part in self.parts) // shared)

    def finish(self) -> None:
        """Count all items, or steps of training."""
        self._tell(self.job.steps if isinstance(self.job, FitMember) else len(self.job.items))

    def _tell(self, items: int) -> None:
        if items > self._told:
            self._advance(items - self._told)
            self._told = items


@dataclass
class _Part:
    """A task of a call, how many items it has read, and the name of its result."""

    call: _Call
    submit: Submit
    file: str | None
    items: int = 0

    @property
    def key(self) -> str:
        """The task's key."""
        return self.submit.key

    def tell(self, items: int) -> None:
        """Note how many items have been read; a task that is run again begins at 0."""
        self.items = items
        self.call.tell()
