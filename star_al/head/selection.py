"""Choose the head's settings by cross-validated likelihood, shrunk to defaults that suit few labels.

The score of settings is the log-likelihood of held-out labels plus the log-density of a prior. Without labels the
defaults win, with ten they weigh as much as the labels, with hundreds they are forgotten.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from star_al.head.coordinate_search import Axis, coordinate_search
from star_al.head.folds import CrossValidation, Settings
from star_al.head.inputs import LABEL_NAMES, PROTOTYPES, ZERO_SHOT
from star_al.head.ridge import Penalty, Weights
from star_al.types import FloatArray

STRENGTHS = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
"""Grid of α, for features of mean squared length 1."""

BIAS_SDS = (0.1, 0.3, 1.0, 3.0, 10.0)
"""Grid of the biases' standard deviation: small where labels are equally frequent."""

OFFSET_WEIGHTS = {
    LABEL_NAMES: (0.0, 5.0, 10.0, 15.0, 20.0, 30.0),
    PROTOTYPES: (0.0, 4.0, 8.0, 12.0, 16.0),
    ZERO_SHOT: (0.0, 0.25, 0.5, 1.0),
}
"""Grids of the offsets' weights; 0 leaves an offset out."""

DEFAULT_STRENGTH = 0.01
DEFAULT_BIAS_SD = 1.0
DEFAULT_OFFSET_WEIGHTS = {LABEL_NAMES: 15.0, PROTOTYPES: 8.0, ZERO_SHOT: 0.5}

NAMES_BESIDE_PROTOTYPES = 10.0
"""Default weight of the names where prototypes say what they say as well."""

_SDS = {LABEL_NAMES: 10.0, PROTOTYPES: 8.0, ZERO_SHOT: 0.5}  # of the priors of the offsets' weights
_STRENGTH_SD = 0.7  # in powers of ten
_BIAS_SD = 0.5  # in powers of ten
_STRENGTH_CENTRE = 0.02


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
        tuple(_default_weight(name, offset_names) for name in offset_names),
    )


def _default_weight(name: str, offset_names: Sequence[str]) -> float:
    if name == LABEL_NAMES and PROTOTYPES in offset_names:
        return NAMES_BESIDE_PROTOTYPES
    return DEFAULT_OFFSET_WEIGHTS[name]


def log_prior(settings: Settings, offset_names: Sequence[str]) -> float:
    """Return the log-density of the prior of settings, up to a constant."""
    penalty = settings.penalty
    total = (math.log10(penalty.strength / _STRENGTH_CENTRE) / _STRENGTH_SD) ** 2
    total += (math.log10(penalty.bias_sd / DEFAULT_BIAS_SD) / _BIAS_SD) ** 2
    for name, weight in zip(offset_names, settings.offset_weights_J, strict=True):
        total += ((weight - _default_weight(name, offset_names)) / _SDS[name]) ** 2
    return -0.5 * total


def select_settings(validation: CrossValidation, offset_names: Sequence[str]) -> Selected:
    """Search the settings with the best score.

    Args:
        validation: The examples, of at least two texts.
        offset_names: The names of its offsets, in order.
    """
    tried: dict[Settings, Selected] = {}

    def score(settings: Settings) -> float:
        if settings not in tried:
            held_out, fold_weights = validation.held_out(settings)
            found = validation.log_likelihood(held_out) + log_prior(settings, offset_names)
            tried[settings] = Selected(settings, found, held_out, fold_weights)
        return tried[settings].score

    axes = [
        Axis(BIAS_SDS, _with_bias_sd),
        *(Axis(OFFSET_WEIGHTS[name], _with_offset_weight(place)) for place, name in enumerate(offset_names)),
        Axis(STRENGTHS, _with_strength),
    ]
    return tried[coordinate_search(default_settings(offset_names), axes, score)]


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
