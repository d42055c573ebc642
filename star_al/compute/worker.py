"""What a worker does: open the model once, run tasks, write their results."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from star_al.artefacts.folder import ArtefactFolder
from star_al.compute.results import ResultFiles
from star_al.compute.tasks import AnyTask, Order
from star_al.errors import ClusterError, ModelError, StarALError


@dataclass(frozen=True)
class Done:
    """A task's end.

    Attributes:
        file: The name of its result.
        truncated: How many items the worker has cut so far.
    """

    file: str
    truncated: int


@dataclass(frozen=True)
class Opened:
    """A model that a worker has opened, and the hash that the order has it by."""

    model: Any
    key: str


class Worker:
    """Runs tasks; a model that was opened for one stays open.

    Args:
        artefacts: The artefact folder or its address.
        campaign: Whose results they are.
    """

    def __init__(self, artefacts: str, campaign: str) -> None:
        self._artefacts = ArtefactFolder.at(artefacts)
        self._results = ResultFiles(self._artefacts, campaign)
        self._is_clean = self._artefacts.shared is None  # only a cache of its own is the worker's to clean
        self._models: dict[str, Any] = {}
        self._adapters: dict[str, Path] = {}
        self._items_done = 0

    def items_done(self) -> int:
        """How many items of the task that runs have been read."""
        return self._items_done

    def run(self, key: str, task: AnyTask, order: Order) -> Done | StarALError:
        """Run a task unless its result is there; an error for the user is returned, not raised.

        Args:
            key: The task's key.
            task: The task.
            order: Says what model runs it.
        """
        try:
            self._clean()
            found = self._results.find(key)
            model = None if found else self._model(order)
            return Done(found or self._computed(key, task, model), getattr(model, "truncated", 0))
        except StarALError as exc:
            return exc

    def _clean(self) -> None:
        """Remove what is not needed any more on this machine, once."""
        if not self._is_clean:
            self._artefacts.prepare()
            self._artefacts.remove_unused_copies()
            self._is_clean = True

    def _computed(self, key: str, task: AnyTask, model: Any) -> str:
        self._items_done = 0
        job = task.job(None if task.artefact is None else self._adapter(task.artefact))
        return self._results.write(key, job.run(model, self._advance))

    def _advance(self, n: int) -> None:
        self._items_done += n

    def _model(self, order: Order) -> Any:
        """The model of an order.

        Raises:
            ClusterError: This machine does not find the artefact folder.
            ModelError: It cannot be opened, or is another one than that of the campaign's own process.
        """
        if (key := order.key()) in self._models:
            return self._models[key]
        if self._artefacts.shared is None and not self._artefacts.root.is_dir():
            raise ClusterError(
                f"{self._artefacts.root}: a worker does not find the artefact folder. Set artefacts to a folder that "
                "all machines of the cluster have at the same path, or to an address such as s3://bucket/folder."
            )
        module, _, name = order.opener.partition(":")
        opener: Callable[[Order], Opened] = getattr(importlib.import_module(module), name)
        opened = opener(order)
        if opened.key != order.model_key:
            raise ModelError(
                "a worker reads other weights, another prompt or another dtype than this machine. Use the same model "
                "files and the same version of star_al on all machines of the cluster."
            )
        self._models[key] = opened.model
        return opened.model

    def _adapter(self, sha256: str) -> Path:
        """The adapter's folder, verified once."""
        folder = self._adapters.get(sha256)
        if folder is None or not folder.is_dir():
            folder = self._artefacts.path_of(sha256)
            self._adapters = {sha256: folder}
        if self._artefacts.shared is not None:
            with suppress(OSError):
                os.utime(folder)  # else other workers may remove it as unused
        return folder
