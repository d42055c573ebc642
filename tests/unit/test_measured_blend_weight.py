"""The measured weight of the blend: its value, when it is not measured, and how far it is trusted."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import rankdata

from star_al.acquire.measured_blend_weight import GRID, HeldOut, auroc, measured_blend_weight


def held_out(n: int, *, adapted: float, base: float, seed: int = 0, errors: float = 0.4) -> HeldOut:
    """Return uncertainties in [0, 1] that separate errors by ``adapted`` and ``base``; 0 means not at all."""
    rng = np.random.default_rng(seed)
    errors_M = np.arange(n) < errors * n
    return HeldOut(
        np.clip(0.5 + 0.1 * rng.normal(size=n) + adapted * errors_M, 0, 2),
        np.clip(0.5 + 0.1 * rng.normal(size=n) + base * errors_M, 0, 2),
        errors_M,
    )


POOL = np.linspace(0.0, 1.0, 50, dtype=np.float64)


def test_auroc_is_the_share_of_pairs_in_order_with_ties_half() -> None:
    scores_M, errors_M = np.array([0.1, 0.4, 0.4, 0.8]), np.array([False, True, False, True])
    pairs = [(e > r) + 0.5 * (e == r) for e in scores_M[errors_M] for r in scores_M[~errors_M]]
    assert auroc(scores_M, errors_M) == pytest.approx(np.mean(pairs)) == 0.875


def test_the_curve_is_the_auroc_of_the_blended_score_at_each_weight() -> None:
    data = held_out(60, adapted=0.05, base=0.05)
    weight = measured_blend_weight(data, POOL, POOL, "minmax", 0.3)
    assert [w for w, _ in weight.curve] == pytest.approx(GRID.tolist())
    for w, value in weight.curve:
        ranks_M = rankdata(w * data.adapted_M + (1 - w) * data.base_M)
        wrong = int(data.errors_M.sum())
        mann_whitney = ranks_M[data.errors_M].sum() - wrong * (wrong + 1) / 2
        assert value == pytest.approx(mann_whitney / (wrong * (60 - wrong)))


@pytest.mark.parametrize(
    ("adapted", "base", "best"), [(0.3, 0.0, 1.0), (0.0, 0.3, 0.0)], ids=["adapted", "base"]
)
def test_the_model_that_knows_its_errors_gets_the_weight(adapted: float, base: float, best: float) -> None:
    weight = measured_blend_weight(held_out(4000, adapted=adapted, base=base), POOL, POOL, "minmax", 0.5)
    assert abs(weight.value - best) < 0.25


def test_few_errors_leave_the_schedule_and_more_move_it_by_what_they_are_worth() -> None:
    few = held_out(100, adapted=0.3, base=0.0, errors=0.09)
    weight = measured_blend_weight(few, POOL, POOL, "minmax", 0.2)
    assert (weight.value, weight.curve) == (0.2, ())
    assert "9 of 100 held-out items are errors" in weight.note
    assert (
        measured_blend_weight(
            held_out(100, adapted=0.3, base=0.0, errors=0.95), POOL, POOL, "minmax", 0.2
        ).curve
        == ()
    )
    data = HeldOut(
        np.arange(40) / 40.0, np.zeros(40), np.arange(40) >= 20
    )  # the adapted model knows all errors
    measured = measured_blend_weight(data, POOL, np.zeros(50), "minmax", 0.2)
    assert max(value for _, value in measured.curve) == 1.0
    # Any weight above 0 ranks them all: the nearest to the schedule is the schedule.
    assert measured.value == pytest.approx(0.2)
    against = HeldOut(np.arange(40)[::-1] / 40.0, np.arange(40) / 40.0, np.arange(40) >= 20)
    assert measured_blend_weight(against, POOL, POOL, "minmax", 0.8).value == pytest.approx(
        0.5 * 0.45 + 0.5 * 0.8
    )


def test_items_are_normalised_by_the_map_of_the_pool() -> None:
    """A base model with another scale gets the same weight; the held-out items alone would give another."""
    data = held_out(200, adapted=0.1, base=0.1)
    plain = measured_blend_weight(data, POOL, POOL, "minmax", 0.4)
    scaled = measured_blend_weight(
        HeldOut(data.adapted_M, 7.0 * data.base_M, data.errors_M), POOL, 7.0 * POOL, "minmax", 0.4
    )
    assert scaled.value == pytest.approx(plain.value)
    ranked = measured_blend_weight(data, POOL, POOL, "rank", 0.4)
    curved = HeldOut(data.adapted_M**3, data.base_M**3, data.errors_M)
    assert measured_blend_weight(curved, POOL**3, POOL**3, "rank", 0.4) == ranked


def test_a_pool_without_differences_leaves_that_term_out() -> None:
    weight = measured_blend_weight(held_out(100, adapted=0.0, base=0.3), POOL, np.ones(50), "minmax", 0.4)
    assert np.isfinite(weight.value)


def test_scores_that_are_not_finite_are_refused() -> None:
    data = held_out(40, adapted=0.1, base=0.1)
    data.adapted_M[3] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        measured_blend_weight(data, POOL, POOL, "minmax", 0.4)
