"""A head for multiple choice against naive references."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize

from star_al.errors import ModelError
from star_al.head import (
    SIMILARITY,
    ChoicePredictor,
    ChoiceTexts,
    FittedChoiceHead,
    HeadOptions,
    choice_zero_shot,
    fit_choice_head,
)
from star_al.head.choice_inputs import by_question
from star_al.head.choice_scaling import ChoiceScaling
from star_al.head.conditional_logit import ConditionalLogit
from star_al.types import FloatArray, IntArray


def questions(n: int = 120, seed: int = 0, d: int = 6) -> tuple[ChoiceTexts, IntArray]:
    """Questions of two to four options; the right one is that with the largest first feature, mostly."""
    generator = np.random.default_rng(seed)
    counts_N = generator.integers(2, 5, n)
    rows = int(counts_N.sum())
    features = generator.standard_normal((rows, d)).astype(np.float32)
    similarities = 0.2 * generator.standard_normal(rows)
    texts = ChoiceTexts(counts_N, {"encoder": features}, {SIMILARITY: similarities})
    lengths = np.linalg.norm(features, axis=1)
    logits = by_question(
        8.0 * features[:, 0] / lengths + generator.gumbel(size=rows), texts.present_N_C, -np.inf
    )
    return texts, logits.argmax(axis=1)


def problem(n: int = 25) -> tuple[ConditionalLogit, FloatArray]:
    texts, targets_N = questions(n, d=3)
    present = texts.present_N_C
    features = by_question(texts.features["encoder"].astype(np.float64), present, 0.0)
    return ConditionalLogit(features, present, targets_N), by_question(
        texts.offsets[SIMILARITY], present, 0.0
    )


def naive_loss(weights: FloatArray, given: ConditionalLogit, strength: float, offsets: FloatArray) -> float:
    """The definition, question by question and option by option."""
    total = 0.5 * strength * float(weights @ weights)
    for row, target in enumerate(given.targets_n):
        options = np.flatnonzero(given.present_n_C[row])
        logits = [float(given.features_n_C_r[row, c] @ weights + offsets[row, c]) for c in options]
        total -= logits[int(target)] - np.log(sum(np.exp(logits)))
    return total


def test_the_fit_is_that_of_a_general_minimiser() -> None:
    given, offsets = problem()
    expected = minimize(naive_loss, np.zeros(3), args=(given, 0.5, offsets), tol=1e-10).x
    np.testing.assert_allclose(given.fit(0.5, offsets), expected, atol=1e-4)
    rows = np.arange(0, 25, 2)
    part = ConditionalLogit(given.features_n_C_r[rows], given.present_n_C[rows], given.targets_n[rows])
    expected = minimize(naive_loss, np.zeros(3), args=(part, 0.5, offsets[rows]), tol=1e-10).x
    np.testing.assert_allclose(given.fit(0.5, offsets, rows=rows, start=np.ones(3)), expected, atol=1e-4)


def test_the_precision_is_the_curvature_of_the_loss() -> None:
    given, offsets = problem()
    weights, step = given.fit(0.5, offsets), 1e-4
    shifts = step * np.eye(3)

    def loss(at: FloatArray) -> float:
        return naive_loss(at, given, 0.5, offsets)

    dense = [
        [
            loss(weights + a + b) - loss(weights + a - b) - loss(weights - a + b) + loss(weights - a - b)
            for b in shifts
        ]
        for a in shifts
    ]
    expected = np.array(dense) / (4 * step**2)
    np.testing.assert_allclose(given.precision(weights, 0.5, offsets), expected, atol=1e-4)


def test_samples_have_the_posterior_covariance_and_are_coherent() -> None:
    texts, targets_N = questions(60)
    head = fit_choice_head(texts, np.arange(40), targets_N[:40], HeadOptions())
    drawn_K_r = head.samples(range(4000), 1)
    np.testing.assert_allclose(
        np.cov(drawn_K_r.T) @ head.precision_r_r, np.eye(len(head.weights_r)), atol=0.15
    )
    np.testing.assert_array_equal(head.samples(range(7, 9), 1), drawn_K_r[7:9])
    predictor = ChoicePredictor(head, texts)
    few, one = (predictor.predict_pool(draws=draws, seed=3) for draws in (range(4), range(2, 3)))
    np.testing.assert_allclose(few[:, 2:3], one, atol=1e-9)
    there = np.isfinite(few[:, 0])
    assert np.abs(few[:, 0][there] - few[:, 1][there]).max() > 1e-3


def test_a_head_learns_and_predicts_questions_it_has_not_seen() -> None:
    texts, targets_N = questions(400)
    head = fit_choice_head(texts, np.arange(150), targets_N[:150], HeadOptions())
    predictor = ChoicePredictor(head, texts)
    log_probs = predictor.predict_pool(np.arange(150, 400))[:, 0]
    assert (log_probs.argmax(axis=1) == targets_N[150:]).mean() > 0.7
    new, answers = questions(200, seed=1)
    found = predictor.predict_new(new)[:, 0]
    assert (found.argmax(axis=1) == answers).mean() > 0.7
    np.testing.assert_array_equal(np.isneginf(found), ~new.present_N_C)
    np.testing.assert_allclose(np.exp(found).sum(axis=1), 1)
    zero_shot = choice_zero_shot(new.offsets[SIMILARITY], new.counts_N)
    assert (zero_shot.argmax(axis=1) == answers).mean() < 0.6


def test_a_prediction_is_the_softmax_of_weighted_features_and_offsets() -> None:
    texts, targets_N = questions(60)
    head = fit_choice_head(texts, np.arange(40), targets_N[:40], HeadOptions())
    found = ChoicePredictor(head, texts).predict_pool(np.array([50]))[0, 0]
    rows = texts.rows_of(np.array([50]))
    logits = []
    for row in rows:
        features = texts.features["encoder"][row].astype(np.float64)
        scaled = features / np.linalg.norm(features) @ head.scalings["encoder"].matrix_d_r
        similarity = texts.offsets[SIMILARITY][row]
        logits.append(
            (scaled @ head.weights_r + head.offset_weights[SIMILARITY] * similarity) / head.temperature
        )
    expected = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose(np.exp(found[: len(rows)]), expected, atol=1e-9)


def test_a_prediction_does_not_depend_on_what_is_predicted_with_it() -> None:
    texts, targets_N = questions(60)
    predictor = ChoicePredictor(fit_choice_head(texts, np.arange(40), targets_N[:40], HeadOptions()), texts)
    whole = predictor.predict_pool()
    for row in (0, 31, 59):
        alone = predictor.predict_new(texts.some(np.array([row])))
        np.testing.assert_array_equal(alone[0, 0], whole[row, 0, : texts.counts_N[row]])


def test_the_mean_of_the_samples_is_as_confident_as_the_fitted_weights() -> None:
    texts, targets_N = questions(200)
    predictor = ChoicePredictor(fit_choice_head(texts, np.arange(30), targets_N[:30], HeadOptions()), texts)
    fitted, drawn = predictor.predict_pool(), predictor.predict_pool(draws=range(200), seed=9)
    confident = [np.exp(each).mean(axis=1).max(axis=1).mean() for each in (fitted, drawn)]
    assert confident[0] == pytest.approx(confident[1], abs=0.03)


@pytest.mark.parametrize("n", [0, 1, 3, 30])
def test_few_answers_or_none_are_enough(n: int) -> None:
    texts, targets_N = questions(50)
    head = fit_choice_head(texts, np.arange(n), targets_N[:n], HeadOptions())
    found = ChoicePredictor(head, texts).predict_pool(draws=range(2))
    assert np.isfinite(found[:, :, :2]).all()
    if n == 0:
        expected = choice_zero_shot(texts.offsets[SIMILARITY], texts.counts_N)
        np.testing.assert_allclose(ChoicePredictor(head, texts).predict_pool()[:, 0], expected, atol=1e-9)


def test_the_features_that_tell_more_are_read() -> None:
    texts, targets_N = questions(150)
    noise = np.random.default_rng(5).standard_normal(texts.features["encoder"].shape).astype(np.float32)
    both = ChoiceTexts(texts.counts_N, {"encoder": noise, "model": texts.features["encoder"]}, texts.offsets)
    chosen = fit_choice_head(both, np.arange(100), targets_N[:100], HeadOptions())
    assert chosen.record["features"] == "model"
    named = fit_choice_head(both, np.arange(100), targets_N[:100], HeadOptions(features="both"))
    assert set(named.scalings) == {"encoder", "model"}


def test_scaled_differences_have_length_one() -> None:
    texts, _ = questions(80)
    scaled = ChoiceScaling.of(texts, "encoder").apply(texts.features["encoder"])
    squares = 0.0
    for first, count in zip(texts.starts_N, texts.counts_N, strict=True):
        of_question = scaled[first : first + count]
        squares += np.square(of_question - of_question.mean(axis=0)).sum()
    assert squares / len(scaled) == pytest.approx(1, rel=1e-4)


def test_a_head_is_saved_and_read(tmp_path: Path) -> None:
    texts, targets_N = questions(60)
    one, other = (
        fit_choice_head(texts, np.arange(40), targets_N[:40], HeadOptions(seed=3)) for _ in range(2)
    )
    for name, head in (("a", one), ("b", other)):
        (tmp_path / name).mkdir()
        head.save(tmp_path / name)
    for file in ("head.safetensors", "head.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    read = FittedChoiceHead.load(tmp_path / "a")
    for draws in (None, range(3)):
        np.testing.assert_array_equal(
            ChoicePredictor(read, texts).predict_pool(draws=draws),
            ChoicePredictor(one, texts).predict_pool(draws=draws),
        )
    (tmp_path / "a" / "head.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ModelError, match="damaged or incomplete"):
        FittedChoiceHead.load(tmp_path / "a")


def test_an_answer_that_is_no_option_is_refused() -> None:
    texts, _ = questions(10)
    with pytest.raises(ValueError, match="not one of its question's options"):
        fit_choice_head(texts, np.array([0]), texts.counts_N[:1], HeadOptions())
