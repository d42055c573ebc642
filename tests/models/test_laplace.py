"""Laplace-LoRA: curvature of a language model, samples by merged weights, its file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from star_al.config.spec import AdapterSpec, LaplaceSpec
from star_al.errors import ModelError
from star_al.models.adapter_file import LoraWeights, load_adapter
from star_al.models.backbone import Backbone, load_backbone
from star_al.models.collate import collate
from star_al.models.likelihood import answer_log_likelihoods, label_log_likelihoods, label_log_probs
from star_al.models.minibatch import Minibatch
from star_al.models.posterior import Training
from star_al.models.posterior.curvature import Curvature, _Layer, _Tokens, curvature, token_cotangents
from star_al.models.posterior.kfac import Block, Evidence
from star_al.models.posterior.laplace import FILE, START_SEED, GaussianAdapter, Laplace, last_block
from star_al.models.posterior.merging import merged
from star_al.models.prompts import Prompt
from star_al.models.target_layers import dense_layers
from support.tiny_model import ARCHITECTURES, build_tiny_model

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")

SINGLE = ((85,), (297,), (71,))
TREE = ((85, 297, 86), (85, 297, 90, 12), (85, 4, 8), (71, 349))  # 85 is in two of three chains
FULL = 64  # a rank that no factor of the tiny model exceeds


def prompt(length: int, labels: tuple[tuple[int, ...], ...] = TREE) -> Prompt:
    generator = torch.Generator().manual_seed(length)
    return Prompt(f"i{length}", tuple(torch.randint(3, 300, (length,), generator=generator).tolist()), labels)


EXAMPLES = [(prompt(length), length % 4) for length in (5, 23, 9, 14, 6)]
PROMPTS = [one for one, _ in EXAMPLES]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_model(tmp_path_factory.mktemp("model"), spread=0.3)


@pytest.fixture(scope="module")
def backbone(folder: Path) -> Backbone:
    return load_backbone(str(folder), revision=None, dtype="float32", device="cpu")


def adapter(backbone: Backbone, *endings: str, seed: int = 0) -> LoraWeights:
    """Return random A and B for the layers whose names end like this, by default for all layers."""
    generator = torch.Generator().manual_seed(seed)
    a, b = {}, {}
    for name, module in dense_layers(backbone.model).items():
        if not endings or name.endswith(endings):
            weight: Any = module.weight
            d_out, d_in = weight.shape
            d_out, d_in = (d_in, d_out) if "Conv1D" in type(module).__name__ else (d_out, d_in)
            a[name] = 0.2 * torch.randn(3, d_in, generator=generator)
            b[name] = 0.2 * torch.randn(d_out, 3, generator=generator)
    return LoraWeights(a, b, scale=1.7)


def curve(backbone: Backbone, weights: LoraWeights, examples: Any = EXAMPLES, **options: Any) -> Curvature:
    spec = AdapterSpec(batch_size=options.pop("batch_size", 8))
    settings: dict[str, Any] = {"layers": sorted(weights.a), "n_kfac": FULL, "seed": 0} | options
    return curvature(Training(backbone, examples, spec, "tiny", 0, None, lambda _: None), weights, **settings)


def dense(block: Block) -> Tensor:
    wide, narrow = block.wide_D_n.double(), block.narrow_r_r.double()
    columns = torch.einsum("ia,jb->ijab", wide, narrow).reshape(block.size, -1)
    return (columns * block.curvature_n_r.flatten().double()) @ columns.T


def scores(backbone: Backbone, weights: LoraWeights, batch: Minibatch) -> Tensor:
    """Score with the given A and B merged into the weights."""
    with (
        torch.no_grad(),
        merged(backbone.model, weights.a, lambda n: (weights.b[n] * weights.scale, weights.a[n])),
    ):
        return label_log_likelihoods(backbone.readout, batch)


def scorer(backbone: Backbone) -> Any:
    return lambda batch: label_log_likelihoods(backbone.readout, batch)


def gaussian(backbone: Backbone, *, precision: float = 25.0, **options: Any) -> GaussianAdapter:
    weights = adapter(backbone)
    return GaussianAdapter(weights, curve(backbone, weights, **options).blocks, precision)


# -- curvature ---------------------------------------------------------------------------------------------


def test_one_item_of_one_token_has_the_true_ggn(backbone: Backbone) -> None:
    """Compare with F = Jᵀ(diag p − ppᵀ)J of A and B by automatic differentiation of the dense layer."""
    weights = adapter(backbone, "v_proj", "up_proj", "down_proj")
    one = prompt(1, SINGLE)
    batch = collate([one], backbone.readout)
    blocks = curve(backbone, weights, [(one, 1)]).blocks
    for name, pair in blocks.items():
        module: Any = dense_layers(backbone.model)[name]
        pristine = module.weight

        def log_probs(a: Tensor, b: Tensor, module: Any = module, pristine: Tensor = pristine) -> Tensor:
            del module.weight
            module.weight = pristine + weights.scale * b @ a
            return label_log_probs(backbone.readout, batch)[0]

        others = {other: 0 for other in weights.a if other != name}
        with merged(backbone.model, others, lambda n: (weights.b[n] * weights.scale, weights.a[n])):
            try:
                at = (weights.a[name], weights.b[name])
                jacobians = torch.autograd.functional.jacobian(log_probs, at)
                p = log_probs(*at).exp()
            finally:
                del module.weight
                module.weight = pristine
        for block, jacobian in zip(pair, (jacobians[0].transpose(1, 2), jacobians[1]), strict=True):
            j = jacobian.reshape(3, -1)
            ggn = j.T @ (p.diag() - p[:, None] * p) @ j
            assert ggn.max() > 1e-3
            torch.testing.assert_close(dense(block).float(), ggn, rtol=1e-3, atol=1e-5 * float(ggn.max()))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_blocks_are_means_of_inputs_times_sums_of_gradients(architecture: str, tmp_path: Path) -> None:
    """Compare one padded batch with sums over items and classes without padding."""
    path = build_tiny_model(tmp_path, architecture=architecture, spread=0.3)
    backbone = load_backbone(str(path), revision=None, dtype="float32", device="cpu")
    weights = adapter(backbone)
    found = curve(backbone, weights)
    modules = dense_layers(backbone.model)
    inputs: dict[str, list[Tensor]] = {name: [] for name in weights.a}
    gradients: dict[str, list[Tensor]] = {name: [] for name in weights.a}
    seen: dict[str, tuple[Tensor, Tensor]] = {}
    handles = [
        modules[name].register_forward_hook(
            lambda _, args, out, name=name: seen.update({name: (args[0], out.requires_grad_())})
        )
        for name in weights.a
    ]
    log_likelihood = 0.0
    with merged(backbone.model, weights.a, lambda n: (weights.b[n] * weights.scale, weights.a[n])):
        for one, column in EXAMPLES:
            log_probs = label_log_probs(backbone.readout, collate([one], backbone.readout))[0]
            log_likelihood += float(log_probs[column].detach())
            for name in weights.a:
                inputs[name].append(seen[name][0].detach().reshape(-1, seen[name][0].shape[-1]).mean(0))
            outputs = [seen[name][1] for name in weights.a]
            for log_prob in log_probs:
                weight = log_prob.detach().exp().sqrt()
                parts = torch.autograd.grad(log_prob, outputs, retain_graph=True)
                for name, part in zip(weights.a, parts, strict=True):
                    gradients[name].append(weight * part.reshape(-1, part.shape[-1]).sum(0))
    for handle in handles:
        handle.remove()
    assert found.log_likelihood == pytest.approx(log_likelihood, rel=1e-5)
    for name, (of_a, of_b) in found.blocks.items():
        x, g = torch.stack(inputs[name]), weights.scale * torch.stack(gradients[name])
        z, u = x @ weights.a[name].T, g @ weights.b[name]
        for block, wide, narrow in ((of_a, x, u), (of_b, g, z)):
            expected = torch.kron(wide.T @ wide, narrow.T @ narrow) / len(EXAMPLES)
            tolerance = 1e-4 * float(expected.abs().max())
            torch.testing.assert_close(dense(block).float(), expected, rtol=1e-3, atol=tolerance)


def test_drawn_tokens_have_the_fisher_information_of_the_vocabulary(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Places are independent, and at each Σ vvᵀ is Wᵀ(diag p − ppᵀ)W."""
    monkeypatch.setattr("star_al.models.posterior.curvature.PASSES", 6000)
    weight = backbone.readout.head.weight.detach()
    hidden = 0.5 * torch.randn(2, weight.shape[1], generator=torch.Generator().manual_seed(0))
    drawn = torch.stack(list(token_cotangents(backbone.readout, hidden, torch.Generator().manual_seed(1))))
    p = backbone.readout.logits(hidden, torch.arange(len(weight))).softmax(dim=-1)
    for place in (0, 1):
        expected = weight.T @ (p[place].diag() - p[place][:, None] * p[place]) @ weight
        found = drawn[:, place].T @ drawn[:, place]
        assert float((found - expected).norm()) < 0.15 * float(expected.norm())
    between = drawn[:, 0].T @ drawn[:, 1]
    assert float(between.norm()) < 0.15 * float((drawn[:, 0].T @ drawn[:, 0]).norm())


def test_the_curvature_is_that_of_the_likelihood_that_was_trained(backbone: Backbone) -> None:
    weights = adapter(backbone)
    spec = AdapterSpec(loss="answer")
    found = curvature(
        Training(backbone, EXAMPLES, spec, "tiny", 0, None, lambda _: None),
        weights,
        layers=sorted(weights.a),
        n_kfac=FULL,
        seed=0,
    )
    with (
        torch.no_grad(),
        merged(backbone.model, weights.a, lambda n: (weights.b[n] * weights.scale, weights.a[n])),
    ):
        answers = answer_log_likelihoods(backbone.readout, collate(PROMPTS, backbone.readout))
    columns = [column for _, column in EXAMPLES]
    assert found.log_likelihood == pytest.approx(float(answers[range(5), columns].sum()), rel=1e-5)
    assert found.log_likelihood < curve(backbone, weights).log_likelihood
    for pair in found.blocks.values():
        assert all(torch.isfinite(dense(block)).all() and dense(block).trace() > 0 for block in pair)


def test_batches_and_packing_do_not_matter(backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = adapter(backbone)
    examples = [*EXAMPLES, (prompt(12, SINGLE), 0), (prompt(7, TREE[1:]), 2)]
    whole = curve(backbone, weights, examples)
    for size, packed in ((1, True), (2, True), (1, False), (8, False)):
        monkeypatch.setattr(backbone.readout, "supports_packing", packed)
        other = curve(backbone, weights, examples, batch_size=size)
        assert other.log_likelihood == pytest.approx(whole.log_likelihood, rel=1e-5)
        for name, pair in whole.blocks.items():
            for left, right in zip(pair, other.blocks[name], strict=True):
                tolerance = 1e-4 * float(left.curvature_n_r.max())
                torch.testing.assert_close(dense(left), dense(right), rtol=1e-3, atol=tolerance)


def test_the_last_block_alone(backbone: Backbone) -> None:
    weights = adapter(backbone)
    last = last_block(weights.a)
    assert len(last) == 7 and all(name.startswith("model.layers.1.") for name in last)
    assert last_block(["h.2.x", "h.10.x", "h.10.y", "head"]) == ["h.10.x", "h.10.y"]
    differentiable = []
    handle = backbone.model.model.layers[0].register_forward_hook(
        lambda _, __, out: differentiable.append(out.requires_grad)
    )
    part = curve(backbone, weights, layers=last)
    handle.remove()
    assert differentiable == [False]
    whole = curve(backbone, weights)
    for name in last:
        for left, right in zip(part.blocks[name], whole.blocks[name], strict=True):
            torch.testing.assert_close(left.curvature_n_r, right.curvature_n_r, rtol=1e-4, atol=1e-6)


# -- samples -----------------------------------------------------------------------------------------------


def test_a_sample_is_one_function(backbone: Backbone) -> None:
    posterior = gaussian(backbone)
    before = {name: tensor.clone() for name, tensor in backbone.model.state_dict().items()}
    results = {}
    for sample in (0, 1, None):
        with posterior.draw(backbone, scorer(backbone), 3, sample) as score, torch.inference_mode():
            together = score(collate(PROMPTS, backbone.readout)).log_softmax(1)
            alone = torch.cat([score(collate([one], backbone.readout)).log_softmax(1) for one in PROMPTS])
        torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-4)
        results[sample] = together
    assert not torch.allclose(results[0], results[1], atol=1e-2)
    plain = scores(backbone, posterior.weights, collate(PROMPTS, backbone.readout)).log_softmax(1)
    assert torch.equal(results[None], plain)
    after = backbone.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_sampling_merges_the_moved_weights(backbone: Backbone) -> None:
    posterior = gaussian(backbone, layers=last_block(adapter(backbone).a))
    assert posterior.shares_prefix
    weights = posterior.weights
    a, b = dict(weights.a), dict(weights.b)
    for name in posterior.blocks:
        step_a, step_b = posterior.step(name, 1, 4)
        a[name], b[name] = a[name] + step_a, b[name] + step_b
    batch = collate(PROMPTS, backbone.readout)
    expected = scores(backbone, LoraWeights(a, b, weights.scale), batch)
    with posterior.draw(backbone, scorer(backbone), 1, 4) as score, torch.inference_mode():
        assert torch.equal(score(batch), expected)


def test_labels_that_a_prompt_lacks_stay_impossible(backbone: Backbone) -> None:
    posterior = gaussian(backbone)
    batch = collate([prompt(9), prompt(12, SINGLE)], backbone.readout)
    with posterior.draw(backbone, scorer(backbone), 0, 0) as score, torch.inference_mode():
        found = score(batch)
    assert (
        torch.isneginf(found[1, 3]) and torch.isfinite(found[0]).all() and torch.isfinite(found[1, :3]).all()
    )


# -- method and file ---------------------------------------------------------------------------------------


def training(backbone: Backbone) -> Training:
    spec = AdapterSpec(rank=3, epochs=2, batch_size=4, learning_rate=1e-2)
    return Training(backbone, EXAMPLES, spec, "tiny", 0, None, lambda _: None)


def fitted(backbone: Backbone, folder: Path, **settings: Any) -> tuple[Laplace, Any]:
    folder.mkdir()
    method = Laplace(LaplaceSpec(kind="laplace", **settings))
    return method, method.fit(training(backbone), folder)


def test_fit_writes_what_load_reads(backbone: Backbone, tmp_path: Path) -> None:
    method, record = fitted(backbone, tmp_path / "a", n_kfac=4)
    assert record["predictive"] == "sampling"
    assert record["prior_precision"] == 1000.0 and record["log_evidence"] < record["log_likelihood"] < 0
    posterior = method.load(tmp_path / "a", record)
    expected = curve(backbone, load_adapter(tmp_path / "a"), n_kfac=4, batch_size=4).blocks
    assert posterior.blocks.keys() == expected.keys() == posterior.weights.a.keys()
    assert posterior.precision == record["prior_precision"]
    for name, pair in expected.items():
        for left, right in zip(pair, posterior.blocks[name], strict=True):
            assert left.curvature_n_r.shape[0] <= 4
            torch.testing.assert_close(dense(left), dense(right))
    again, second = fitted(backbone, tmp_path / "b", n_kfac=4)
    assert second == record
    files = [sorted(path.name for path in (tmp_path / side).iterdir()) for side in "ab"]
    assert files[0] == files[1] and FILE in files[0]
    for name in files[0]:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert again.steps(5, AdapterSpec(epochs=2, batch_size=4)) == 4 + 2


def test_a_given_prior_precision_or_that_of_the_evidence_is_taken(backbone: Backbone, tmp_path: Path) -> None:
    records = {}
    for chosen in (5e3, "evidence"):
        method, record = fitted(backbone, tmp_path / str(chosen), n_kfac=4, prior_precision=chosen)
        taken = record["evidence_precision"] if chosen == "evidence" else chosen
        assert record["prior_precision"] == taken == method.load(tmp_path / str(chosen), record).precision
        records[chosen] = record
    assert records["evidence"]["evidence_precision"] == records[5e3]["evidence_precision"]
    assert records["evidence"]["log_evidence"] > records[5e3]["log_evidence"]


@pytest.mark.parametrize("labels", ["four", "one"])
def test_samples_stay_near_a_well_trained_adapter(backbone: Backbone, labels: str, tmp_path: Path) -> None:
    """Checked with default settings by the mean NLL on the training data."""
    spec = AdapterSpec(rank=4, epochs=40, batch_size=4, learning_rate=1e-2)
    examples = [(prompt(5 + 3 * i), i % 4 if labels == "four" else 2) for i in range(8)]
    method = Laplace(LaplaceSpec(kind="laplace"))
    record = method.fit(Training(backbone, examples, spec, "tiny", 0, None, lambda _: None), tmp_path)
    posterior = method.load(tmp_path, record)
    batch = collate([one for one, _ in examples], backbone.readout)
    columns = torch.tensor([column for _, column in examples])

    def nll(draws: list[int | None]) -> float:
        rows = []
        for sample in draws:
            with posterior.draw(backbone, scorer(backbone), 0, sample) as score, torch.inference_mode():
                rows.append(score(batch).double().log_softmax(1)[range(8), columns])
        return float(torch.tensor(len(draws)).log() - torch.stack(rows).logsumexp(0).mean())

    own = nll([None])
    assert own < 0.3 and nll(list(range(10))) < own + 0.1


def test_a_half_precision_base(tmp_path: Path) -> None:
    """bfloat16 rounds the weights to three digits, and the sample stays the same function."""
    folder = str(build_tiny_model(tmp_path))
    half = load_backbone(folder, revision=None, dtype="bfloat16", device="cpu")
    full = load_backbone(folder, revision=None, dtype="float32", device="cpu")
    posterior = gaussian(full)
    own = curve(half, posterior.weights).blocks
    for name, pair in posterior.blocks.items():
        for left, right in zip(pair, own[name], strict=True):
            assert float((dense(left) - dense(right)).norm() / dense(left).norm()) < 0.2
    results = []
    for backbone in (full, half):
        with posterior.draw(backbone, scorer(backbone), 0, 0) as score, torch.inference_mode():
            results.append(score(collate(PROMPTS, backbone.readout)).log_softmax(1))
    assert float((results[0] - results[1]).abs().mean()) < 0.1 * float(results[0].std())


def test_damage_is_reported(backbone: Backbone, tmp_path: Path) -> None:
    method, record = fitted(backbone, tmp_path / "a", subset="last_layer")
    path = tmp_path / "a" / FILE
    tensors = load_file(path)
    assert {".".join(name.split(".")[:3]) for name in tensors} == {"model.layers.1"}
    key = sorted(tensors)[0]
    for wrong, message in (
        (tensors | {key: torch.full_like(tensors[key], torch.nan)}, f"{key} holds NaN"),
        (tensors | {key: tensors[key][1:]}, "damaged"),
        ({name: tensor for name, tensor in tensors.items() if name != key}, "damaged"),
    ):
        save_file(wrong, path)
        with pytest.raises(ModelError, match=message):
            method.load(tmp_path / "a", record)
    path.unlink()
    with pytest.raises(ModelError, match="damaged or missing"):
        method.load(tmp_path / "a", record)


def test_a_model_that_answers_nan_is_refused(backbone: Backbone) -> None:
    weights = adapter(backbone)
    norm = backbone.model.model.norm.weight
    with torch.no_grad():
        before = norm.clone()
        norm[0] = torch.nan
        try:
            with pytest.raises(ModelError, match="NaN"):
                curve(backbone, weights)
        finally:
            norm.copy_(before)


def test_a_layer_that_reads_no_token_is_refused(backbone: Backbone) -> None:
    weights = adapter(backbone, "v_proj")
    whole = collate(PROMPTS, backbone.readout)
    layer = _Layer("v", weights.a["model.layers.0.self_attn.v_proj"], torch.zeros(16, 3), 1.0, 4)
    with pytest.raises(ModelError, match="does not read each token once"):
        layer._by_token(torch.zeros(7, 32), _Tokens.of(whole))
    with (
        pytest.raises(ModelError, match="does not read each token once"),
        layer.watching(torch.nn.Linear(32, 16), _Tokens.of(whole)),
    ):
        pass


# -- the prior's mean --------------------------------------------------------------------------------------


def record_in(folder: Path, record: Any) -> None:
    (folder / "star_al.json").write_text(json.dumps(record))


def test_the_distance_from_the_start_is_that_of_a_loop_over_all_entries(
    backbone: Backbone, tmp_path: Path
) -> None:
    """The start is what training without steps of any size would leave."""
    _, record = fitted(backbone, tmp_path / "a", prior_mean="start", n_kfac=4)
    method, still = Laplace(LaplaceSpec(kind="laplace", prior_mean="start")), tmp_path / "still"
    still.mkdir()
    unmoved = replace(
        training(backbone), adapter=training(backbone).adapter.model_copy(update={"learning_rate": 1e-30})
    )
    method.fit(unmoved, still)
    start, moved = load_adapter(still), load_adapter(tmp_path / "a")
    assert all(b.abs().max() < 1e-20 for b in start.b.values()) and all(a.any() for a in start.a.values())
    total = 0.0
    for part in ("a", "b"):
        for name, tensor in getattr(moved, part).items():
            before = getattr(start, part)[name].flatten().tolist()
            total += sum((x - x0) ** 2 for x, x0 in zip(tensor.flatten().tolist(), before, strict=True))
    tau = record["prior_precision"]
    blocks = [block for pair in method.load(tmp_path / "a", record).blocks.values() for block in pair]
    expected = Evidence.of(blocks, total, record["log_likelihood"])
    assert record["log_evidence"] == pytest.approx(expected.log(tau), rel=1e-5)
    assert record["evidence_precision"] == pytest.approx(expected.best_precision(), rel=1e-2)


def test_a_prior_on_zero_measures_from_zero_and_the_samples_are_the_same(
    backbone: Backbone, tmp_path: Path
) -> None:
    records = {
        mean: fitted(backbone, tmp_path / mean, prior_mean=mean, n_kfac=4)[1] for mean in ("zero", "start")
    }
    # A starts far from zero, so that seen from there it has moved much farther.
    assert records["zero"]["evidence_precision"] < records["start"]["evidence_precision"]
    # What an earlier version wrote, so that replays write the same bytes.
    assert set(records["zero"]) == set(records["start"]) - {START_SEED}
    assert set(records["zero"]) == {
        "predictive",
        "log_likelihood",
        "prior_precision",
        "log_evidence",
        "evidence_precision",
    }
    files = [(tmp_path / mean / FILE).read_bytes() for mean in records]
    assert files[0] == files[1] and records["zero"]["prior_precision"] == records["start"]["prior_precision"]


def test_a_warm_start_keeps_the_prior_of_its_first_adapter(backbone: Backbone, tmp_path: Path) -> None:
    method, record = fitted(backbone, tmp_path / "a", prior_mean="start", n_kfac=4)
    record_in(tmp_path / "a", record)
    (tmp_path / "b").mkdir()
    later = replace(training(backbone), parent=tmp_path / "a", seed=2**62 + 1)
    assert method.fit(later, tmp_path / "b")[START_SEED] == record[START_SEED] == 0
    fresh = replace(training(backbone), seed=2**62 + 1)
    (tmp_path / "c").mkdir()
    assert method.fit(fresh, tmp_path / "c")[START_SEED] == 2**62 + 1
    record_in(tmp_path / "a", {"kind": "laplace"})
    (tmp_path / "d").mkdir()
    with pytest.raises(ModelError, match=r"star_al\.json.*start_seed"):
        method.fit(later, tmp_path / "d")
