"""Weights learned from answers: against naive references, and in simulated campaigns whose best weights are known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit, log_expit
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression

from star_al.acquire.blend import blend_ranks, normalise, pool_ranks
from star_al.acquire.prequential import (
    FADING,
    INTERCEPT_VARIANCE,
    SLOPE_VARIANCE,
    Graded,
    blend_in_words,
    fit_slopes,
    shares,
)
from star_al.types import FloatArray, IntArray

PRIOR = np.array([1.0, 0.0])


def answers(n: int, slopes: Sequence[float], seed: int = 0, rounds: int = 3, offset: float = -0.3) -> Graded:
    """Return answers to random texts whose errors follow the slopes."""
    random = np.random.default_rng(seed)
    ranks_M_J = random.random((n, len(slopes)))
    errors_M = random.random(n) < expit(offset + np.sqrt(12.0) * (ranks_M_J - 0.5) @ np.array(slopes))
    groups_M = np.sort(random.integers(rounds, size=n))
    ages_M: FloatArray = ((rounds - 1) - groups_M).astype(np.float64)
    return Graded(ranks_M_J, errors_M, groups_M, ages_M)


def naive_loss(parameters: FloatArray, graded: Graded, prior_J: FloatArray) -> float:
    """The negative log posterior, one answer after the other."""
    n_models, total = len(prior_J), 0.0
    for ranks_J, wrong, group, age in zip(
        graded.ranks_M_J, graded.errors_M, graded.groups_M, graded.ages_M, strict=True
    ):
        logit = parameters[n_models + group]
        for rank, slope in zip(ranks_J, parameters, strict=False):
            logit += slope * (rank - 0.5) / np.sqrt(1.0 / 12.0)
        total -= FADING**age * log_expit(logit if wrong else -logit)
    for slope, mean in zip(parameters, prior_J, strict=False):
        total += (slope - mean) ** 2 / (2.0 * SLOPE_VARIANCE)
    return total + float((parameters[n_models:] ** 2).sum()) / (2.0 * INTERCEPT_VARIANCE)


@pytest.mark.parametrize("prior", [(1.0, 0.0), (1.0, 0.0, 1.0)])
def test_the_slopes_are_those_of_the_naive_posterior(prior: tuple[float, ...]) -> None:
    graded, prior_J = answers(60, [0.8, 0.6, 0.4][: len(prior)]), np.array(prior)
    start = np.concatenate([prior_J, np.zeros(3)])
    found = minimize(naive_loss, start, (graded, prior_J), method="BFGS", options={"gtol": 1e-6})
    np.testing.assert_allclose(fit_slopes(graded, prior_J), found.x[: len(prior)], atol=1e-4)


def test_without_a_prior_mean_it_is_sklearns_logistic_regression() -> None:
    """The intercepts are columns, scaled so that their penalty is that of their own variance."""
    graded = answers(200, [0.9, 0.7])
    one_hot_M_G = np.eye(3)[graded.groups_M] * np.sqrt(INTERCEPT_VARIANCE / SLOPE_VARIANCE)
    design = np.hstack([np.sqrt(12.0) * (graded.ranks_M_J - 0.5), one_hot_M_G])
    theirs = LogisticRegression(C=SLOPE_VARIANCE, fit_intercept=False, tol=1e-9, max_iter=1000)
    theirs.fit(design, graded.errors_M, sample_weight=FADING**graded.ages_M)
    np.testing.assert_allclose(fit_slopes(graded, np.zeros(2)), theirs.coef_[0, :2], atol=1e-4)


def test_without_answers_the_prior_decides() -> None:
    nothing = Graded(np.zeros((0, 2)), np.zeros(0, bool), np.zeros(0, np.int64), np.zeros(0))
    assert fit_slopes(nothing, PRIOR).tolist() == [1.0, 0.0]
    assert shares(fit_slopes(nothing, PRIOR)).tolist() == [1.0, 0.0]


def test_a_base_model_that_misleads_has_no_part() -> None:
    graded = answers(2000, [1.0, -1.0])
    slopes_J = fit_slopes(graded, PRIOR)
    assert slopes_J[1] == 0.0 and shares(slopes_J).tolist() == [1.0, 0.0]
    # If both mislead, the model that ranks the pool stays.
    assert shares(fit_slopes(answers(5000, [-2.0, -2.0]), PRIOR)).tolist() == [1.0, 0.0]


def test_a_model_that_did_not_rank_says_nothing() -> None:
    graded = answers(300, [0.5, 1.0])
    unknown = Graded(
        np.column_stack([graded.ranks_M_J, np.full(300, np.nan)]),
        graded.errors_M,
        graded.groups_M,
        graded.ages_M,
    )
    slopes_J = fit_slopes(unknown, np.array([1.0, 0.0, 1.0]))
    np.testing.assert_allclose(slopes_J, [*fit_slopes(graded, PRIOR), 1.0], atol=1e-5)


def test_older_answers_count_less() -> None:
    old, new = answers(400, [0.0, 1.5], seed=1, rounds=1), answers(400, [1.5, 0.0], seed=2, rounds=1)

    def together(age: float) -> float:
        graded = Graded(
            np.concatenate([old.ranks_M_J, new.ranks_M_J]),
            np.concatenate([old.errors_M, new.errors_M]),
            np.repeat([0, 1], 400),
            np.repeat([age, 0.0], 400),
        )
        return float(shares(fit_slopes(graded, PRIOR))[0])

    assert together(1.0) < together(5.0) < together(20.0)


def test_a_model_that_learns_does_not_make_ranks_look_telling() -> None:
    """Errors and base ranks both fall from round to round, but within a round neither tells the other."""
    random = np.random.default_rng(0)
    groups_M = np.repeat([0, 1], 400)
    base_M = random.random(800) * 0.2 + np.where(groups_M == 0, 0.8, 0.0)
    errors_M = random.random(800) < np.where(groups_M == 0, 0.8, 0.2)
    graded = Graded(np.column_stack([random.random(800), base_M]), errors_M, groups_M, np.zeros(800))
    assert fit_slopes(graded, PRIOR)[1] < 0.4
    pooled = Graded(graded.ranks_M_J, errors_M, np.zeros(800, np.int64), np.zeros(800))
    assert fit_slopes(pooled, PRIOR)[1] > 0.8  # what one intercept for all would have seen


# -- simulated campaigns --------------------------------------------------------------------------------


def campaign(
    slopes: Sequence[float],
    seed: int,
    *,
    batch: int,
    rounds: int = 6,
    control: int = 0,
    pool: int = 6000,
) -> FloatArray:
    """Run a campaign that blends by what it has learned, and return its last weights.

    The model errs by the slopes and gets better; each batch is drawn from the top third of the blended ranking,
    ``control`` of it from the whole pool.
    """
    random, n_models = np.random.default_rng(seed), len(slopes)
    prior_J = np.array([1.0, 0.0, 1.0][:n_models])
    scores_N_J = random.normal(size=(pool, n_models))
    ranks_N_J = np.stack([pool_ranks(scores_N) for scores_N in scores_N_J.T], axis=1)
    logits_N = np.sqrt(12.0) * (ranks_N_J - 0.5) @ np.array(slopes)
    free_N = np.ones(pool, dtype=bool)
    weights_J, chosen_rows, errors = shares(prior_J), [], []
    for round_index in range(rounds):
        left: IntArray = np.flatnonzero(free_N)
        order = left[np.argsort(-(ranks_N_J[left] @ weights_J))]
        chosen = random.choice(order[: len(order) // 3], batch - control, replace=False)
        rest = np.setdiff1d(left, chosen)
        chosen = np.concatenate([chosen, random.choice(rest, control, replace=False)])
        free_N[chosen] = False
        chosen_rows.append(chosen)
        errors.append(random.random(batch) < expit(-0.2 * round_index - 0.5 + logits_N[chosen]))
        groups_M = np.repeat(np.arange(round_index + 1), batch)
        graded = Graded(
            ranks_N_J[np.concatenate(chosen_rows)],
            np.concatenate(errors),
            groups_M,
            (round_index - 0.0) - groups_M,
        )
        weights_J = shares(fit_slopes(graded, prior_J))
    return weights_J


@pytest.mark.parametrize(
    "slopes",
    [(1.0, 0.0), (1.2, 0.6), (1.0, 1.0), (0.5, 1.0), (0.0, 1.0), (0.8, 0.0, 0.8), (0.3, 0.3, 0.9)],
    ids=str,
)
def test_with_many_answers_the_weights_are_the_best_ones(slopes: tuple[float, ...]) -> None:
    """The best weights are the shares of the true slopes, since they rank by the odds of an error."""
    found = np.mean([campaign(slopes, seed, batch=500) for seed in range(3)], axis=0)
    np.testing.assert_allclose(found, shares(np.array(slopes)), atol=0.08)


@pytest.mark.parametrize("control", [0, 5])
def test_with_few_answers_the_weights_lean_towards_the_adapted_model_alone(control: int) -> None:
    def mean(slopes: tuple[float, float]) -> float:
        return float(np.mean([campaign(slopes, seed, batch=25, control=control)[0] for seed in range(10)]))

    alone, even, base = mean((1.0, 0.0)), mean((1.0, 1.0)), mean((0.0, 1.0))
    assert alone > 0.9
    assert 0.5 < even < 0.85
    assert base < even


# -- the blend ------------------------------------------------------------------------------------------


def test_ranks_are_scipys_average_ranks_in_the_pool() -> None:
    pool_P = np.array([0.3, 0.1, 0.3, 0.9, 0.2])
    np.testing.assert_allclose(pool_ranks(pool_P), (rankdata(pool_P) - 1) / 4)
    assert pool_ranks(np.array([-1.0, 0.25, 5.0]), pool_P).tolist() == [0.0, 0.375, 1.0]
    assert pool_ranks(np.ones(4)).tolist() == [0.5] * 4
    with pytest.raises(ValueError, match="not finite"):
        pool_ranks(np.array([0.0, np.nan]))


@pytest.mark.parametrize("method", ["minmax", "rank"])
def test_all_weight_on_the_first_model_changes_nothing(method: str) -> None:
    random = np.random.default_rng(0)
    first_N = np.round(random.random(40), 1)  # with ties
    blended_N = blend_ranks([first_N, random.random(40)], [1.0, 0.0], method)  # type: ignore[arg-type]
    np.testing.assert_array_equal(blended_N, normalise(first_N, method))  # type: ignore[arg-type]


def test_the_blend_orders_by_weighted_ranks_and_keeps_the_first_models_spacing() -> None:
    random = np.random.default_rng(1)
    scores = [random.random(50) ** 3, random.normal(size=50), random.normal(size=50)]
    weights = [0.5, 0.2, 0.3]
    blended_N = blend_ranks(scores, weights, "minmax")
    by_hand_N = sum(weight * (rankdata(each) - 1) / 49 for weight, each in zip(weights, scores, strict=True))
    assert np.argsort(blended_N).tolist() == np.argsort(by_hand_N).tolist()
    np.testing.assert_allclose(np.sort(blended_N), np.sort(normalise(scores[0], "minmax")))
    with pytest.raises(ValueError, match="different lengths"):
        blend_ranks([np.zeros(3), np.zeros(2)], [0.5, 0.5], "minmax")


def test_where_the_first_model_tells_nothing_apart_the_others_rank() -> None:
    blended_N = blend_ranks([np.zeros(3), np.array([2.0, 1.0, 3.0])], [0.7, 0.3], "minmax")
    np.testing.assert_allclose(blended_N, [0.5, 0.0, 1.0])


# -- in words -------------------------------------------------------------------------------------------


def test_the_words_name_what_was_learned_from() -> None:
    names, nothing = ("adapted model", "base model"), answers(0, [1.0, 0.0])
    words = blend_in_words(nothing, 0, np.array([1.0, 0.0]), names)
    assert words == "no answer has graded the models yet: adapted model 1.00, base model 0.00"
    one = Graded(np.array([[0.9, 0.1]]), np.array([True]), np.array([0]), np.array([0.0]))
    assert blend_in_words(one, 1, np.array([0.9, 0.1]), names) == (
        "learned from 1 answer (1 error): adapted model 0.90, base model 0.10"
    )
    two = Graded(np.array([[0.9, 0.1], [0.2, 0.1]]), np.array([True, False]), np.array([0, 1]), np.zeros(2))
    assert blend_in_words(two, 1, np.array([0.9, 0.1]), names) == (
        "learned from 1 answer and 1 held-out label (1 error): adapted model 0.90, base model 0.10; AUROC of each "
        "model's uncertainty for these errors: adapted model 1.00, base model 0.50"
    )
