"""What the head reads: features of texts, labelled examples, and options."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from star_al.types import Float32Array, FloatArray, IntArray

if TYPE_CHECKING:
    from star_al.head.neighbours import NeighbourGraph

FeatureKind: TypeAlias = Literal["encoder", "model", "both"]

PRIOR_OF_KIND: Mapping[FeatureKind, float] = {"encoder": 0.0, "both": -1.0, "model": -2.0}
"""Log-priors of the features: with few labels the encoder alone."""

LABEL_NAMES = "label_names"
ZERO_SHOT = "zero_shot"
PROTOTYPES = "prototypes"


@dataclass(frozen=True)
class TextFeatures:
    """What the head reads of some texts.

    Attributes:
        features: By kind, ``encoder`` (N, d) and ``model`` (N, d′), as the models return them; either may be absent.
        offsets: By name, (N, C): ``label_names``, cosine similarities of texts and label names, and ``zero_shot``,
            the language model's log-probabilities. Neither is centred.
    """

    features: Mapping[str, Float32Array]
    offsets: Mapping[str, FloatArray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lengths = {len(each) for each in self.features.values()} | {
            len(each) for each in self.offsets.values()
        }
        if not self.features or len(lengths) != 1:
            raise ValueError(f"features and offsets of the same texts have lengths {sorted(lengths)}")
        if unknown := set(self.features) - {"encoder", "model"}:
            raise ValueError(f"no such features: {sorted(unknown)}")
        if unknown := set(self.offsets) - {LABEL_NAMES, ZERO_SHOT}:
            raise ValueError(f"no such offsets: {sorted(unknown)}")

    def __len__(self) -> int:
        return len(next(iter(self.features.values())))


@dataclass(frozen=True)
class PoolTexts(TextFeatures):
    """All texts of the pool in a fixed order, labelled ones too.

    Attributes:
        graph: Nearest neighbours in the pool by the encoder's embeddings; None predicts without neighbours.
    """

    graph: NeighbourGraph | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.graph is not None and len(self.graph) != len(self):
            raise ValueError(f"a graph of {len(self.graph)} texts for a pool of {len(self)}")

    @cached_property
    def kept(self) -> dict[str, Any]:
        """What was computed from the pool's features alone and is the same in each round: scalings, scaled features."""
        return {}

    @property
    def neighbours(self) -> int:
        """How many neighbours of each text the graph holds."""
        return 0 if self.graph is None else self.graph.indices_N_k.shape[1]


@dataclass(frozen=True)
class Examples:
    """Labels bought.

    Attributes:
        rows_n: Rows of the pool. A text may come more than once, with other labels.
        targets_n: Columns of the labels.
        weights_n: How much each label counts, not negative; None counts each once.
    """

    rows_n: IntArray
    targets_n: IntArray
    weights_n: FloatArray | None = None

    def __post_init__(self) -> None:
        if self.rows_n.shape != self.targets_n.shape or self.rows_n.ndim != 1:
            raise ValueError(f"{self.rows_n.shape} rows for {self.targets_n.shape} labels")
        if self.weights_n is not None and (
            self.weights_n.shape != self.rows_n.shape or not (self.weights_n >= 0).all()
        ):
            raise ValueError("weights must not be negative, one for each label")

    def __len__(self) -> int:
        return len(self.rows_n)

    @property
    def counts_n(self) -> FloatArray:
        """How much each label counts."""
        return np.ones(len(self)) if self.weights_n is None else self.weights_n

    def fixed(self, n_labels: int) -> tuple[IntArray, Float32Array]:
        """Return the rows that have a label, sorted, and their distribution over labels, (U, C)."""
        rows_U, place_n = np.unique(self.rows_n, return_inverse=True)
        votes_U_C = np.zeros((len(rows_U), n_labels))
        np.add.at(votes_U_C, (place_n, self.targets_n), self.counts_n)
        kept_U = votes_U_C.sum(axis=1) > 0
        votes_U_C = votes_U_C[kept_U]
        shares: Float32Array = (votes_U_C / votes_U_C.sum(axis=1, keepdims=True)).astype(np.float32)
        return rows_U[kept_U], shares


@dataclass(frozen=True)
class HeadOptions:
    """How to fit a head.

    Attributes:
        features: What to read; ``auto`` decides by cross-validated likelihood.
        neighbours: How many neighbours to smooth over; None decides by cross-validated likelihood.
        seed: Of the folds.
        prototypes: Find prototypes of the labels, where their names are offsets; False as in earlier versions.
    """

    features: Literal["auto", "encoder", "model", "both"] = "auto"
    neighbours: int | None = None
    seed: int = 0
    prototypes: bool = True

    def kinds(self, available: Collection[str]) -> tuple[FeatureKind, ...]:
        """Return the kinds of features to compare, of those that are there."""
        if self.features != "auto":
            return (self.features,)
        if len(available) == 2:
            return ("encoder", "both", "model")
        return ("encoder",) if "encoder" in available else ("model",)
