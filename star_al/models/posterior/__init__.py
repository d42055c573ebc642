"""Posteriors over functions: what training leaves open about the weights, as samples that a model can take on.

A sample is one function, the same for every item, so that scores of several items together are valid
(docs/methods.md, "Posterior samples"). A method is one file here, its settings in ``star_al.config.spec``
(``PosteriorSpec``), and one line in ``star_al.app.language_learners``.

The methods are in ``point`` (``kind: map``), ``mc_dropout``, ``ensemble``, ``laplace``, ``clora`` and ``tfb``. The
other files serve them: ``curvature`` and ``kfac`` (Laplace), ``clora_training`` and ``context_network`` (C-LoRA),
``predictive`` (C-LoRA and TFB) and ``merging`` (all).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

from torch import Tensor

from star_al.config.spec import AdapterSpec
from star_al.models.backbone import Backbone
from star_al.models.minibatch import Minibatch
from star_al.models.parallel.launch import TrainingProcesses
from star_al.models.prompts import Prompt
from star_al.models.targets import Columns, TaughtPrompts
from star_al.models.trunk import Trunk
from star_al.ports import Advance, MemberFiles
from star_al.types import JsonObject

Factors: TypeAlias = Callable[[str], tuple[Tensor, Tensor]]
"""Gives the (B, A) of a layer, (d_out, r) and (r, d_in) float32, with all scales in them."""

Score: TypeAlias = Callable[[Minibatch], Tensor]
"""Log-likelihoods of labels (B, C) float32, up to a constant of each prompt; −inf for labels it does not have."""


def scores_nothing(_: Minibatch) -> Tensor:
    """Stand for the score of a model that is put into a sample to write, not to score."""
    raise NotImplementedError


DrawPrompts: TypeAlias = Callable[[int], Sequence[Prompt]]
"""Draws this many random prompts; fewer if there are not so many."""


def no_prompts(_: int) -> Sequence[Prompt]:
    """Draw from a pool that is not there."""
    return ()


@dataclass(frozen=True)
class Training:
    """Everything that a posterior is fitted from.

    Attributes:
        backbone: The base model.
        examples: Prompts with the columns of their labels.
        adapter: Settings of the adapter and its training.
        base: The base model, as the user names it.
        seed: Determines everything random.
        parent: Folder of the last adapter for a warm start; ``None`` for a fresh start.
        advance: Called with the number of minibatches that went through the model.
        trunk: Frozen blocks whose activations are used; ``None`` to run the whole model.
        taught: Further prompts with the answers of another model. The adapter learns from them; what a posterior
            measures, it measures on ``examples``, which people answered, or on ``unlabelled``.
        unlabelled: Draws prompts of the pool that nobody has labelled, the same ones each time.
        writes: True if labels are answers that the model learns to write, one for each prompt.
        processes: Those that train adapters; ``None`` to train in this one.
        members: Trains so many members of an ensemble elsewhere; ``None`` to train them here.
    """

    backbone: Backbone
    examples: Sequence[tuple[Prompt, Columns]]
    adapter: AdapterSpec
    base: str
    seed: int
    parent: Path | None
    advance: Advance
    trunk: Trunk | None = None
    taught: TaughtPrompts | None = None
    unlabelled: DrawPrompts = no_prompts
    writes: bool = False
    processes: TrainingProcesses | None = None
    members: Callable[[int], Iterator[MemberFiles]] | None = None


class Posterior(Protocol):
    """A fitted artefact that can be sampled."""

    @property
    def shares_prefix(self) -> bool:
        """True if tokens that begin all prompts may be read once for all of them."""

    def draw(
        self, backbone: Backbone, score: Score, seed: int, sample: int | None
    ) -> AbstractContextManager[Score]:
        """Return a context in which the model is one sample of the posterior.

        A sample is a function of ``seed`` and ``sample`` alone. Afterwards the model is bitwise what it was.

        Args:
            backbone: The model.
            score: Scores a minibatch by the model as it is at the time.
            seed: Seed of all samples.
            sample: Number of the sample; ``None`` for the posterior's mean or mode.

        Returns:
            A context whose value scores minibatches by the sample.

        Raises:
            ModelError: The artefact does not fit the model, or a weight is not finite. Names the layer.
        """


@runtime_checkable
class LowRankPosterior(Posterior, Protocol):
    """A posterior whose every sample is an ordinary LoRA adapter, the same for all texts."""

    @property
    def layers(self) -> Collection[str]:
        """The adapted layers."""

    def factors(self, seed: int, sample: int | None) -> Factors:
        """Return what a sample adds to the weights: ``draw`` merges just this.

        Raises:
            ModelError: There is no such sample.
        """


class Method(Protocol):
    """A way to fit a posterior."""

    def steps(self, n_examples: int, adapter: AdapterSpec, n_taught: int = 0) -> int:
        """Return how many minibatches ``fit`` sends through the model, at most."""

    def fit(self, training: Training, folder: Path) -> JsonObject:
        """Train, and write the artefact into the empty ``folder``.

        The same training on the same machine writes the same bytes.

        Returns:
            What to keep in the artefact's record.

        Raises:
            ModelError: Training failed.
            StoreError: The folder cannot be written.
        """

    def quick(self) -> Method:
        """Return the method with as little work as shows whether it works with a model."""

    def load(self, folder: Path, record: JsonObject) -> Posterior:
        """Read what ``fit`` wrote into ``folder``, with the record that it returned.

        Raises:
            ModelError: A file is missing or damaged, or a weight is not finite.
        """
