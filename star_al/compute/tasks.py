"""Calls of a learner as plain values, which another process can make."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt

from star_al.common.wording import count
from star_al.ports import Advance, Embed, FitMember, Job, MemberFiles, Predict, PredictBase
from star_al.types import Float32Array, Item, JsonObject


@dataclass(frozen=True)
class Order:
    """What a worker needs to know to open the model.

    It holds no secret: of the campaign's settings, only those that the model depends on.

    Attributes:
        opener: The function that opens it, as ``module:function``; called with the order.
        file: The campaign file, from whose folder the path of a model starts.
        spec: The settings.
        options: What the campaign's earlier rounds recorded of how they read texts.
        model_key: A hash of the model's files and how texts are read, as the campaign's own process has it.
        threads: The threads that it computes with, whatever the environment of a worker says.
    """

    opener: str
    file: str
    spec: JsonObject
    options: JsonObject
    model_key: str
    threads: int = 1

    def key(self) -> str:
        """A hash of all that results depend on besides the tasks; where files lie is no part of it."""
        return _hash([self.spec, self.options, self.model_key])


class Encoder(Protocol):
    """A model that makes vectors of texts, each the same whatever it is read with."""

    def encode(self, texts: Sequence[str], advance: Advance) -> Encoded:
        """Encode texts."""


class Encoded(Protocol):
    """Vectors of texts, and which texts were cut."""

    @property
    def vectors_N_d(self) -> Float32Array:
        """A row for each text."""

    @property
    def cut_N(self) -> npt.NDArray[np.bool_]:
        """True where a part of the text was not read."""


@runtime_checkable
class Divisible(Protocol):
    """A learner that can tell which items it reads together."""

    def divide(self, items: Sequence[Item], n: int, *, adapted: bool) -> list[list[int]]:
        """The positions of up to ``n`` parts, each of which is read alone as it is among all."""


@dataclass(frozen=True)
class Encode:
    """A call of a sentence encoder; the result's last column is 1 where a text was cut."""

    texts: tuple[str, ...]

    @property
    def items(self) -> list[Item]:
        """The texts, with a hash of each as its id."""
        return [
            Item(hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest(), text) for text in self.texts
        ]

    def run(self, learner: Any, advance: Advance) -> Float32Array:
        """See ``Job.run``; the learner is an ``Encoder``."""
        found: Encoded = learner.encode(self.texts, advance)
        return np.column_stack([found.vectors_N_d, found.cut_N.astype(np.float32)])


class RunsCampaigns(Protocol):
    """What a worker has in place of a model when it runs campaigns as a whole."""

    def run_campaign(self, settings: JsonObject, advance: Advance) -> MemberFiles:
        """Run a campaign to its end, and say by files how it ended."""


@dataclass(frozen=True)
class RunCampaign:
    """Run a campaign as a whole, whose rounds go to its database.

    Attributes:
        name: The campaign.
        settings: Its settings.
        attempt: Differs from call to call: what a campaign does next depends on what its database holds by then.
    """

    name: str
    settings: JsonObject
    attempt: str

    @property
    def items(self) -> list[Item]:
        """None: the campaign finds its own."""
        return []

    def run(self, learner: Any, advance: Advance) -> MemberFiles:
        """See ``Job.run``; the learner is one that ``RunsCampaigns``."""
        runs: RunsCampaigns = learner
        return runs.run_campaign(self.settings, advance)


@dataclass(frozen=True)
class Task:
    """One call.

    Attributes:
        name: What is called: ``predict``, ``base_predict``, ``embed`` or ``encode``.
        artefact: Content hash of the adapter; None for the base model.
        items: Id, text and options of each item.
        draws: First and last + 1 of the samples; None for the posterior's mean or mode.
        seed: Seed of the samples.
        tolerance: As ``Learner.predict`` has it.
    """

    name: str
    artefact: str | None
    items: tuple[tuple[str, str, tuple[str, ...]], ...]
    draws: tuple[int, int] | None = None
    seed: int = 0
    tolerance: float = 0.0

    @property
    def words(self) -> str:
        """What a worker did that had it."""
        return f"read {count(len(self.items), 'text')}"

    def key(self, order: str) -> str:
        """A hash of all that the result depends on.

        Args:
            order: The order's key.
        """
        # An item's id is a hash of its text and options.
        inputs = {**asdict(self), "items": [item_id for item_id, _, _ in self.items]}
        return _hash([order, inputs])

    def job(self, folder: Path | None) -> Job[Any]:
        """The call.

        Args:
            folder: The folder of the adapter; None for the base model.
        """
        items = [Item(item_id, text, options) for item_id, text, options in self.items]
        if self.name == "predict":
            draws = None if self.draws is None else range(*self.draws)
            return Predict(folder, items, draws, self.seed, self.tolerance)
        if self.name == "encode":
            return Encode(tuple(item.text for item in items))
        return PredictBase(items) if self.name == "base_predict" else Embed(folder, items)

    def of(self, positions: Sequence[int]) -> Task:
        """The same call about some of its items."""
        return replace(self, items=tuple(self.items[position] for position in positions))

    def split(self, parts: int) -> list[Task]:
        """The same call in up to ``parts`` calls with some of its samples each; one if it has none."""
        if parts == 1 or self.draws is None or self.draws[0] == self.draws[1]:
            return [self]
        first, end = self.draws
        bounds = [first + (end - first) * part // parts for part in range(parts + 1)]
        return [replace(self, draws=pair) for pair in pairwise(bounds) if pair[0] < pair[1]]


@dataclass(frozen=True)
class TrainingTask:
    """A call of ``FitMember``, which no part of can be made alone.

    Attributes:
        call: The call, without the folder.
        artefact: Content hash of the ensemble that it starts from; None without one.
    """

    call: FitMember
    artefact: str | None

    @property
    def items(self) -> Sequence[Item]:
        """The items that people labelled."""
        return self.call.items

    @property
    def words(self) -> str:
        """See ``Task.words``."""
        return f"trained on {count(len(self.call.examples), 'text')}"

    def key(self, order: str) -> str:
        """See ``Task.key``."""
        call, taught = self.call, self.call.taught
        arrays: list[npt.NDArray[Any]] = [] if call.classifier is None else [*call.classifier[:2]]
        lessons: list[object] = []
        if taught is not None:
            arrays.append(taught.probs_M_C)
            lessons = [[item.item_id for item in taught.items], taught.weight]
        reads_text = call.classifier is not None and call.classifier[2]
        answers = [[item.item_id, value] for item, value in call.examples]
        numbers = [hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest() for array in arrays]
        made_of = ["member", call.member, call.seed, self.artefact, answers, lessons, reads_text, numbers]
        return _hash([order, made_of])

    def job(self, folder: Path | None) -> Job[Any]:
        """See ``Task.job``."""
        return replace(self.call, folder=folder)


@dataclass(frozen=True)
class CampaignTask:
    """A call of ``RunCampaign``."""

    call: RunCampaign
    artefact: None = None

    @property
    def items(self) -> Sequence[Item]:
        """See ``RunCampaign.items``."""
        return self.call.items

    @property
    def words(self) -> str:
        """See ``Task.words``."""
        return f"ran {self.call.name}"

    def key(self, order: str) -> str:
        """See ``Task.key``."""
        return _hash([order, "campaign", self.call.attempt, self.call.settings])

    def job(self, folder: Path | None) -> Job[Any]:
        """See ``Task.job``."""
        return self.call


AnyTask: TypeAlias = Task | TrainingTask | CampaignTask


def task_of(job: Job[Any], artefact: str | None) -> AnyTask | None:
    """A job as a task; None for one that only this process can do.

    Args:
        job: The job.
        artefact: Content hash of its adapter; None if it has none.
    """
    if isinstance(job, Predict):
        draws = None if job.draws is None else (job.draws.start, job.draws.stop)
        return Task("predict", artefact, _plain(job.items), draws, job.seed, job.tolerance)
    if isinstance(job, PredictBase) and job.pool is None:
        return Task("base_predict", None, _plain(job.items))
    if isinstance(job, FitMember):
        return TrainingTask(_sendable(job), artefact)
    if isinstance(job, RunCampaign):
        return CampaignTask(job)
    if isinstance(job, Encode):
        return Task("encode", None, _plain(job.items))
    return Task("embed", artefact, _plain(job.items)) if isinstance(job, Embed) else None


def _sendable(job: FitMember) -> FitMember:
    """The call without what lies in this process alone: items that a database loads, and the folder."""
    taught = None if job.taught is None else replace(job.taught, items=list(job.taught.items))
    return replace(job, examples=list(job.examples), folder=None, taught=taught)


def _plain(items: Sequence[Item]) -> tuple[tuple[str, str, tuple[str, ...]], ...]:
    return tuple((item.item_id, item.text, item.options) for item in items)


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]
