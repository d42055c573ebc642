"""TFB: noise that is isotropic in B's column space, as wide as predictions or the training loss allow."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from star_al.artefacts.folder import content_hash
from star_al.errors import ModelError
from star_al.models.adapter_file import LoraWeights, load_adapter
from star_al.models.backbone import Backbone
from star_al.models.learner import LoraLearner
from star_al.models.posterior import Training
from star_al.models.posterior.tfb import (
    LARGEST,
    SMALLEST,
    NoisyAdapter,
    _decomposed,
    column_space,
    largest_within,
)
from star_al.models.target_layers import dense_layers
from star_al.ports import Pool
from star_al.rng import derive_seed
from star_al.types import Item, JsonValue
from support.posteriors import examples, fit, ignore, items, learner, predict
from support.tiny_model import build_tiny_model

LAYER = "model.layers.0.self_attn.q_proj"  # 32 × 32
PARTS = 1.08  # the factor to which σ_q is found


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_model(tmp_path_factory.mktemp("model"))


def tfb(model: Path, tolerance: float = 0.003, **settings: JsonValue) -> LoraLearner:
    posterior = {"kind": "tfb", "samples": 3, "rule": "loss", "tolerance": tolerance} | settings
    return learner(model, posterior, adapter={"epochs": 6})


@pytest.fixture(scope="module")
def trained(model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[LoraLearner, Path]:
    one = tfb(model)
    return one, fit(one, tmp_path_factory.mktemp("adapters") / "a", seed=4)


def record_of(folder: Path) -> dict[str, float]:
    record: dict[str, float] = json.loads((folder / "star_al.json").read_text())
    return record


# -- noise -------------------------------------------------------------------------------------------------


def adapter(b: torch.Tensor, sigma: float) -> NoisyAdapter:
    a = torch.randn(b.shape[1], 32, generator=torch.Generator().manual_seed(1))
    return NoisyAdapter(LoraWeights({LAYER: a}, {LAYER: b}, scale=2.0), {LAYER: column_space(b)}, sigma)


def weight_of(backbone: Backbone) -> torch.Tensor:
    weight = dense_layers(backbone.model)[LAYER].weight
    assert isinstance(weight, torch.Tensor)
    return weight.detach().clone()


def drawn_weight(backbone: Backbone, posterior: NoisyAdapter, sample: int | None) -> torch.Tensor:
    with posterior.draw(backbone, lambda batch: batch.ids_R_S, 3, sample):
        return weight_of(backbone)


def uneven_b() -> torch.Tensor:
    """A (32, 3) matrix with singular values far apart."""
    return torch.randn(32, 3, generator=torch.Generator().manual_seed(0)) @ torch.diag(
        torch.tensor([5.0, 1.0, 1e-3])
    )


def test_a_sample_is_the_papers_parametrisation(model: Path) -> None:
    """It is W = W0 + s·U·diag(d)·(VᵀA + σ_q/d ⊙ E), computed with the division."""
    backbone, b, sigma = tfb(model).backbone, uneven_b(), 0.3
    posterior = adapter(b, sigma)
    u, d, vt = torch.linalg.svd(b, full_matrices=False)
    generator = torch.Generator().manual_seed(derive_seed(3, 7, f"tfb/{LAYER}"))
    noise = torch.randn(3, 32, generator=generator) * sigma / d[:, None]
    expected = u @ torch.diag(d) @ (vt @ posterior.weights.a[LAYER] + noise)
    base = weight_of(backbone)
    torch.testing.assert_close(
        drawn_weight(backbone, posterior, 7), base + 2.0 * expected, rtol=1e-4, atol=1e-4
    )


def test_the_noise_is_isotropic_in_the_column_space(model: Path) -> None:
    """Each column of W has covariance s²σ²·B(BᵀB)⁻¹Bᵀ, two columns have none, and the mean is the adapter."""
    backbone, b, sigma, n = tfb(model).backbone, uneven_b(), 0.3, 400
    posterior = adapter(b, sigma)
    mean = drawn_weight(backbone, posterior, None)
    base = weight_of(backbone)
    torch.testing.assert_close(mean, base + 2.0 * b @ posterior.weights.a[LAYER])
    noise = torch.stack([drawn_weight(backbone, posterior, sample) - mean for sample in range(n)])
    projector = b.double() @ torch.linalg.inv(b.T.double() @ b.double()) @ b.T.double()
    columns = noise.permute(0, 2, 1).reshape(-1, 32).double()
    covariance = columns.T @ columns / len(columns)
    assert (covariance - (2 * sigma) ** 2 * projector).abs().max() < 0.03 * (2 * sigma) ** 2
    across = torch.einsum("nij,nik->jk", noise, noise) / n
    torch.testing.assert_close(
        across, torch.eye(32) * 3 * (2 * sigma) ** 2, atol=0.3 * 3 * (2 * sigma) ** 2, rtol=0
    )
    assert noise.mean(dim=0).abs().max() < 5 * 2 * sigma / math.sqrt(n)


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_there_is_no_noise_where_b_has_no_direction(model: Path, rank: int) -> None:
    backbone = tfb(model).backbone
    left = torch.randn(32, rank, generator=torch.Generator().manual_seed(0))
    b = left @ torch.ones(rank, 4)
    basis = column_space(b)
    assert basis.shape == (32, min(rank, 1))
    torch.testing.assert_close(basis.T @ basis, torch.eye(basis.shape[1]))
    noise = drawn_weight(backbone, adapter(b, 0.5), 0) - drawn_weight(backbone, adapter(b, 0.5), None)
    assert torch.isfinite(noise).all()
    torch.testing.assert_close(basis @ basis.T @ noise, noise, atol=1e-5, rtol=1e-4)
    assert bool(noise.any()) == (rank > 0)


# -- search ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("right", [3e-4, 0.01, 0.7])
def test_the_search_finds_the_root(right: float) -> None:
    found = largest_within(lambda sigma: sigma**2, right**2)
    assert right / PARTS <= found <= right


def test_the_search_at_its_ends() -> None:
    assert LARGEST / PARTS <= largest_within(lambda sigma: 0.0, 1.0) <= LARGEST
    assert largest_within(lambda sigma: sigma, SMALLEST / 2) == 0.0


def naive_loss(one: LoraLearner, folder: Path, draws: range | None) -> float:
    """Mean −log of the mean probability of the right label, from the learner's own predictions."""
    chosen = [item for item, _ in examples()]
    columns = [one._task.column(item, label) for item, label in examples()]
    log_probs = one.predict(folder, chosen, draws=draws, seed=4, advance=ignore).log_probs_N_K_C
    return -float(
        np.mean([np.log(np.exp(row[:, c]).mean()) for row, c in zip(log_probs, columns, strict=True)])
    )


def test_the_record_holds_the_losses_and_the_bound_holds(trained: tuple[LoraLearner, Path]) -> None:
    one, folder = trained
    record = record_of(folder)
    assert record["loss"] == pytest.approx(naive_loss(one, folder, None), rel=1e-5)
    assert record["noisy_loss"] == pytest.approx(naive_loss(one, folder, range(4)), rel=1e-5)
    assert record["noisy_loss"] <= record["loss"] * 1.003 and record["sigma"] > 0


def test_sigma_is_the_largest_of_a_grid(
    trained: tuple[LoraLearner, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, folder = trained
    record = record_of(folder)
    weights = load_adapter(folder)
    bases = {name: column_space(b) for name, b in weights.b.items()}
    limit = record["loss"] * 1.003
    grid = np.geomspace(1e-3, LARGEST, 24)
    ours = {}
    for sigma in grid:
        posterior = NoisyAdapter(weights, bases, float(sigma))
        monkeypatch.setattr(one._method, "load", lambda *_, posterior=posterior: posterior)
        monkeypatch.setattr(one._posteriors, "_loaded", None)
        ours[sigma] = naive_loss(one, folder, range(4))
    largest = max(sigma for sigma, loss in ours.items() if loss <= limit)
    assert record["sigma"] == pytest.approx(
        largest, rel=0.45
    )  # a step of the grid, a factor of 1.35, and one of the search


# -- search by predictions ---------------------------------------------------------------------------------


def pool_of(n: int) -> tuple[Pool, dict[str, Item]]:
    by_id = {item.item_id: item for item in items(n)}
    return Pool(tuple(sorted(by_id)), lambda chosen: [by_id[item_id] for item_id in chosen]), by_id


def changed_share(one: LoraLearner, folder: Path, texts: list[Item], samples: int) -> float:
    """Share of texts whose label the samples change, from the learner's own predictions, text by text."""
    changed = 0
    for item in texts:
        drawn = one.predict(folder, [item], draws=range(samples), seed=4, advance=ignore).log_probs_N_K_C
        plain = one.predict(folder, [item], draws=None, seed=4, advance=ignore).log_probs_N_K_C
        changed += int(np.exp(drawn[0]).sum(axis=0).argmax() != plain[0, 0].argmax())
    return changed / len(texts)


def fit_on_pool(one: LoraLearner, folder: Path, pool: Pool) -> Path:
    folder.mkdir()
    one.fit(examples(), pool=pool, seed=4, folder=folder, parent=None, advance=ignore)
    return folder


def test_noise_by_predictions_changes_as_few_labels_as_it_may_and_twice_as_much_changes_more(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool, by_id = pool_of(48)
    one = tfb(model, 0.1, rule="predictions", texts=1000)
    folder = fit_on_pool(one, tmp_path / "a", pool)
    record = record_of(folder)
    others = [
        item for item_id, item in by_id.items() if item_id not in {item.item_id for item, _ in examples()}
    ]
    assert record["texts"] == len(others) == 40  # none of those that are labelled
    assert record["changed"] == changed_share(one, folder, others, samples=3) <= 0.1
    wider = NoisyAdapter(*_decomposed(folder), record["sigma"] * PARTS**2)
    monkeypatch.setattr(one._method, "load", lambda *_: wider)
    monkeypatch.setattr(one._posteriors, "_loaded", None)
    assert SMALLEST < record["sigma"] < LARGEST and changed_share(one, folder, others, samples=3) > 0.1


def test_the_rule_by_predictions_reads_no_label(model: Path, tmp_path: Path) -> None:
    """The same adapter with other labels gets the same noise."""
    one = tfb(model, 0.05, rule="predictions")
    folder = fit_on_pool(one, tmp_path / "a", pool_of(30)[0])
    refine: Any = one._method.refine  # type: ignore[attr-defined]
    found = []
    for shift in (0, 1):
        prompts = [(one.prompts.encode(item), (n + shift) % 4) for n, item in enumerate(items(8))]
        found.append(refine(Training(one.backbone, prompts, one._spec.adapter, "", 4, None, ignore), folder))
    assert found[0] == found[1] and found[0]["texts"] == 8


def test_a_model_that_answers_nan_has_no_noise_to_search(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "star_al.models.posterior.predictive.label_log_likelihoods",
        lambda _, batch: torch.full((int(batch.prompt_rows_R.max()) + 1, 4), torch.nan),
    )
    with pytest.raises(ModelError, match=r"answers NaN, so that TFB.*adapter\.learning_rate"):
        fit(tfb(model, rule="predictions"), tmp_path / "a")


# -- search by the loss ------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_an_error(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loss: float
) -> None:
    monkeypatch.setattr("star_al.models.posterior.tfb.predictive_loss", lambda *_: loss)
    with pytest.raises(ModelError, match=rf"its own examples is {loss:g}.*adapter\.learning_rate"):
        fit(tfb(model), tmp_path / "a")


def test_a_larger_tolerance_gives_wider_noise(model: Path, tmp_path: Path) -> None:
    sigmas = [
        record_of(fit(tfb(model, tolerance), tmp_path / str(tolerance)))["sigma"] for tolerance in (1e-3, 0.1)
    ]
    assert 0 < sigmas[0] < sigmas[1]


def test_refining_an_ordinary_adapter_is_the_same(
    trained: tuple[LoraLearner, Path], model: Path, tmp_path: Path
) -> None:
    """``fit`` is ordinary training followed by ``refine``, so post-hoc methods can share an adapter."""
    _, folder = trained
    point = fit(learner(model, {"kind": "map"}, adapter={"epochs": 6}), tmp_path / "a", seed=4)
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        assert (point / name).read_bytes() == (folder / name).read_bytes()
    np.testing.assert_array_equal(
        predict(learner(model, {"kind": "map"}), point), predict(tfb(model), folder, mean=True)
    )


@pytest.mark.parametrize("sigma", [None, -1.0, math.inf, math.nan, "wide"], ids=str)
def test_a_record_without_a_width(trained: tuple[LoraLearner, Path], sigma: JsonValue) -> None:
    one, folder = trained
    with pytest.raises(ModelError, match=r"star_al\.json: .*\(sigma is"):
        one._method.load(folder, record_of(folder) | {"sigma": sigma})
    assert content_hash(folder)
