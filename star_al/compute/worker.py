"""What a worker does: open the model once, run tasks, write their results."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from star_al.artefacts.folder import ArtefactFolder
from star_al.compute.results import ResultFiles
from star_al.compute.tasks import Order, Task
from star_al.errors import ClusterError, ModelError, StarALError
from star_al.ports import Learner


@dataclass(frozen=True)
class Done:
    """A task's end.

    Attributes:
        file: The name of its result.
        truncated: How many items the worker has cut so far.
    """

    file: str
    truncated: int


class Worker:
    """Runs the tasks of one order.

    Args:
        order: The order.
        campaign: Whose results they are.
    """

    def __init__(self, order: Order, campaign: str) -> None:
        self._order = order
        self._artefacts = ArtefactFolder.at(order.artefacts)
        self._results = ResultFiles(self._artefacts, campaign)
        self._adapters: dict[str, Path] = {}
        self._items_done = 0

    def items_done(self) -> int:
        """How many items of the task that runs have been read."""
        return self._items_done

    def run(self, key: str, task: Task) -> Done | StarALError:
        """Run a task unless its result is there; an error for the user is returned, not raised.

        Args:
            key: The task's key.
            task: The task.
        """
        try:
            return Done(self._results.find(key) or self._computed(key, task), self._learner.truncated)
        except StarALError as exc:
            return exc

    def _computed(self, key: str, task: Task) -> str:
        self._items_done = 0
        job = task.job(None if task.artefact is None else self._adapter(task.artefact))
        return self._results.write(key, job.run(self._learner, self._advance))

    def _advance(self, n: int) -> None:
        self._items_done += n

    @cached_property
    def _learner(self) -> Learner:
        if self._artefacts.shared is None and not self._artefacts.root.is_dir():
            raise ClusterError(
                f"{self._artefacts.root}: a worker does not find the artefact folder. Set artefacts to a folder that "
                "all machines of the cluster have at the same path, or to an address such as s3://bucket/folder."
            )
        module, _, name = self._order.opener.partition(":")
        opener: Callable[[Order], Any] = getattr(importlib.import_module(module), name)
        learner: Learner = opener(self._order)
        if learner.base_key != self._order.base_key:
            raise ModelError(
                "a worker reads other weights, another prompt or another dtype than this machine. Use the same model "
                "files and the same version of star_al on all machines of the cluster."
            )
        return learner

    def _adapter(self, sha256: str) -> Path:
        """The adapter's folder, verified once."""
        if sha256 not in self._adapters:
            self._adapters = {sha256: self._artefacts.path_of(sha256)}
        return self._adapters[sha256]
