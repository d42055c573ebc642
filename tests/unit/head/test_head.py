"""Fit, save, load and predict, end to end on made-up texts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.special import log_softmax, softmax
from threadpoolctl import threadpool_limits

from star_al.errors import ModelError
from star_al.head import (
    Examples,
    FittedHead,
    HeadOptions,
    HeadPredictor,
    Neighbours,
    PoolTexts,
    TextFeatures,
    fit_head,
)
from star_al.types import FloatArray
from support.head_data import Clusters, clusters


def _accuracy(data: Clusters, n: int, options: HeadOptions | None = None) -> float:
    head = fit_head(data.pool, data.examples(n), _labels(data), options or HeadOptions())
    predicted = HeadPredictor(head, data.pool).predict_new(data.new)[:, 0].argmax(axis=1)
    return float((predicted == data.new_labels_N).mean())


def _labels(data: Clusters) -> int:
    return int(data.labels_P.max()) + 1


def test_it_learns_from_labels_and_predicts_by_names_without_any() -> None:
    plain = clusters(names=False, neighbours=False)
    named = clusters()
    assert _accuracy(plain, 100) > 0.9
    assert _accuracy(named, 0) > 0.6
    assert _accuracy(named, 100) > 0.9


@pytest.mark.parametrize("n", [1, 2, 3, 5, 10])
def test_few_labels_do_not_make_it_worse_than_the_names_alone(n: int) -> None:
    data = clusters()
    assert _accuracy(data, n) > _accuracy(data, 0) - 0.05


def test_misleading_names_lose_their_weight() -> None:
    data = clusters(misleading=True)
    head = fit_head(data.pool, data.examples(60), 4)
    assert head.offset_weights["label_names"] <= 5
    assert _accuracy(data, 60) > 0.9


def test_neighbours_help_where_texts_of_a_label_are_close_together() -> None:
    data = clusters(names=False, noise=1.5, n=1000)
    without = _accuracy(data, 12, HeadOptions(neighbours=0))
    assert _accuracy(data, 12) >= without


def test_without_labels_and_names_all_labels_are_equally_likely() -> None:
    data = clusters(names=False)
    head = fit_head(data.pool, data.examples(0), 4)
    log_probs = HeadPredictor(head, data.pool).predict_pool()
    np.testing.assert_allclose(np.exp(log_probs), 0.25, atol=1e-6)


def test_two_labels_one_of_which_has_no_example() -> None:
    data = clusters(n_labels=2)
    only = np.flatnonzero(data.labels_P == 1)[:6]
    head = fit_head(data.pool, Examples(only, np.ones(6, dtype=np.int64)), 2)
    probs = np.exp(HeadPredictor(head, data.pool).predict_pool()[:, 0])
    assert np.isfinite(probs).all()
    assert probs[data.labels_P == 0, 0].mean() > probs[data.labels_P == 1, 0].mean()


def test_a_pool_prediction_is_the_definition_written_as_a_loop() -> None:
    data = clusters(n=60)
    head = fit_head(data.pool, data.examples(20), 4)
    assert head.smoothing.neighbours > 0
    features = head.reader.features(data.pool)
    (offset,) = head.reader.offsets(data.pool)
    own = softmax(
        features @ head.weights_r_C + head.bias_C + head.offset_weights["label_names"] * offset, axis=1
    )
    known = own.copy()
    known[:20] = np.eye(4)[data.labels_P[:20]]
    assert data.pool.graph is not None
    for row in range(60):
        near = data.pool.graph.indices_N_k[row, : head.smoothing.neighbours]
        mean = sum(known[j] for j in near) / len(near)
        mixed = (1 - head.smoothing.weight) * own[row] + head.smoothing.weight * mean
        expected = log_softmax(np.log(mixed) / head.smoothing.temperature)
        found = HeadPredictor(head, data.pool).predict_pool(np.array([row]))[0, 0]
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_new_text_equal_to_a_pool_text_is_predicted_by_the_nearest_pool_texts() -> None:
    data = clusters(n=60, neighbours=False)
    head = fit_head(data.pool, data.examples(20), 4)
    assert head.smoothing.neighbours == 0
    same = TextFeatures(data.pool.features, data.pool.offsets)
    predictor = HeadPredictor(head, data.pool)
    np.testing.assert_allclose(predictor.predict_new(same), predictor.predict_pool(), atol=1e-5)


def test_rows_can_be_predicted_in_any_parts() -> None:
    data = clusters()
    predictor = HeadPredictor(fit_head(data.pool, data.examples(30), 4), data.pool)
    rows = np.array([7, 3, 250])
    for draws in (None, range(3)):
        whole = predictor.predict_pool(draws=draws)
        np.testing.assert_allclose(predictor.predict_pool(rows, draws=draws), whole[rows], atol=1e-6)


def test_a_sample_is_one_function_of_seed_and_number() -> None:
    data = clusters()
    head = fit_head(data.pool, data.examples(30), 4)
    predictor = HeadPredictor(head, data.pool)
    many = predictor.predict_pool(draws=range(20), seed=3)
    few = HeadPredictor(head, data.pool).predict_pool(draws=range(17, 19), seed=3)
    np.testing.assert_array_equal(few, many[:, 17:19])
    assert not np.allclose(many, predictor.predict_pool(draws=range(20), seed=4))
    np.testing.assert_allclose(np.exp(many).sum(axis=2), 1, atol=1e-9)


def _entropy(probs: FloatArray) -> FloatArray:
    entropy: FloatArray = -(probs * np.log(np.maximum(probs, 1e-300))).sum(axis=-1)
    return entropy


@pytest.mark.parametrize(("prototypes", "least"), [(False, 0.05), (True, 0.02)])
def test_samples_differ_and_their_mean_is_as_confident_as_the_prediction(
    prototypes: bool, least: float
) -> None:
    data = clusters(noise=1.5)
    options = HeadOptions(prototypes=prototypes)  # they leave less to learn from labels, and less open
    predictor = HeadPredictor(fit_head(data.pool, data.examples(40), 4, options), data.pool)
    samples = np.exp(predictor.predict_new(data.new, draws=range(64)))
    mean = samples.mean(axis=1)
    prediction = np.exp(predictor.predict_new(data.new)[:, 0])
    assert mean.max(axis=1).mean() == pytest.approx(prediction.max(axis=1).mean(), abs=0.03)
    bald = _entropy(mean) - _entropy(samples).mean(axis=1)
    share = bald.mean() / _entropy(mean).mean()
    assert least < share < 0.95


def test_more_labels_narrow_the_posterior() -> None:
    data = clusters(noise=1.5)
    spread = []
    for n in (20, 250):
        weights_S_r_C, _ = fit_head(data.pool, data.examples(n), 4).posterior.deviations(0, seed=0)
        spread.append(float(weights_S_r_C.std()))
    assert spread[1] < spread[0]


def test_the_same_arguments_write_the_same_bytes_whatever_the_number_of_threads(tmp_path: Path) -> None:
    data = clusters()
    for name, threads in (("one", 1), ("two", 2)):
        (tmp_path / name).mkdir()
        with threadpool_limits(threads):
            fit_head(data.pool, data.examples(50), 4).save(tmp_path / name)
    for file in ("head.safetensors", "head.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_a_head_is_read_as_it_was_written(tmp_path: Path) -> None:
    data = clusters()
    head = fit_head(data.pool, data.examples(50), 4)
    head.save(tmp_path)
    again = FittedHead.load(tmp_path)
    assert again.record == head.record
    for draws in (None, range(2)):
        np.testing.assert_array_equal(
            HeadPredictor(again, data.pool).predict_new(data.new, draws=draws),
            HeadPredictor(head, data.pool).predict_new(data.new, draws=draws),
        )


@pytest.mark.parametrize("damage", ["missing", "cut", "other_version", "nan"])
def test_a_damaged_head_is_refused(tmp_path: Path, damage: str) -> None:
    data = clusters()
    head = fit_head(data.pool, data.examples(20), 4)
    head.save(tmp_path)
    arrays, record = tmp_path / "head.safetensors", tmp_path / "head.json"
    if damage == "missing":
        record.unlink()
    elif damage == "cut":
        arrays.write_bytes(arrays.read_bytes()[:-10])
    elif damage == "other_version":
        record.write_text(json.dumps(json.loads(record.read_text()) | {"version": 99}))
    else:
        head.bias_C[0] = np.nan
        head.save(tmp_path)
    with pytest.raises(ModelError, match="damaged"):
        FittedHead.load(tmp_path)


def test_features_are_chosen_by_held_out_likelihood() -> None:
    data = clusters(names=False, neighbours=False)
    noise = np.random.default_rng(5).standard_normal((300, 20)).astype(np.float32)
    telling = data.pool.features["encoder"]
    for encoder, model, chosen in ((telling, noise, "encoder"), (noise, telling, "model")):
        pool = PoolTexts({"encoder": encoder, "model": model})
        record = fit_head(pool, data.examples(100), 4).record
        assert record["features"] == chosen
        assert set(record["scores"]) == {"encoder", "model", "both"}  # type: ignore[arg-type]


def test_both_features_are_read_side_by_side() -> None:
    data = clusters(names=False, neighbours=False)
    encoder = data.pool.features["encoder"]
    pool = PoolTexts({"encoder": encoder[:, :10], "model": encoder[:, 10:]})
    new = data.new.features["encoder"]
    texts = TextFeatures({"encoder": new[:, :10], "model": new[:, 10:]})
    head = fit_head(pool, data.examples(100), 4, HeadOptions(features="both"))
    predicted = HeadPredictor(head, pool).predict_new(texts)[:, 0].argmax(axis=1)
    assert (predicted == data.new_labels_N).mean() > 0.9


def test_answers_that_disagree_about_a_text_share_its_label() -> None:
    examples = Examples(np.array([4, 2, 4]), np.array([0, 1, 2]), np.array([1.0, 0.0, 3.0]))
    rows, probs = examples.fixed(3)
    assert rows.tolist() == [4]
    np.testing.assert_allclose(probs, [[0.25, 0, 0.75]])


@pytest.mark.parametrize(
    ("rows", "targets", "labels", "message"),
    [([300], [0], 4, "not in the pool"), ([0], [4], 4, "not one of 4"), ([0], [0], 1, "two labels")],
)
def test_impossible_examples_are_refused(
    rows: list[int], targets: list[int], labels: int, message: str
) -> None:
    data = clusters(names=False)
    with pytest.raises(ValueError, match=message):
        fit_head(data.pool, Examples(np.array(rows), np.array(targets)), labels)


def test_held_out_labels_do_not_leak_through_neighbours() -> None:
    """Each text is its own neighbour and labels are random: with leaks, neighbours would be a perfect guide."""
    generator = np.random.default_rng(0)
    texts = generator.standard_normal((60, 16)).astype(np.float32)
    labels = generator.integers(0, 2, 60)
    graph = Neighbours(np.arange(60, dtype=np.int32)[:, None], np.ones((60, 1), dtype=np.float32))
    pool = PoolTexts({"encoder": texts}, graph=graph)
    record = fit_head(pool, Examples(np.arange(60), labels), 2).record
    assert float(str(record["held_out_nll"])) > 0.6
