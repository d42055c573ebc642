"""Accuracies of a model over the rounds of one campaign, and what else chance might have made of them.

Three things make the accuracies of a single campaign uncertain. The held-out items are a sample: they are
resampled, jointly over rounds and models, so that what all models share cancels in differences. The labels are a
draw: with other random labels the model would be a little better or worse, for many rounds, since each training set
contains the one before. And training is noisy. The last two are simulated, as no resampling of items shows them.

Shapes: R rounds, N held-out items, B resamples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from star_al.types import FloatArray, IntArray

LUCK = 1 / 3
"""The luck of n random labels has the variance LUCK · p(1 − p) / n, if p is the accuracy: as if the accuracy were
measured on 3·n items. Between 0.17 and 0.33 in simulated campaigns on three sets, from 25 labels on
(docs/studies/live-words.md)."""


@dataclass(frozen=True)
class MeasuredRounds:
    """A model's accuracy in each of R rounds.

    Attributes:
        labels_R: Labels trained on, at least 1, in ascending order.
        accuracy_R: Accuracies.
        n_R: Held-out items.
        right_R_N: 1 where an item was predicted right, 0 where not, NaN where it was not among a round's items.
            None if the answers to single items are not known.
    """

    labels_R: FloatArray
    accuracy_R: FloatArray
    n_R: FloatArray
    right_R_N: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.labels_R)

    def first(self, n_rounds: int) -> MeasuredRounds:
        """The first rounds alone."""
        right_R_N = None if self.right_R_N is None else self.right_R_N[:n_rounds]
        return MeasuredRounds(
            self.labels_R[:n_rounds], self.accuracy_R[:n_rounds], self.n_R[:n_rounds], right_R_N
        )


@dataclass(frozen=True)
class RoundMeasurement:
    """One round: labels trained on, accuracy, held-out items, and which were predicted right if that is known."""

    labels: int
    accuracy: float
    n: int
    right: Mapping[str, bool] | None = None


def measured_rounds(*models: Sequence[RoundMeasurement]) -> list[MeasuredRounds]:
    """Arrange the rounds of models that are measured on the same items.

    Rounds without labels are left out. Of several rounds with equally many labels the last one counts. Single
    items are kept only if they are known for all rounds of all models.

    Returns:
        One object a model, with the same items in the same columns.
    """
    kept = [_ascending(rounds) for rounds in models]
    known = [each.right for rounds in kept for each in rounds]
    rights = [right for right in known if right is not None]
    item_ids = sorted(set().union(*rights)) if len(rights) == len(known) else []
    return [_arranged(rounds, item_ids or None) for rounds in kept]


def _ascending(rounds: Sequence[RoundMeasurement]) -> list[RoundMeasurement]:
    last = {each.labels: each for each in rounds if each.labels > 0}
    return [last[labels] for labels in sorted(last)]


def _arranged(rounds: Sequence[RoundMeasurement], item_ids: Sequence[str] | None) -> MeasuredRounds:
    right_R_N = None
    if item_ids is not None:
        rows = [[(each.right or {}).get(item_id, np.nan) for item_id in item_ids] for each in rounds]
        right_R_N = np.array(rows, dtype=np.float64).reshape(len(rounds), len(item_ids))
    return MeasuredRounds(
        np.array([each.labels for each in rounds], dtype=np.float64),
        np.array([each.accuracy for each in rounds], dtype=np.float64),
        np.array([each.n for each in rounds], dtype=np.float64),
        right_R_N,
    )


def resampled_accuracies(
    models: Sequence[MeasuredRounds], n_resamples: int, random: np.random.Generator
) -> list[FloatArray]:
    """Accuracies (B, R) of each model with other held-out items.

    Models whose single items are known share the resamples. Without them each round gets items of its own, which
    makes differences look more uncertain than they are.

    Args:
        models: From one call of ``measured_rounds``.
        n_resamples: B.
        random: Draws the items.
    """
    if any(model.right_R_N is None for model in models):
        return [
            random.binomial(model.n_R.astype(np.int64), model.accuracy_R, size=(n_resamples, len(model)))
            / model.n_R
            for model in models
        ]
    n_items = max((model.right_R_N.shape[1] for model in models if model.right_R_N is not None), default=0)
    weights_B_N = random.multinomial(n_items, np.full(n_items, 1.0 / n_items), size=n_resamples)
    return [_weighted(model.right_R_N, weights_B_N) for model in models if model.right_R_N is not None]


def _weighted(right_R_N: FloatArray, weights_B_N: IntArray) -> FloatArray:
    there_R_N = ~np.isnan(right_R_N)
    right_B_R = weights_B_N @ np.where(there_R_N, right_R_N, 0.0).T
    # A resample of a growing audit set may hold none of a round's few items.
    n_B_R = np.maximum(weights_B_N @ there_R_N.T, 1)
    share_B_R: FloatArray = right_B_R / n_B_R
    return share_B_R


def luck(model: MeasuredRounds, n_resamples: int, random: np.random.Generator) -> FloatArray:
    """Draws (B, R) of what other labels would have done to the accuracies.

    Each training set contains those before, so that two rounds share the luck of the later one, as the means of a
    growing sample do: Cov = LUCK · √(p_r(1 − p_r) p_s(1 − p_s)) / max(n_r, n_s), a Brownian motion in 1/n.
    """
    # Half an item is added to each side, so that an accuracy of 1 on few items is not taken as certain.
    p_R = (model.accuracy_R * model.n_R + 0.5) / (model.n_R + 1.0)
    steps_R = np.diff(
        1.0 / model.labels_R[::-1], prepend=0.0
    )  # from infinitely many labels to the first round
    walk_B_R = np.cumsum(random.normal(size=(n_resamples, len(model))) * np.sqrt(LUCK * steps_R), axis=1)
    drawn_B_R: FloatArray = walk_B_R[:, ::-1] * np.sqrt(p_R * (1 - p_R))
    return drawn_B_R
