"""Posteriors over functions: what training leaves open about the weights, as samples a model can take on.

A sample is one function, the same for every item (methods, section 3), so joint scores over items are valid.
A method is one file here, its settings in ``star_al.config.spec`` (``PosteriorSpec``), and one line in
``star_al.app.compose``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from torch import Tensor

from star_al.config.spec import AdapterSpec
from star_al.models.backbone import Backbone
from star_al.models.batching import Batch
from star_al.models.prompts import Prompt
from star_al.ports import Advance
from star_al.types import JsonObject

Score: TypeAlias = Callable[[Batch], Tensor]
"""(B, C) float32 log-likelihoods of a batch's labels, up to a constant of each prompt; −inf: no such label."""


@dataclass(frozen=True)
class Training:
    """All that a method is fitted from.

    ``examples`` are (prompt, label column) pairs; ``parent`` is the folder of the last adapter for a warm
    start; ``base`` is what the user calls the model; ``advance`` counts the batches that went through it.
    """

    backbone: Backbone
    examples: Sequence[tuple[Prompt, int]]
    adapter: AdapterSpec
    base: str
    seed: int
    parent: Path | None
    advance: Advance


class Posterior(Protocol):
    """A fitted artefact that can be sampled."""

    @property
    def shares_prefix(self) -> bool:
        """Whether a sample reads tokens that begin all prompts alike, so that they may be read once."""

    def draw(
        self, backbone: Backbone, score: Score, seed: int, sample: int | None
    ) -> AbstractContextManager[Score]:
        """Within the context, a function that scores batches by sample ``sample``; null: the mean or mode.

        ``score`` scores a batch by the backbone's model as it is at the time. A sample is a function of
        ``seed`` and ``sample`` alone. Afterwards the model is bitwise what it was.

        Raises:
            ModelError: the artefact does not fit the model, or a weight is not finite; names the layer.
        """


class Method(Protocol):
    """A way to a posterior."""

    def steps(self, n_examples: int, adapter: AdapterSpec) -> int:
        """How many batches ``fit`` sends through the model, at most: optimiser steps and what follows them."""

    def fit(self, training: Training, folder: Path) -> JsonObject:
        """Train, and write the artefact into the empty ``folder``; what to keep in its record.

        The same training on the same machine writes the same bytes.

        Raises:
            ModelError: training failed. StoreError: the folder cannot be written.
        """

    def load(self, folder: Path, record: JsonObject) -> Posterior:
        """What ``fit`` wrote into ``folder``, with the record it returned.

        Raises:
            ModelError: a file is missing or damaged, or a weight is not finite.
        """
