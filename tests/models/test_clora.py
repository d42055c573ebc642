"""C-LoRA: the distribution of E and what it may depend on, samples as functions, training, files."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from star_al.config.spec import AdapterSpec, CampaignSpec, CLoraSpec
from star_al.errors import ModelError
from star_al.models.adapter_file import LoraWeights
from star_al.models.backbone import Backbone, load_backbone
from star_al.models.collate import collate
from star_al.models.likelihood import label_log_likelihoods
from star_al.models.minibatch import Minibatch
from star_al.models.posterior import Training
from star_al.models.posterior.clora import (
    CANDIDATES,
    FALLBACK,
    CLora,
    ContextualAdapter,
    noise_r_r,
)
from star_al.models.posterior.clora_training import ContextualTraining
from star_al.models.posterior.context_network import (
    NETWORKS,
    Context,
    ContextNetwork,
    PromptPositions,
    apply_context,
    divergence,
    load_networks,
)
from star_al.models.prompts import Prompt
from star_al.models.target_layers import dense_layers
from star_al.types import JsonObject
from support.tiny_model import build_tiny_model

CONTEXTS: tuple[Context, Context] = ("sequence", "token")
LABELS = ((5, 6), (5, 7), (8,), (9, 10, 11))  # labels that begin alike, and of several tokens
ADAPTER = AdapterSpec(rank=4, learning_rate=1e-2, epochs=2, batch_size=4, target_modules=("q_proj", "v_proj"))


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    folder = build_tiny_model(tmp_path_factory.mktemp("model"))
    return load_backbone(str(folder), revision=None, dtype="float32", device="cpu")


def prompts(n: int = 10) -> list[Prompt]:
    """Return prompts of 5 to 9 tokens; the last token decides the right label."""
    return [
        Prompt(f"id{i}", (*((31 * i + 7 * j) % 90 + 100 for j in range(4 + i % 5)), 20 + i % 4), LABELS)
        for i in range(n)
    ]


def examples(n: int = 10) -> list[tuple[Prompt, int]]:
    return [(prompt, index % 4) for index, prompt in enumerate(prompts(n))]


def training(backbone: Backbone, n: int = 10, **changes: Any) -> Training:
    whole = Training(backbone, examples(n), ADAPTER, "tiny", 3, None, lambda _: None)
    return dataclasses.replace(whole, **changes)


def spec(**changes: Any) -> CLoraSpec:
    return CLoraSpec.model_validate({"kind": "clora", "kl_weight": 1e-3, "hidden": 16, **changes})


def fitted(backbone: Backbone, folder: Path, context: Context) -> ContextualAdapter:
    method = CLora(spec(context=context))
    return method.load(folder, method.fit(training(backbone), folder))


@pytest.fixture(scope="module")
def posteriors(
    backbone: Backbone, tmp_path_factory: pytest.TempPathFactory
) -> dict[Context, ContextualAdapter]:
    return {context: fitted(backbone, tmp_path_factory.mktemp(context), context) for context in CONTEXTS}


def scores(
    backbone: Backbone, posterior: ContextualAdapter, batches: list[list[Prompt]], sample: int | None
) -> Tensor:
    def score(batch: Minibatch) -> Tensor:
        return label_log_likelihoods(backbone.readout, batch)

    with torch.inference_mode(), posterior.draw(backbone, score, 11, sample) as own:
        rows = [own(collate(batch, backbone.readout)) for batch in batches]
    return torch.cat([row.log_softmax(dim=-1) for row in rows])


# -- the law of E ------------------------------------------------------------------------------------------


def test_divergence_is_that_of_torch() -> None:
    torch.manual_seed(0)
    mu, sigma = torch.randn(3, 2, 4, 4), torch.rand(3, 2, 4, 4) + 0.01
    gaussians = (torch.distributions.Normal(mu, sigma), torch.distributions.Normal(0.0, 0.2))
    expected = torch.distributions.kl_divergence(*gaussians).sum((-2, -1))
    torch.testing.assert_close(divergence(mu, sigma, 0.2), expected)
    assert divergence(torch.zeros(4, 4), torch.full((4, 4), 0.2), 0.2) == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize("std", [0.05, 0.2, 3.0])
def test_a_network_starts_at_the_identity_and_the_priors_width(std: float) -> None:
    network = ContextNetwork(4, 16, std)
    torch.nn.init.zeros_(network.outer.weight)
    mu, sigma = network(torch.randn(7, 4))
    torch.testing.assert_close(mu, torch.eye(4).expand(7, 4, 4))
    torch.testing.assert_close(sigma, torch.full((7, 4, 4), min(std, 0.5)))


def places() -> PromptPositions:
    """Three prompts of 3, 5 and 2 tokens in four sequences."""
    return PromptPositions(torch.tensor([0, 1, 1, 2]), torch.tensor([0, 1, 3]), torch.tensor([3, 5, 2]))


def naive(z: Tensor, network: ContextNetwork, noise: Tensor | None, context: Context) -> Tensor:
    """Compute E z in a loop over sequences and tokens."""
    rows, lengths, first = [0, 1, 1, 2], [3, 5, 2], [0, 1, 3]
    out = torch.zeros_like(z)
    for row, prompt in enumerate(rows):
        for token in range(z.shape[1]):
            if context == "sequence":
                read = z[first[prompt], : lengths[prompt]].mean(dim=0)
            else:
                read = z[row, min(token, lengths[prompt] - 1)]
            mu, sigma = network(read)
            e = mu if noise is None else mu + sigma * (noise if noise.ndim == 2 else noise[prompt])
            out[row, token] = e @ z[row, token]
    return out


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("shape", [None, (4, 4), (3, 4, 4)], ids=str)
def test_forward_is_a_naive_loop(context: Context, shape: tuple[int, ...] | None) -> None:
    torch.manual_seed(1)
    network, z = ContextNetwork(4, 16, 0.2), torch.randn(4, 6, 4)
    noise = None if shape is None else torch.randn(shape)
    ours, _, _ = apply_context(z, network, noise, places(), context)
    torch.testing.assert_close(ours, naive(z, network, noise, context))


@pytest.mark.parametrize("context", CONTEXTS)
def test_gradients(context: Context) -> None:
    torch.manual_seed(2)
    network = ContextNetwork(2, 3, 0.2).double()
    z = torch.randn(4, 6, 2, dtype=torch.float64, requires_grad=True)
    noise = torch.randn(3, 2, 2, dtype=torch.float64)

    def loss(z: Tensor, *parameters: Tensor) -> tuple[Tensor, Tensor]:
        own = dict(zip(dict(network.named_parameters()), parameters, strict=True))
        stand_in = _Stateless(network, own)
        ez, mu, sigma = apply_context(z, stand_in, noise, places(), context)  # type: ignore[arg-type]
        kl = divergence(mu, sigma, 0.2)
        return ez, kl if context == "sequence" else places().mean_B(kl)

    assert torch.autograd.gradcheck(loss, (z, *network.parameters()))


class _Stateless:
    """A network with other parameters."""

    def __init__(self, network: ContextNetwork, parameters: dict[str, Tensor]) -> None:
        self.inner, self._network, self._parameters = network.inner, network, parameters

    def __call__(self, contexts: Tensor) -> Any:
        return torch.func.functional_call(self._network, self._parameters, contexts)


# -- what E reads of a batch -------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "apart"])
def test_places_are_those_of_the_prompts(backbone: Backbone, packed: bool, reading: Any) -> None:
    reading(packed)
    own = PromptPositions.of(collate(prompts(5), backbone.readout))
    assert own.lengths_B.tolist() == [len(prompt.tokens) for prompt in prompts(5)]
    assert own.prompt_rows_R[own.first_rows_B].tolist() == list(range(5))
    assert (len(own.prompt_rows_R) == 5) is packed


@pytest.fixture
def reading(backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Set whether labels are packed behind their prompt."""
    yield lambda packed: monkeypatch.setattr(backbone.readout, "supports_packing", packed)


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("packed", [True, False], ids=["packed", "apart"])
def test_labels_and_padding_do_not_reach_e(
    backbone: Backbone, reading: Any, context: Context, packed: bool
) -> None:
    """E at the prompt tokens must not change with other labels or longer neighbours."""
    reading(packed)
    torch.manual_seed(3)
    network, table = ContextNetwork(4, 16, 0.2), torch.randn(480, 4)
    noise = torch.randn(4, 4)
    seen = []
    for labels in (LABELS, ((40, 41, 42, 43), (44,), (45, 46))):
        batch = collate([dataclasses.replace(p, labels=labels) for p in prompts(4)], backbone.readout)
        own = PromptPositions.of(batch)
        _, mu, sigma = apply_context(table[batch.ids_R_S], network, noise, own, context)
        if context == "token":  # by prompt, and all that follows a prompt as its last token
            for row, prompt in enumerate(own.prompt_rows_R.tolist()):
                last = int(own.lengths_B[prompt]) - 1
                torch.testing.assert_close(mu[row, last:], mu[row, last].expand_as(mu[row, last:]))
            width = max(len(prompt.tokens) for prompt in prompts(4))
            mu, sigma = mu[own.first_rows_B][:, :width], sigma[own.first_rows_B][:, :width]
        seen.append((mu, sigma))
    torch.testing.assert_close(seen[0][0], seen[1][0], atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(seen[0][1], seen[1][1], atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("context", CONTEXTS)
def test_other_lengths_in_the_batch_and_packing_do_not_matter(
    backbone: Backbone, posteriors: dict[Context, ContextualAdapter], reading: Any, context: Context
) -> None:
    posterior = posteriors[context]
    together = scores(backbone, posterior, [prompts(10)], 2)
    longer = Prompt("long", tuple(range(100, 160)), LABELS)
    alone = scores(backbone, posterior, [[prompt, longer] for prompt in prompts(10)], 2)[::2]
    torch.testing.assert_close(alone, together, atol=1e-5, rtol=0)
    reading(False)
    apart = scores(backbone, posterior, [prompts(10)], 2)
    torch.testing.assert_close(apart, together, atol=1e-5, rtol=0)


# -- samples -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("context", CONTEXTS)
def test_a_sample_is_the_formula(
    backbone: Backbone, posteriors: dict[Context, ContextualAdapter], context: Context
) -> None:
    """In the first adapted layer it is W0 x + s·B·E·A x, checked for each item and token."""
    posterior, name = posteriors[context], "model.layers.0.self_attn.v_proj"
    layer: Any = dense_layers(backbone.model)[name]
    batch = collate(prompts(4), backbone.readout)
    got: list[tuple[Tensor, Tensor]] = []

    def score(batch: Minibatch) -> Tensor:
        with torch.no_grad():
            handle = layer.register_forward_hook(lambda _, args, out: got.append((args[0], out)))
            out = label_log_likelihoods(backbone.readout, batch)
            handle.remove()
            return out

    with posterior.draw(backbone, score, 11, 2) as own:
        own(batch)
    ((x, y),) = got
    a, b, s = posterior.weights.a[name], posterior.weights.b[name], posterior.weights.scale
    noise = noise_r_r(4, name, 11, 2)
    for row, prompt in enumerate(prompts(4)):
        length = len(prompt.tokens)
        z = x[row] @ a.T
        for token in range(x.shape[1]):
            read = z[:length].mean(0) if context == "sequence" else z[min(token, length - 1)]
            mu, sigma = posterior.networks[name](read)
            expected = layer.weight @ x[row, token] + s * b @ ((mu + sigma * noise) @ z[token])
            torch.testing.assert_close(y[row, token], expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("context", CONTEXTS)
def test_samples_are_functions_of_seed_and_number_and_leave_the_model(
    backbone: Backbone, posteriors: dict[Context, ContextualAdapter], context: Context
) -> None:
    posterior, batches = posteriors[context], [prompts()]
    before = {name: tensor.clone() for name, tensor in backbone.model.state_dict().items()}
    first, other, mean = (scores(backbone, posterior, batches, k) for k in (0, 1, None))
    assert torch.equal(scores(backbone, posterior, batches, 0), first)
    assert not torch.allclose(first, other, atol=1e-4) and not torch.allclose(first, mean, atol=1e-4)
    assert all(torch.equal(before[name], t) for name, t in backbone.model.state_dict().items())
    assert not any(module._forward_hooks for module in backbone.model.modules())


def test_noise_is_standard_normal_and_differs_between_layers() -> None:
    noise = torch.stack([noise_r_r(8, f"layer{i}", 0, k) for i in range(20) for k in range(20)])
    assert abs(float(noise.mean())) < 0.02 and abs(float(noise.std()) - 1) < 0.02
    assert not torch.equal(noise_r_r(8, "a", 0, 0), noise_r_r(8, "b", 0, 0))


def test_the_mean_over_samples_approaches_the_integral() -> None:
    """For one entry of E and one logit, compare the sampled mean of sigmoid(a·e) with Gauss-Hermite quadrature."""
    torch.manual_seed(4)
    network = ContextNetwork(1, 16, 0.2)
    z = torch.full((1, 3, 1), 2.5)
    where = PromptPositions(torch.tensor([0]), torch.tensor([0]), torch.tensor([3]))
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    values = [apply_context(z, network, torch.tensor([[float(n)]]), where, "sequence")[0] for n in nodes]
    integral = np.average([torch.sigmoid(v[0, 0, 0]).item() for v in values], weights=weights)
    errors = []
    for count in (20, 2000):
        draws = [noise_r_r(1, "layer", 0, k) for k in range(count)]
        values = [apply_context(z, network, noise, where, "sequence")[0] for noise in draws]
        errors.append(abs(np.mean([torch.sigmoid(v[0, 0, 0]).item() for v in values]) - integral))
    mean = torch.sigmoid(apply_context(z, network, None, where, "sequence")[0][0, 0, 0]).item()
    assert errors[1] < 2e-3 and errors[1] < errors[0] and errors[1] < abs(mean - integral)


# -- training ----------------------------------------------------------------------------------------------


def digest(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("context", CONTEXTS)
def test_same_seed_same_bytes_and_reload_is_bit_identical(
    backbone: Backbone, tmp_path: Path, context: Context
) -> None:
    method, folders = CLora(spec(context=context)), [tmp_path / name for name in "abc"]
    for folder, seed in zip(folders, (3, 3, 4), strict=True):
        folder.mkdir()
        method.fit(training(backbone, seed=seed), folder)
    assert digest(folders[0]) == digest(folders[1]) != digest(folders[2])
    record = {"context": context}
    left, right = (scores(backbone, method.load(folder, record), [prompts()], 1) for folder in folders[:2])
    assert torch.equal(left, right)


@pytest.mark.parametrize("context", CONTEXTS)
def test_training_learns(backbone: Backbone, tmp_path: Path, context: Context) -> None:
    adapter = ADAPTER.model_copy(update={"epochs": 15})
    method = CLora(spec(context=context, kl_weight=1e-4))
    method.fit(training(backbone, 12, adapter=adapter), tmp_path)
    posterior = method.load(tmp_path, {"context": context})
    columns = torch.tensor([column for _, column in examples(12)])
    batch = collate(prompts(12), backbone.readout)
    base = label_log_likelihoods(backbone.readout, batch).log_softmax(-1).gather(1, columns[:, None])
    own = scores(backbone, posterior, [prompts(12)], None).gather(1, columns[:, None])
    assert -own.mean() < -base.mean() / 2


def test_both_optimisers_step(backbone: Backbone, tmp_path: Path) -> None:
    """SGD's step size moves only the networks, AdamW's only A and B."""
    start = tmp_path / "start"
    start.mkdir()
    CLora(spec()).fit(training(backbone), start)
    fits: dict[tuple[float, float], tuple[dict[str, Tensor], dict[str, Tensor]]] = {}
    for rates in ((1e-2, 1e-9), (1e-9, 1e-2)):
        folder = tmp_path / str(rates)
        folder.mkdir()
        adapter = ADAPTER.model_copy(update={"learning_rate": rates[0], "weight_decay_b": 0.0})
        CLora(spec(learning_rate=rates[1])).fit(training(backbone, adapter=adapter, parent=start), folder)
        fits[rates] = load_file(folder / NETWORKS), load_file(folder / "adapter_model.safetensors")
    networks, adapter_ = load_file(start / NETWORKS), load_file(start / "adapter_model.safetensors")
    (still, moved), (moved_networks, still_adapter) = fits[1e-2, 1e-9], fits[1e-9, 1e-2]
    assert all(torch.allclose(networks[name], still[name], atol=1e-6) for name in networks)
    assert all(torch.allclose(adapter_[name], still_adapter[name], atol=1e-5) for name in adapter_)
    assert all((adapter_[name] - moved[name]).abs().max() > 1e-3 for name in adapter_)
    assert all(
        (networks[name] - moved_networks[name]).abs().max() > 1e-5 for name in networks if "outer" in name
    )


def test_the_kl_draws_each_network_to_the_prior_however_many_there_are(
    backbone: Backbone, tmp_path: Path
) -> None:
    """A heavy KL must move every layer's μ towards 0 by about a whole SGD step each time."""
    adapter = ADAPTER.model_copy(update={"target_modules": "all-linear", "epochs": 4})
    CLora(spec(kl_weight=1.0, learning_rate=0.05)).fit(training(backbone, adapter=adapter), tmp_path)
    for network in load_networks(tmp_path, weights_of(tmp_path)).values():
        diagonal = network.outer.bias[:16].view(4, 4).diagonal()
        assert 0.3 < float(diagonal.mean()) < 0.95


def test_the_penalty_is_a_mean_over_prompts_of_sums_over_layers(backbone: Backbone) -> None:
    extension = ContextualTraining(spec(prior_std=0.3, kl_weight=0.5), 0.5, 0, {})
    extension.networks = {name: ContextNetwork(4, 8, 0.3) for name in ("one", "two")}
    batch = collate(prompts(3), backbone.readout)
    extension.before_forward(batch)
    z = torch.randn(*batch.ids_R_S.shape, 4)
    expected = 0.0
    for name, network in extension.networks.items():
        extension.branch(name, z)
        for row, prompt in enumerate(prompts(3)):
            mu, sigma = network(z[row, : len(prompt.tokens)].mean(0))
            expected += divergence(mu, sigma, 0.3).item()
    assert extension.penalty().item() == pytest.approx(0.5 * expected / 3, rel=1e-5)


def test_noise_in_training_is_drawn_once_a_prompt(backbone: Backbone, reading: Any) -> None:
    reading(False)
    extension = ContextualTraining(spec(), 0.5, 0, {})
    extension.networks = {"one": ContextNetwork(4, 8, 0.2)}
    batch = collate([prompts(1)[0], dataclasses.replace(prompts(1)[0], item_id="twin")], backbone.readout)
    extension.before_forward(batch)
    ez = extension.branch("one", torch.ones(*batch.ids_R_S.shape, 4))
    half = len(ez) // 2
    assert torch.allclose(ez[:half], ez[0].expand_as(ez[:half])) and not torch.allclose(ez[0], ez[half])


def held_out(record: JsonObject) -> Any:
    """Result of each candidate on labels that it was not trained on."""
    return record["held_out"]


def test_the_weight_is_chosen_on_held_out_labels(backbone: Backbone, tmp_path: Path) -> None:
    seen: list[int] = []
    method = CLora(spec(kl_weight="auto", samples=2))
    record = method.fit(training(backbone, 40, advance=seen.append), tmp_path)
    tried = {row["kl_weight"]: row["nll"] for row in held_out(record)}
    assert tuple(tried) == CANDIDATES and record["kl_weight"] == min(tried, key=lambda w: tried[w])
    assert sum(seen) == method.steps(40, ADAPTER) == 2 * 10 + len(CANDIDATES) * (2 * 8 + 2 * 2)


def test_a_candidate_that_diverges_counts_as_infinite(
    backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = iter([float("nan"), float("inf")])
    monkeypatch.setattr("star_al.models.posterior.clora.predictive_loss", lambda *_: next(losses, 0.5))
    method = CLora(spec(kl_weight="auto"))
    record = method.fit(training(backbone, 40), tmp_path)
    assert record["kl_weight"] == CANDIDATES[2]
    assert [row["nll"] for row in held_out(record)] == [None, None, 0.5]

    whole = CLora._fit

    def fit(self: CLora, part: Training, folder: Path, weight: float) -> None:
        if weight == CANDIDATES[0]:
            raise ModelError("training diverged")
        whole(self, part, folder, weight)

    monkeypatch.setattr(CLora, "_fit", fit)
    record = method.fit(training(backbone, 40), tmp_path)
    assert record["kl_weight"] == CANDIDATES[1]
    assert [row["nll"] for row in held_out(record)] == [None, 0.5, 0.5]


def test_all_candidates_diverging_is_an_error(
    backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("star_al.models.posterior.clora.predictive_loss", lambda *_: float("nan"))
    with pytest.raises(ModelError, match=r"NaN with every .*posterior\.learning_rate"):
        CLora(spec(kl_weight="auto")).fit(training(backbone, 40), tmp_path)
    diverging = ADAPTER.model_copy(update={"learning_rate": 1e30})
    with pytest.raises(ModelError, match=r"diverged.*adapter\.learning_rate"):
        CLora(spec(kl_weight="auto")).fit(training(backbone, 40, adapter=diverging), tmp_path)


def test_networks_that_the_last_step_broke_are_not_saved(
    backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("star_al.models.posterior.clora_training.LONGEST_GRADIENT", float("nan"))
    one_step = ADAPTER.model_copy(update={"epochs": 1, "batch_size": 16, "min_steps": 1})
    with pytest.raises(ModelError, match=r"context network of layer .* Lower posterior\.learning_rate"):
        CLora(spec()).fit(training(backbone, adapter=one_step), tmp_path)
    assert not (tmp_path / NETWORKS).exists()


def test_few_labels_are_not_held_out(backbone: Backbone, tmp_path: Path) -> None:
    method = CLora(spec(kl_weight="auto"))
    record = method.fit(training(backbone, 10), tmp_path)
    assert record == {"context": "sequence", "kl_weight": FALLBACK, "held_out": []}
    assert method.steps(10, ADAPTER) == 6


def test_a_warm_start_takes_the_networks_too(backbone: Backbone, tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
    CLora(spec(learning_rate=1.0)).fit(training(backbone), tmp_path / "a")
    still = ADAPTER.model_copy(update={"learning_rate": 1e-9})
    method = CLora(spec(learning_rate=1e-9))
    method.fit(training(backbone, parent=tmp_path / "a", adapter=still, seed=9), tmp_path / "b")
    first, second = (load_file(tmp_path / name / NETWORKS) for name in "ab")
    assert all(torch.allclose(first[name], second[name], atol=1e-6) for name in first)
    other = CLora(spec(hidden=8))
    with pytest.raises(ModelError, match=r"warm start: .* layer model\.layers\.0.*warm_start: false"):
        other.fit(training(backbone, parent=tmp_path / "a"), tmp_path / "b")


# -- refusals ----------------------------------------------------------------------------------------------


def weights_of(folder: Path) -> LoraWeights:
    from star_al.models.adapter_file import load_adapter

    return load_adapter(folder)


@pytest.mark.parametrize("damage", ["nan", "missing", "size", "garbage", "gone"])
def test_damaged_networks_are_refused(backbone: Backbone, tmp_path: Path, damage: str) -> None:
    CLora(spec()).fit(training(backbone), tmp_path)
    path = tmp_path / NETWORKS
    tensors = load_file(path)
    name = "model.layers.1.self_attn.v_proj.outer.weight"
    if damage == "nan":
        tensors[name][0, 0] = float("nan")
    if damage == "missing":
        del tensors[name]
    if damage == "size":
        tensors[name] = tensors[name][:-1].contiguous()
    save_file(tensors, path)
    if damage == "garbage":
        path.write_bytes(b"garbage")
    if damage == "gone":
        path.unlink()
    message = (
        "damaged or missing" if damage in ("garbage", "gone") else r"model\.layers\.1\.self_attn\.v_proj"
    )
    with pytest.raises(ModelError, match=message):
        load_networks(tmp_path, weights_of(tmp_path))


def test_another_model_is_refused(
    posteriors: dict[Context, ContextualAdapter], tmp_path: Path, backbone: Backbone
) -> None:
    posterior = posteriors["sequence"]
    folder = build_tiny_model(tmp_path / "m", architecture="gpt2")
    other = load_backbone(str(folder), revision=None, dtype="float32", device="cpu")
    with pytest.raises(ModelError, match=r"layer model\.layers\.0\.self_attn\.q_proj is not in the model"):
        scores(other, posterior, [prompts()], 0)
    name = next(iter(posterior.weights.b))
    smaller = {**posterior.weights.b, name: posterior.weights.b[name][:-1]}
    with pytest.raises(ModelError, match="has another size"):
        cut = dataclasses.replace(posterior, weights=dataclasses.replace(posterior.weights, b=smaller))
        scores(backbone, cut, [prompts()], 0)


def test_a_layer_that_does_not_get_whole_texts_is_refused() -> None:
    for x in (torch.zeros(24, 8), torch.zeros(3, 6, 8)):
        with pytest.raises(ModelError, match=r"layer router does not get them.*adapter\.target_modules"):
            places().check("router", x)


def test_gpt2_layers_are_adapted_too(tmp_path: Path) -> None:
    folder = build_tiny_model(tmp_path / "m", architecture="gpt2")
    other = load_backbone(str(folder), revision=None, dtype="float32", device="cpu")
    adapter = ADAPTER.model_copy(update={"target_modules": "auto"})
    method = CLora(spec())
    posterior = method.load(tmp_path, method.fit(training(other, adapter=adapter), tmp_path))
    assert not torch.allclose(
        scores(other, posterior, [prompts()], 0), scores(other, posterior, [prompts()], 1)
    )


def test_it_is_one_line_of_a_campaign() -> None:
    from star_al.app.language_learners import posterior_method

    campaign: dict[str, Any] = {
        "name": "x",
        "data": {"path": "p"},
        "task": {"kind": "classification", "labels": ["a", "b"]},
        "model": {"name": "m"},
        "posterior": {"kind": "clora"},
        "annotator": {"kind": "oracle", "gold": "g"},
    }
    assert isinstance(posterior_method(CampaignSpec.model_validate(campaign).posterior), CLora)
