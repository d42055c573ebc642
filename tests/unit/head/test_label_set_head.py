"""A head for any number of labels: against scikit-learn, saved, sampled, and for texts of the pool and others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, roc_auc_score

from star_al.head import (
    FittedLabelSetHead,
    HeadOptions,
    LabelSetPredictor,
    PoolTexts,
    TextFeatures,
    fit_label_set_head,
)
from star_al.head.neighbours import neighbour_graph
from star_al.types import BoolArray, FloatArray

N, LABELS = 240, 3


def texts(seed: int = 0) -> tuple[FloatArray, BoolArray]:
    """Embeddings that are sums of what their labels add, and the labels."""
    generator = np.random.default_rng(seed)
    adds_L_d = np.random.default_rng(9).standard_normal((LABELS, 16))
    has = generator.random((N, LABELS)) < [0.5, 0.3, 0.15]
    return has @ adds_L_d + 0.8 * generator.standard_normal((N, 16)) + 2, has


def pool(neighbours: bool = True, seed: int = 0) -> tuple[PoolTexts, BoolArray]:
    embeddings, has = texts(seed)
    vectors = embeddings.astype(np.float32)
    return PoolTexts({"encoder": vectors}, {}, neighbour_graph(vectors) if neighbours else None), has


def test_each_label_is_the_logistic_regression_of_scikit_learn() -> None:
    texts_of_pool, has = pool(neighbours=False)
    rows = np.arange(60)
    found = fit_label_set_head(texts_of_pool, rows, has[rows], HeadOptions("encoder", 0))
    for label, head in enumerate(found.heads):
        features = head.reader.features(texts_of_pool).astype(np.float64)
        alpha, sd = head.posterior.strength, head.posterior.bias_sd
        # Two columns share a logit's weights evenly, so that α counts half; the bias has a prior of its own.
        design = np.column_stack([features, np.full(N, sd * np.sqrt(alpha))])
        rival = LogisticRegression(C=2 / alpha, fit_intercept=False, tol=1e-10, max_iter=10_000)
        rival.fit(design[rows], has[rows, label])
        logits = head.logits(features.astype(np.float32), ())
        np.testing.assert_allclose(
            expit(logits[:, 1] - logits[:, 0]), rival.predict_proba(design)[:, 1], atol=2e-3
        )


def test_it_predicts_better_than_chance_and_calibrates_each_label() -> None:
    texts_of_pool, has = pool()
    found = fit_label_set_head(texts_of_pool, np.arange(80), has[:80], HeadOptions("encoder"))
    log_probs = LabelSetPredictor(found, texts_of_pool).predict_pool(np.arange(80, N))[:, 0]
    probs = np.exp(log_probs.reshape(-1, LABELS, 2)[:, :, 1])
    chance = np.random.default_rng(0).random(probs.shape) < has[:80].mean(axis=0)
    right = has[80:]
    assert f1_score(right, probs >= 0.5, average="micro") > f1_score(right, chance, average="micro") + 0.2
    np.testing.assert_allclose(probs.mean(axis=0), right.mean(axis=0), atol=0.08)
    assert len({head.smoothing.temperature for head in found.heads}) > 1  # one a label


def test_a_label_that_nobody_has_stays_possible() -> None:
    texts_of_pool, has = pool()
    none = has[:30].copy()
    none[:, 1] = False
    found = fit_label_set_head(texts_of_pool, np.arange(30), none, HeadOptions("encoder"))
    probs = np.exp(LabelSetPredictor(found, texts_of_pool).predict_pool()[:, 0, 3])
    assert probs.min() > 0 and probs.max() < 0.3


def test_a_saved_head_predicts_the_same(tmp_path: Path) -> None:
    texts_of_pool, has = pool()
    found = fit_label_set_head(texts_of_pool, np.arange(40), has[:40], HeadOptions("encoder"))
    found.save(tmp_path)
    again = FittedLabelSetHead.load(tmp_path)
    for draws in (None, range(3)):
        np.testing.assert_array_equal(
            LabelSetPredictor(found, texts_of_pool).predict_pool(draws=draws, seed=4),
            LabelSetPredictor(again, texts_of_pool).predict_pool(draws=draws, seed=4),
        )


def test_samples_are_functions_of_seed_and_number_and_differ_by_label() -> None:
    texts_of_pool, has = pool()
    found = fit_label_set_head(texts_of_pool, np.arange(40), has[:40], HeadOptions("encoder"))
    predictor = LabelSetPredictor(found, texts_of_pool)
    whole = predictor.predict_pool(draws=range(4), seed=1)
    np.testing.assert_array_equal(
        whole[5:9, 2:], predictor.predict_pool(np.arange(5, 9), draws=range(2, 4), seed=1)
    )
    assert not np.allclose(whole, predictor.predict_pool(draws=range(4), seed=2))
    twins = FittedLabelSetHead((found.heads[0], found.heads[0]))
    drawn = LabelSetPredictor(twins, texts_of_pool).predict_pool(draws=range(1))
    assert not np.allclose(drawn[:, 0, 1], drawn[:, 0, 3])


def test_texts_that_are_not_in_the_pool_are_predicted_by_the_same_functions() -> None:
    texts_of_pool, has = pool()
    alone = replace(texts_of_pool, graph=None)
    found = fit_label_set_head(alone, np.arange(40), has[:40], HeadOptions("encoder", 0))
    predictor = LabelSetPredictor(found, alone)
    other = TextFeatures({"encoder": texts_of_pool.features["encoder"][:7]})
    for draws in (None, range(2)):
        np.testing.assert_allclose(
            predictor.predict_new(other, draws=draws),
            predictor.predict_pool(np.arange(7), draws=draws),
            atol=1e-5,
        )


@pytest.mark.parametrize("names", [True, False])
def test_names_guide_a_label_of_its_own(names: bool) -> None:
    _, has = texts()
    vectors = np.random.default_rng(3).standard_normal((N, 16)).astype(np.float32)  # they say nothing
    similar = 0.1 * has + 0.02 * np.random.default_rng(0).standard_normal(has.shape)
    guided = PoolTexts({"encoder": vectors}, {"label_names": similar} if names else {})
    found = fit_label_set_head(guided, np.arange(6), has[:6], HeadOptions("encoder", 0))
    probs = np.exp(LabelSetPredictor(found, guided).predict_pool()[:, 0].reshape(N, LABELS, 2)[:, :, 1])
    assert (roc_auc_score(has, probs) > 0.8) is names
