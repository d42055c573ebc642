"""Label likelihoods agree with brute force: one plain forward pass for every (item, label)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from star_al.errors import ModelError
from star_al.models.backbone import Backbone, load_backbone
from star_al.models.collate import collate
from star_al.models.label_tree import is_prefix_free, label_tree
from star_al.models.likelihood import label_log_likelihoods, label_log_probs
from star_al.models.minibatch_plan import plan_minibatches
from star_al.models.prompts import Prompt
from support.tiny_model import ARCHITECTURES, build_tiny_model

LABEL_SETS = {
    "single": ((85,), (297,), (71,)),
    "shared beginnings": ((85, 297, 86), (85, 297, 90, 12), (85, 4), (71, 349)),
    "a label begins another, with end": ((85, 297, 2), (85, 297, 86, 2), (71, 2)),
    "one long": ((5,), (6, 7, 8, 9, 10, 11)),
}


@pytest.fixture(scope="module", params=ARCHITECTURES)
def backbone(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    folder = build_tiny_model(tmp_path_factory.mktemp("models") / request.param, architecture=request.param)
    return load_backbone(str(folder), revision=None, dtype="float32", device="cpu")


def prompt(item: str, length: int, labels: tuple[tuple[int, ...], ...]) -> Prompt:
    generator = torch.Generator().manual_seed(length)
    return Prompt(item, tuple(torch.randint(3, 300, (length,), generator=generator).tolist()), labels)


def brute_force(backbone: Backbone, one: Prompt) -> torch.Tensor:
    """Compute log softmax over labels of Σ log p(token | tokens before) from the model's full logits."""
    totals = []
    for label in one.labels:
        with torch.no_grad():
            logits = backbone.model(torch.tensor([[*one.tokens, *label]])).logits[0].double()
        log_probs = logits.log_softmax(dim=-1)
        start = len(one.tokens) - 1
        totals.append(sum(log_probs[start + offset, token] for offset, token in enumerate(label)))
    return torch.stack(totals).log_softmax(dim=0)


@pytest.mark.parametrize("labels", LABEL_SETS.values(), ids=LABEL_SETS)
@pytest.mark.parametrize("packed", [True, False])
def test_equals_brute_force(backbone: Backbone, labels: tuple[tuple[int, ...], ...], packed: bool) -> None:
    prompts = [prompt(f"i{length}", length, labels) for length in (5, 23, 9)]
    assert_brute_force(backbone, prompts, packed)


@pytest.mark.parametrize("packed", [True, False])
def test_ragged_label_sets_in_one_batch(backbone: Backbone, packed: bool) -> None:
    prompts = [prompt(f"i{n}", 6 + n, labels) for n, labels in enumerate(LABEL_SETS.values())]
    assert_brute_force(backbone, prompts, packed)


def assert_brute_force(backbone: Backbone, prompts: list[Prompt], packed: bool) -> None:
    readout = backbone.readout
    assert readout.supports_packing
    readout.supports_packing = packed
    try:
        with torch.no_grad():
            actual = label_log_probs(readout, collate(prompts, readout))
    finally:
        readout.supports_packing = True
    for row, one in zip(actual, prompts, strict=True):
        expected = brute_force(backbone, one)
        torch.testing.assert_close(row[: len(one.labels)].double(), expected, atol=2e-5, rtol=1e-5)
        assert (row[len(one.labels) :] == -torch.inf).all()


def test_gradient_equals_brute_force(backbone: Backbone) -> None:
    """Training uses the packed form; its gradient must equal that of the plain one."""
    labels = LABEL_SETS["shared beginnings"]
    weight = next(p for name, p in backbone.model.named_parameters() if "layers.0" in name or "h.0" in name)
    weight.requires_grad_(True)
    try:
        grads = []
        for packed in (True, False):
            backbone.readout.supports_packing = packed
            batch = collate([prompt("a", 7, labels), prompt("b", 11, labels)], backbone.readout)
            loss = -label_log_probs(backbone.readout, batch)[[0, 1], [1, 2]].mean()
            grads.append(torch.autograd.grad(loss, weight)[0])
        torch.testing.assert_close(grads[0], grads[1], atol=1e-5, rtol=1e-3)
        assert grads[0].abs().max() > 1e-6
    finally:
        weight.requires_grad_(False)
        backbone.readout.supports_packing = True


def test_single_token_labels_need_no_vocabulary(backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: torch.Tensor) -> torch.Tensor:
        raise AssertionError("the normaliser cancels and must not be computed")

    monkeypatch.setattr(backbone.readout, "log_normalisers", refuse)
    batch = collate([prompt("a", 5, LABEL_SETS["single"])], backbone.readout)
    assert batch.ids_R_S.shape == (1, 5)
    label_log_likelihoods(backbone.readout, batch)


def test_normaliser_in_chunks_is_the_whole(backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("star_al.models.readout._CHUNK_ELEMENTS", 1)
    hidden = torch.randn(3, 32, generator=torch.Generator().manual_seed(0))
    every = torch.arange(backbone.readout.head.weight.shape[0])
    expected = backbone.readout.logits(hidden, every).logsumexp(dim=-1)
    torch.testing.assert_close(backbone.readout.log_normalisers(hidden), expected)


@pytest.mark.parametrize(
    ("model", "config", "changes"),
    [
        ("Gemma2ForCausalLM", "Gemma2Config", {"final_logit_softcapping": 5.0, "head_dim": 8}),
        ("CohereForCausalLM", "CohereConfig", {"logit_scale": 0.25}),
        ("GraniteForCausalLM", "GraniteConfig", {"logits_scaling": 8.0}),
        ("MistralForCausalLM", "MistralConfig", {"sliding_window": 12}),
        ("OPTForCausalLM", "OPTConfig", {"ffn_dim": 64, "word_embed_proj_dim": 32}),
        ("BloomForCausalLM", "BloomConfig", {}),
        ("MambaForCausalLM", "MambaConfig", {"state_size": 4}),
    ],
)
def test_unusual_architectures(model: str, config: str, changes: dict[str, Any], tmp_path: Path) -> None:
    """Scaled and capped logits, windows, ALiBi, recurrent state: labels are packed only where that is exact."""
    import transformers

    sizes = {"vocab_size": 400, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "max_position_embeddings": 128, "pad_token_id": 0}
    heads |= {} if model.startswith(("OPT", "Bloom", "Mamba")) else {"num_key_value_heads": 2}
    heads |= {"n_head": 4, "n_layer": 2} if model.startswith("Bloom") else {}
    torch.manual_seed(0)
    net = getattr(transformers, model)(getattr(transformers, config)(**{**sizes, **heads, **changes}))
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.15) if parameter.ndim == 2 else None
    folder = build_tiny_model(tmp_path / "m")
    net.save_pretrained(folder)
    backbone = load_backbone(str(folder), revision=None, dtype="float32", device="cpu")
    prompts = [prompt(f"i{n}", 9 + 4 * n, labels) for n, labels in enumerate(LABEL_SETS.values())]
    with torch.no_grad():
        actual = label_log_probs(backbone.readout, collate(prompts, backbone.readout))
    for row, one in zip(actual, prompts, strict=True):
        expected = brute_force(backbone, one)
        torch.testing.assert_close(row[: len(one.labels)].double(), expected, atol=1e-4, rtol=1e-4)


def test_a_model_that_sees_the_future_is_refused(tmp_path: Path) -> None:
    import transformers

    folder = build_tiny_model(tmp_path / "m")
    config = transformers.BertConfig(
        vocab_size=400, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4
    )
    transformers.BertLMHeadModel(config).save_pretrained(folder)
    with pytest.raises(ModelError, match="causal"):
        _ = load_backbone(str(folder), revision=None, dtype="float32", device="cpu").readout


def test_tree_shares_beginnings() -> None:
    tree = label_tree(LABEL_SETS["shared beginnings"])
    assert len(tree) == 4  # 85, 297, 90 and 71; last tokens are never read
    assert {tuple(tree.tokens[node] for node in chain) for chain in tree.chains()} == {(85, 297, 90), (71,)}


def test_prefix_free() -> None:
    assert is_prefix_free([(1, 2), (1, 3)])
    assert is_prefix_free([(1, 2), (1, 2)])
    assert not is_prefix_free([(1, 2), (1, 2, 3)])


@pytest.mark.parametrize("packed", [True, False])
def test_batches_are_a_function_of_ids(packed: bool) -> None:
    lengths = [3, 40, 7, 7, 19, 3, 22, 60, 5]
    prompts = [prompt(f"i{n}", length, LABEL_SETS["shared beginnings"]) for n, length in enumerate(lengths)]
    budget = 100

    def ids(order: list[Prompt]) -> list[list[str]]:
        plan = plan_minibatches(order, budget, packed_up_to=1000 if packed else 0)
        assert sorted(index for batch in plan for index in batch) == list(range(len(order)))
        return [[order[index].item_id for index in batch] for batch in plan]

    assert ids(prompts) == ids(prompts[::-1])
    by_id = {one.item_id: one for one in prompts}
    for batch in ids(prompts):
        sizes = [len(by_id[item]) if packed else len(by_id[item].tokens) + 3 for item in batch]
        rows = len(batch) * (1 if packed else 2)
        assert len(batch) == 1 or rows * max(sizes) <= budget
