"""The noise floor of the ECE: against sums over the binomial, and against simulated calibrated models."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from star_al.stats import metrics
from star_al.stats.ece_floor import ece_floor
from star_al.types import CalibrationBin


def bins_of(*filled: tuple[int, float]) -> list[CalibrationBin]:
    return [CalibrationBin(0.0, 1.0, n, confidence if n else None, None) for n, confidence in filled]


@pytest.mark.parametrize(
    "filled", [((1, 0.5),), ((10, 0.3),), ((7, 1.0), (3, 2 / 3)), ((100, 0.93), (0, 0.0))]
)
def test_the_floor_is_the_mean_absolute_deviation_of_each_bin(filled: tuple[tuple[int, float], ...]) -> None:
    naive = sum(
        (binom.pmf(np.arange(n + 1), n, p) * np.abs(np.arange(n + 1) - n * p)).sum() for n, p in filled if n
    )
    assert ece_floor(bins_of(*filled)).mean == pytest.approx(naive / sum(n for n, _ in filled))


@pytest.mark.parametrize("n", [50, 100, 400])
def test_a_calibrated_model_shows_the_floor_on_average_and_rarely_more_than_its_upper_end(n: int) -> None:
    random = np.random.default_rng(n)
    confidence_N = random.beta(5, 2, n)
    bins = metrics.reliability_bins(confidence_N, np.ones(n, dtype=bool))
    shown = [
        metrics.ece(metrics.reliability_bins(confidence_N, random.random(n) < confidence_N))
        for _ in range(500)
    ]
    floor = ece_floor(bins)
    assert floor.mean == pytest.approx(np.mean(shown), rel=0.04)
    assert np.mean(np.array(shown) <= floor.high) == pytest.approx(0.95, abs=0.03)


def test_a_confidence_rounded_above_one_has_no_deviation() -> None:
    assert ece_floor(bins_of((5, 1.0 + 1e-12))).mean == 0.0
