"""Where models compute: calls of a learner that depend on nothing but their arguments, one after another or at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol, TypeAlias, TypeVar

from star_al.ports.learner import Learner, Pool, Taught
from star_al.ports.progress import Advance
from star_al.types import BasePrediction, Float32Array, Item, JsonValue, Predictions

ResultT_co = TypeVar("ResultT_co", covariant=True)
ResultT = TypeVar("ResultT")

MemberFiles: TypeAlias = dict[str, bytes]
"""The files of an ensemble's member by name."""


class Job(Protocol[ResultT_co]):
    """A call of a learner."""

    @property
    def items(self) -> Sequence[Item]:
        """The items that it is about."""

    def run(self, learner: Learner, advance: Advance) -> ResultT_co:
        """Make the call."""


@dataclass(frozen=True)
class Predict:
    """``Learner.predict``."""

    folder: Path | None
    items: Sequence[Item]
    draws: range | None
    seed: int
    tolerance: float = 0.0

    def run(self, learner: Learner, advance: Advance) -> Predictions:
        """See ``Job.run``."""
        return learner.predict(
            self.folder,
            self.items,
            draws=self.draws,
            seed=self.seed,
            advance=advance,
            tolerance=self.tolerance,
        )


@dataclass(frozen=True)
class PredictBase:
    """``Learner.base_predict``."""

    items: Sequence[Item]
    pool: Pool | None = None

    def run(self, learner: Learner, advance: Advance) -> list[BasePrediction]:
        """See ``Job.run``."""
        return learner.base_predict(self.items, advance, self.pool)


@dataclass(frozen=True)
class Embed:
    """``Learner.embed``."""

    folder: Path | None
    items: Sequence[Item]

    def run(self, learner: Learner, advance: Advance) -> Float32Array:
        """See ``Job.run``."""
        return learner.embed(self.folder, self.items, advance)


class TrainsMembers(Protocol):
    """A learner whose posterior may be an ensemble."""

    def fit_member(self, job: FitMember, folder: Path, advance: Advance) -> None:
        """Train one member, and write its files into an empty folder."""


@dataclass(frozen=True)
class FitMember:
    """``TrainsMembers.fit_member``.

    Attributes:
        member: The member's number.
        examples: (item, label value) pairs.
        seed: That of the whole ensemble.
        folder: The ensemble to start from (warm start); ``None`` for none.
        steps: How many optimiser steps it takes, at most.
        taught: As ``Learner.fit`` has it.
        classifier: What is read in place of the labels' words, if there is one: W, b, and whether it reads the text.
    """

    member: int
    examples: Sequence[tuple[Item, JsonValue]]
    seed: int
    folder: Path | None
    steps: int
    taught: Taught | None = None
    classifier: tuple[Float32Array, Float32Array, bool] | None = None

    @property
    def items(self) -> Sequence[Item]:
        """See ``Job.items``."""
        return [item for item, _ in self.examples]

    def run(self, learner: Any, advance: Advance) -> MemberFiles:
        """See ``Job.run``; the learner is one that ``TrainsMembers``."""
        trains: TrainsMembers = learner
        with TemporaryDirectory() as name:
            trains.fit_member(self, Path(name), advance)
            return {path.name: path.read_bytes() for path in sorted(Path(name).iterdir())}


class Compute(Protocol):
    """Runs jobs: in this process, or on the workers of a cluster."""

    @property
    def truncated(self) -> int:
        """How many different items some other process cut to fit its model, as far as one process can tell."""

    @property
    def room(self) -> int:
        """How many jobs it works on at once besides the one whose result is asked for."""

    def begin(self, learner: Learner, job: Job[object]) -> None:
        """Let workers begin a job, whose result will be asked for by ``each``; this process begins nothing."""

    def each(self, learner: Learner, jobs: Iterable[Job[ResultT]], advance: Advance) -> Iterator[ResultT]:
        """Run jobs, and yield their results in the order of the jobs.

        A result may be computed before it is asked for, and jobs are taken from ``jobs`` as there is room for them.

        Args:
            learner: The learner to call.
            jobs: The calls.
            advance: Counts items.

        Raises:
            StarALError: As the learner does; or the workers cannot be reached.
        """


class Here:
    """Implements ``Compute`` in this process: a job runs when its result is asked for."""

    truncated = 0
    room = 0

    def begin(self, learner: Learner, job: Job[object]) -> None:
        """See ``Compute.begin``."""

    def each(self, learner: Learner, jobs: Iterable[Job[ResultT]], advance: Advance) -> Iterator[ResultT]:
        """See ``Compute.each``."""
        for job in jobs:
            yield job.run(learner, advance)


HERE = Here()
"""This process."""
