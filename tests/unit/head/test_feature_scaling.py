from __future__ import annotations

import numpy as np
import pytest

from star_al.head import feature_scaling
from star_al.head.feature_scaling import FeatureScaling
from star_al.types import Float32Array


def _features(n: int = 200, d: int = 12) -> Float32Array:
    generator = np.random.default_rng(0)
    mixed = generator.standard_normal((n, d)) @ generator.standard_normal((d, d))
    return (mixed + 5).astype(np.float32)


def test_scaled_features_are_centred_uncorrelated_and_of_mean_squared_length_one() -> None:
    features = _features()
    scaled = FeatureScaling.of(features, 6).apply(features).astype(np.float64)
    assert scaled.shape == (200, 6)
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-5)
    covariance = scaled.T @ scaled / 200
    np.testing.assert_allclose(covariance, np.diag(np.diag(covariance)), atol=1e-5)
    assert np.trace(covariance) == pytest.approx(1, abs=1e-4)


def test_all_components_keep_the_inner_products_of_standardised_features() -> None:
    features = _features()
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    standard = (unit - unit.mean(axis=0)) / unit.std(axis=0)
    scaled = FeatureScaling.of(features, 12).apply(features)
    np.testing.assert_allclose(scaled @ scaled.T, standard @ standard.T / 12, atol=1e-4)


def test_the_length_of_an_embedding_does_not_matter() -> None:
    features = _features()
    scaling = FeatureScaling.of(features)
    np.testing.assert_allclose(scaling.apply(3 * features), scaling.apply(features), atol=1e-5)


def test_a_constant_feature_and_a_single_text_are_no_problem() -> None:
    features = np.hstack([np.zeros((5, 1)), np.eye(5)]).astype(np.float32)
    assert np.isfinite(FeatureScaling.of(features).apply(features)).all()
    assert np.isfinite(FeatureScaling.of(features[:1]).apply(features)).all()


def test_a_randomised_decomposition_of_many_features_is_close_to_the_exact_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    generator = np.random.default_rng(0)
    features = (generator.standard_normal((300, 8)) @ generator.standard_normal((8, 40))).astype(np.float32)
    exact = FeatureScaling.of(features, 5).apply(features)
    monkeypatch.setattr(feature_scaling, "_DENSE", 10)
    close = FeatureScaling.of(features, 5).apply(features)
    np.testing.assert_allclose(close @ close.T, exact @ exact.T, atol=1e-3)


def test_a_large_pool_is_measured_on_evenly_spread_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    features = _features()
    monkeypatch.setattr(feature_scaling, "SAMPLE", 50)
    np.testing.assert_array_equal(
        FeatureScaling.of(features).mean_d, FeatureScaling.of(np.ascontiguousarray(features[::4])).mean_d
    )
