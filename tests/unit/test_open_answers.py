"""Estimates from drawn answers equal full enumeration, on a vocabulary of three and answers of at most three tokens."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.special import entr, logsumexp

from star_al.acquire.measures import bald, predictive_entropy
from star_al.acquire.open_answers import (
    Answers,
    class_log_probs,
    effective_draws,
    has_enough_draws,
    log_balance_weights,
    sequence_entropy,
    token_bald,
    token_entropy,
    trusted_bald,
)
from star_al.types import FloatArray

END, LONGEST, SAMPLES = 0, 3, 4
"""Token 0 ends an answer; one of three tokens needs no end."""


class Enumerated:
    """K random language models, and all that they can write."""

    def __init__(self, seed: int, samples: int = SAMPLES, spread: float = 1.5) -> None:
        rng = np.random.default_rng(seed)
        shared = rng.normal(scale=2, size=(3 ** (LONGEST + 1), 3))
        logits_K_H_V = shared + rng.normal(scale=spread, size=(samples, *shared.shape))
        self.next_K_H_V = logits_K_H_V - logsumexp(logits_K_H_V, axis=2, keepdims=True)
        self.sequences = [
            s
            for length in range(1, LONGEST + 1)
            for s in product(range(3), repeat=length)
            if END not in s[:-1] and (s[-1] == END or length == LONGEST)
        ]
        self.log_p_K_Y = np.stack([self.log_likelihood(s) for s in self.sequences], axis=1)
        self.lengths_Y = np.array([len(s) for s in self.sequences])
        self.classes_Y = np.array([sum(s) % 3 for s in self.sequences])

    def along(self, sequence: tuple[int, ...]) -> FloatArray:
        """Return the next-token distributions along a sequence, (K, L, V)."""
        states = [int("1" + "".join(map(str, sequence[:t])), 3) for t in range(len(sequence))]
        found: FloatArray = self.next_K_H_V[:, states]
        return found

    def log_likelihood(self, sequence: tuple[int, ...]) -> FloatArray:
        found: FloatArray = self.along(sequence)[:, np.arange(len(sequence)), list(sequence)].sum(axis=1)
        return found

    def everything(self, n: float = 12.0) -> Answers:
        """Return every sequence as often as it is drawn on average."""
        counts = n / len(self.log_p_K_Y) * np.exp(self.log_p_K_Y)
        return Answers(self.log_p_K_Y, counts, self.classes_Y, self.lengths_Y)

    def drawn(self, seed: int, m: int) -> Answers:
        """Return m draws of each sample."""
        rng = np.random.default_rng(seed)
        counts_K_Y = np.stack([rng.multinomial(m, p / p.sum()) for p in np.exp(self.log_p_K_Y)])
        own = np.flatnonzero(counts_K_Y.any(axis=0))
        _, classes = np.unique(self.classes_Y[own], return_inverse=True)
        return Answers(self.log_p_K_Y[:, own], counts_K_Y[:, own].astype(float), classes, self.lengths_Y[own])

    def class_probs(self) -> FloatArray:
        found: FloatArray = np.stack(
            [np.exp(self.log_p_K_Y[:, self.classes_Y == c]).sum(axis=1) for c in range(3)], axis=1
        )
        return found


def naive_entropy(p: FloatArray) -> float:
    return -sum(float(x * np.log(x)) for x in p.ravel() if x > 0)


@pytest.mark.parametrize("seed", range(5))
def test_estimates_from_all_sequences_are_exact(seed: int) -> None:
    world = Enumerated(seed)
    everything = world.everything()
    np.testing.assert_allclose(np.exp(world.log_p_K_Y).sum(axis=1), 1.0)
    exact_K_C = world.class_probs()
    found = class_log_probs(everything, rest=0.0)
    np.testing.assert_allclose(np.exp(found[:, :-1]), exact_K_C, atol=1e-12)
    assert np.isneginf(found[:, -1]).all()
    mean_C = exact_K_C.mean(axis=0)
    assert predictive_entropy(found[None])[0] == pytest.approx(naive_entropy(mean_C))
    exact_bald = naive_entropy(mean_C) - np.mean([naive_entropy(p) for p in exact_K_C])
    assert bald(found[None])[0] == pytest.approx(exact_bald)
    surprise = sum(
        np.exp(log_p) * -log_p / length / SAMPLES
        for log_p_K, length in zip(world.log_p_K_Y.T, world.lengths_Y, strict=True)
        for log_p in log_p_K
    )
    assert sequence_entropy(everything) == pytest.approx(surprise)


@pytest.mark.parametrize("seed", range(5))
def test_the_information_of_whole_answers_is_what_their_weights_say(seed: int) -> None:
    world = Enumerated(seed)
    shares_Y = np.exp(world.log_p_K_Y).mean(axis=0)
    responsibilities_K_Y = np.exp(log_balance_weights(world.log_p_K_Y)) / SAMPLES
    np.testing.assert_allclose(responsibilities_K_Y.sum(axis=0), 1.0)
    by_weights = np.log(SAMPLES) - (shares_Y * entr(responsibilities_K_Y).sum(axis=0)).sum()
    own = np.mean([naive_entropy(p) for p in np.exp(world.log_p_K_Y)])
    assert by_weights == pytest.approx(naive_entropy(shares_Y) - own)


def test_the_rest_is_a_constant_that_keeps_the_order() -> None:
    everything = [Enumerated(seed).everything() for seed in range(8)]
    whole, part = (np.stack([class_log_probs(e, rest) for e in everything]) for rest in (0.0, 0.2))
    np.testing.assert_allclose(np.exp(part).sum(axis=2), 1.0)
    np.testing.assert_allclose(bald(part), 0.8 * bald(whole), atol=1e-12)
    two = naive_entropy(np.array([0.2, 0.8]))
    np.testing.assert_allclose(predictive_entropy(part), two + 0.8 * predictive_entropy(whole))
    by_default = class_log_probs(everything[0])
    np.testing.assert_allclose(np.exp(by_default[:, -1]), 1 / 13)


def test_weighted_means_over_draws_are_unbiased() -> None:
    world = Enumerated(1, spread=0.7)
    exact_K_C = world.class_probs()
    estimates, entropies = [], []
    for seed in range(4000):
        drawn = world.drawn(seed, m=3)
        weights_K_A = np.exp(drawn.log_weights_K_A) / drawn.n
        per_class = np.zeros_like(exact_K_C)
        chosen = [
            int(np.flatnonzero((own_K == world.log_p_K_Y.T).all(axis=1))[0])
            for own_K in drawn.log_likelihoods_K_A.T
        ]
        np.add.at(per_class.T, world.classes_Y[chosen], weights_K_A.T)
        estimates.append(per_class)
        entropies.append(sequence_entropy(drawn))
    error = np.std(estimates, axis=0) / np.sqrt(len(estimates))
    assert (np.abs(np.mean(estimates, axis=0) - exact_K_C) < 4 * error).all()
    spread = np.std(entropies) / np.sqrt(len(entropies))
    assert abs(np.mean(entropies) - sequence_entropy(world.everything())) < 4 * spread


def test_samples_that_agree_have_no_information_exactly() -> None:
    alone = Enumerated(3, samples=1)
    same = Enumerated(3, samples=1)
    same.log_p_K_Y = np.repeat(alone.log_p_K_Y, 4, axis=0)
    drawn = same.drawn(0, m=4)
    assert (
        drawn.counts_K_A[0] != drawn.counts_K_A[1]
    ).any()  # frequencies differ, and would say something else
    assert bald(class_log_probs(drawn)[None])[0] == 0.0
    np.testing.assert_allclose(effective_draws(drawn), 16)
    one = alone.along((1, 2, 0))
    assert token_bald(np.repeat(one, 4, axis=0)) == 0.0


def test_samples_that_share_no_answer_see_only_their_own() -> None:
    log_p = np.where(np.eye(3, dtype=bool), -40.0, -400.0)
    drawn = Answers(log_p, 4.0 * np.eye(3), np.arange(3), np.full(3, 60))
    np.testing.assert_allclose(effective_draws(drawn), 4)
    np.testing.assert_array_equal(
        has_enough_draws(np.array([4.0, 7.9, 8.0, 12.0]), 4), [False, False, True, True]
    )
    assert bald(class_log_probs(drawn)[None])[0] > 0.9
    found = trusted_bald(
        np.array([0.9, 0.3]), np.array([0.01, 0.01]), np.array([60.0, 60.0]), np.array([4.0, 9.0]), 4, 3
    )
    np.testing.assert_allclose(found, [0.6, 0.3])


def test_measures_of_tokens_agree_with_naive_sums() -> None:
    along = Enumerated(5).along((2, 1, 2))
    own = [naive_entropy(np.exp(p)) for p in along[0]]
    assert token_entropy(along[0]) == pytest.approx(np.mean(own))
    at_t = [
        naive_entropy(np.exp(along[:, t]).mean(axis=0))
        - np.mean([naive_entropy(np.exp(p)) for p in along[:, t]])
        for t in range(3)
    ]
    assert token_bald(along) == pytest.approx(np.mean(at_t))
    assert token_bald(along) > 0


def test_one_draw_in_each_class_is_never_below_the_rest() -> None:
    for n in range(1, 40):
        drawn = Answers(np.full((1, n), -7.3), np.ones((1, n)), np.arange(n), np.full(n, 5))
        assert class_log_probs(drawn)[0].argmax() < n
