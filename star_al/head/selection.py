"""Choose the head's settings by cross-validated likelihood, shrunk to defaults that suit few labels.

The score of settings is the log-likelihood of held-out labels plus the log-density of a prior. Without labels the
defaults win, with ten they weigh as much as the labels, with hundreds they are forgotten. Settings are searched one
after the other, each along a grid in the direction that improves: about ten fits a fold instead of a hundred.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from star_al.head.folds import CrossValidation, Settings
from star_al.head.inputs import LABEL_NAMES, ZERO_SHOT
from star_al.head.ridge import Penalty, Weights
from star_al.types import FloatArray

STRENGTHS = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
"""Grid of α, for features of mean squared length 1."""

BIAS_SDS = (0.1, 0.3, 1.0, 3.0, 10.0)
"""Grid of the biases' standard deviation: small where labels are equally frequent."""

OFFSET_WEIGHTS = {LABEL_NAMES: (0.0, 5.0, 10.0, 15.0, 20.0, 30.0), ZERO_SHOT: (0.0, 0.25, 0.5, 1.0)}
"""Grids of the offsets' weights; 0 leaves an offset out."""

DEFAULT_STRENGTH = 0.01
DEFAULT_BIAS_SD = 1.0
DEFAULT_OFFSET_WEIGHTS = {LABEL_NAMES: 15.0, ZERO_SHOT: 0.5}

_SDS = {LABEL_NAMES: 10.0, ZERO_SHOT: 0.5}  # of the priors of the offsets' weights
_STRENGTH_SD = 0.7  # in powers of ten
_BIAS_SD = 0.5  # in powers of ten
_STRENGTH_CENTRE = 0.02
_SWEEPS = 2


class Selected(NamedTuple):
    """The settings that scored best, their score in nats, held-out predictions (n, C), and weights by fold."""

    settings: Settings
    score: float
    held_out_n_C: FloatArray
    fold_weights: dict[int, Weights]


def default_settings(offset_names: Sequence[str]) -> Settings:
    """Return the settings for a head without labels."""
    return Settings(
        Penalty(DEFAULT_STRENGTH, DEFAULT_BIAS_SD),
        tuple(DEFAULT_OFFSET_WEIGHTS[name] for name in offset_names),
    )


def log_prior(settings: Settings, offset_names: Sequence[str]) -> float:
    """Return the log-density of the prior of settings, up to a constant."""
    penalty = settings.penalty
    total = (math.log10(penalty.strength / _STRENGTH_CENTRE) / _STRENGTH_SD) ** 2
    total += (math.log10(penalty.bias_sd / DEFAULT_BIAS_SD) / _BIAS_SD) ** 2
    for name, weight in zip(offset_names, settings.offset_weights_J, strict=True):
        total += ((weight - DEFAULT_OFFSET_WEIGHTS[name]) / _SDS[name]) ** 2
    return -0.5 * total


def select_settings(validation: CrossValidation, offset_names: Sequence[str]) -> Selected:
    """Search the settings with the best score.

    Args:
        validation: The examples, of at least two texts.
        offset_names: The names of its offsets, in order.
    """
    search = _Search(validation, tuple(offset_names), {})
    settings = default_settings(offset_names)
    for _ in range(_SWEEPS):
        before = settings
        settings = search.walk(BIAS_SDS, settings, _with_bias_sd)
        for place, name in enumerate(offset_names):
            settings = search.walk(OFFSET_WEIGHTS[name], settings, _with_offset_weight(place))
        settings = search.walk(STRENGTHS, settings, _with_strength)
        if settings == before:
            break
    return search.tried[settings]


@dataclass(frozen=True)
class _Search:
    validation: CrossValidation
    offset_names: tuple[str, ...]
    tried: dict[Settings, Selected]

    def walk(
        self, grid: Sequence[float], settings: Settings, with_value: Callable[[Settings, float], Settings]
    ) -> Settings:
        """Move along the grid while the score improves, upwards first."""
        values = [with_value(settings, value) for value in grid]
        here = values.index(settings)
        for step in (1, -1):
            moved = False
            while 0 <= here + step < len(grid) and self.score(values[here + step]) > self.score(values[here]):
                here += step
                moved = True
            if moved:
                break
        return values[here]

    def score(self, settings: Settings) -> float:
        if settings not in self.tried:
            held_out, fold_weights = self.validation.held_out(settings)
            score = self.validation.log_likelihood(held_out) + log_prior(settings, self.offset_names)
            self.tried[settings] = Selected(settings, score, held_out, fold_weights)
        return self.tried[settings].score


def _with_bias_sd(settings: Settings, value: float) -> Settings:
    return settings._replace(penalty=settings.penalty._replace(bias_sd=value))


def _with_strength(settings: Settings, value: float) -> Settings:
    return settings._replace(penalty=settings.penalty._replace(strength=value))


def _with_offset_weight(place: int) -> Callable[[Settings, float], Settings]:
    def with_value(settings: Settings, value: float) -> Settings:
        weights = list(settings.offset_weights_J)
        weights[place] = value
        return settings._replace(offset_weights_J=tuple(weights))

    return with_value
