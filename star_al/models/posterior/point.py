"""The adapter as trained (``kind: map``): a posterior of a single function, from which other methods start."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from star_al.config.spec import AdapterSpec
from star_al.models.adapter_file import LoraWeights, load_adapter, save_adapter
from star_al.models.backbone import Backbone
from star_al.models.posterior import Factors, Posterior, Score, Training
from star_al.models.posterior.merging import merged
from star_al.models.quiet import quiet
from star_al.models.train import step_count, train
from star_al.models.training_loss import TrainingExtension
from star_al.types import JsonObject


def fit_point(training: Training, folder: Path, extension: TrainingExtension | None = None) -> None:
    """Train one adapter and write it into ``folder``.

    Args:
        training: What to train on, and how.
        folder: An empty folder.
        extension: What the method adds to ordinary training.

    Raises:
        ModelError: Training failed.
        StoreError: The folder cannot be written.
    """
    parent = None if training.parent is None else load_adapter(training.parent)
    fit = partial(train, training.backbone) if training.processes is None else training.processes.train
    with quiet():
        tensors, config = fit(
            training.examples,
            training.adapter,
            seed=training.seed,
            parent=parent,
            advance=training.advance,
            trunk=training.trunk,
            extension=extension,
            taught=training.taught,
            writes=training.writes,
        )
    save_adapter(folder, tensors, config, base=training.base, dropout=training.adapter.dropout)


class PostHoc(ABC):
    """A method that starts from an ordinary adapter; implements ``Method``."""

    def steps(self, n_examples: int, adapter: AdapterSpec, n_taught: int = 0) -> int:
        """See ``Method.steps``."""
        return step_count(n_examples, adapter, n_taught) + self.refining_steps(n_examples, adapter)

    def refining_steps(self, n_examples: int, adapter: AdapterSpec) -> int:
        """Return how many minibatches ``refine`` sends through the model, at most."""
        return 0

    def fit(self, training: Training, folder: Path) -> JsonObject:
        """See ``Method.fit``."""
        fit_point(training, folder)
        return self.refine(training, folder)

    def quick(self) -> PostHoc:
        """See ``Method.quick``."""
        return self

    @abstractmethod
    def refine(self, training: Training, folder: Path) -> JsonObject:
        """Do the second half of ``fit``: ``folder`` holds an adapter that was trained on the same examples."""

    @abstractmethod
    def load(self, folder: Path, record: JsonObject) -> Posterior:
        """See ``Method.load``."""


class Map(PostHoc):
    """The maximum a posteriori estimate: nothing is refined."""

    def refine(self, training: Training, folder: Path) -> JsonObject:
        """See ``PostHoc.refine``."""
        return {}

    def load(self, folder: Path, record: JsonObject) -> Point:
        """See ``Method.load``."""
        return Point(load_adapter(folder))


@dataclass(frozen=True)
class Point:
    """One adapter; every sample is the same."""

    weights: LoraWeights
    shares_prefix: bool = True

    @contextmanager
    def draw(self, backbone: Backbone, score: Score, seed: int, sample: int | None) -> Iterator[Score]:
        """See ``Posterior.draw``."""
        with merged(backbone.model, self.layers, self.factors(seed, sample)):
            yield score

    @property
    def layers(self) -> Collection[str]:
        """See ``LowRankPosterior``."""
        return self.weights.a.keys()

    def factors(self, seed: int, sample: int | None) -> Factors:
        """See ``LowRankPosterior``."""
        a, b, scale = self.weights.a, self.weights.b, self.weights.scale
        return lambda name: (b[name] * scale, a[name])
