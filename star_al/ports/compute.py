"""Where models compute: calls of a learner that depend on nothing but their arguments, one after another or at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from star_al.ports.learner import Learner, Pool
from star_al.ports.progress import Advance
from star_al.types import BasePrediction, Float32Array, Item, Predictions

ResultT_co = TypeVar("ResultT_co", covariant=True)
ResultT = TypeVar("ResultT")


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
