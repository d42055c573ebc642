"""A language model learns preferences: DPO's loss and gradient, rewards under every posterior, what is kept and cut."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from star_al.acquire.measures import MEASURES
from star_al.app.language_learners import posterior_method
from star_al.config.spec import AdapterSpec, CampaignSpec
from star_al.models.backbone import Backbone
from star_al.models.inference import Inference
from star_al.models.learner import LoraLearner
from star_al.models.lora import attached, lora_layers
from star_al.models.prompts import Prompt
from star_al.models.targets import Target
from star_al.models.training_loss import training_loss
from star_al.ports import ignore
from star_al.task import closed, make_task
from star_al.types import Item
from support.posteriors import quick
from support.tiny_model import build_tiny_model

BETA = 0.3
GOOD, BAD = "good news today", "bad sports, the striker scored"
ITEMS = [
    Item(f"i{n:02d}", "Tell me the news. " * (1 + n % 3), options=(GOOD, BAD) if n % 2 else (BAD, GOOD))
    for n in range(16)
]
EXAMPLES = [(item, "A" if n % 2 else "B") for n, item in enumerate(ITEMS)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_model(tmp_path_factory.mktemp("model"))


def learner(
    model: Path,
    posterior: Mapping[str, Any] | None = None,
    *,
    features: Path | None = None,
    max_tokens: int = 120,
    **task: Any,
) -> LoraLearner:
    spec = CampaignSpec.model_validate(
        {
            "name": "test",
            "data": {"path": "pool.jsonl", "options": ["chosen", "rejected"]},
            "task": {"kind": "preference", "beta": BETA, **task},
            "model": {"name": "tiny", "dtype": "float32", "device": "cpu", "max_tokens": max_tokens},
            "adapter": {"learning_rate": 1e-2, "dropout": 0.1, "epochs": 5, "batch_size": 4},
            "posterior": posterior or {"kind": "map"},
            "annotator": {"kind": "oracle", "gold": "chosen"},
        }
    )
    method = posterior_method(spec.posterior)
    return LoraLearner(closed(make_task(spec.task)), spec, str(model), method, features=features)


def naive(backbone: Backbone, prompt: Prompt) -> Tensor:
    """Sum log p of the tokens of each completion, read by itself by stock transformers."""
    totals = []
    for label in prompt.labels:
        logits = backbone.model(torch.tensor([[*prompt.tokens, *label]])).logits[0, :-1]
        log_probs = logits.log_softmax(dim=-1)[len(prompt.tokens) - 1 :]
        totals.append(log_probs.gather(1, torch.tensor(label)[:, None]).sum())
    return torch.stack(totals)


def test_the_loss_and_its_gradient_are_those_of_dpo(model: Path) -> None:
    """By TRL's formula: −log σ(β ((log π − log π₀)(chosen) − (log π − log π₀)(rejected))); a tie has both halves."""
    one = learner(model, ties="half")
    backbone = one.backbone
    prompts = one.model.encode_to_compare(ITEMS[:4])
    with torch.no_grad():
        reference = torch.stack([naive(backbone, prompt) for prompt in prompts])
    found_reference = torch.tensor([prompt.reward.reference for prompt in prompts if prompt.reward])
    torch.testing.assert_close(found_reference, reference, atol=1e-4, rtol=1e-5)
    shares = [(1.0, 0.0), (0.0, 1.0), (0.5, 0.5), (1.0, 0.0)]
    targets = [Target(prompt, share) for prompt, share in zip(prompts, shares, strict=True)]
    backbone.readout.lengths.longest(200)
    with attached(backbone.model, AdapterSpec(dropout=0.0)) as adapted:
        layers = lora_layers(adapted)
        generator = torch.Generator().manual_seed(0)
        for layer in layers.values():
            weight = layer.lora_B["default"].weight if "default" in layer.lora_B else None
            weight = next(iter(layer.lora_B.values())).weight if weight is None else weight
            weight.data = 0.1 * torch.randn(weight.shape, generator=generator)
        parameters = [parameter for parameter in adapted.parameters() if parameter.requires_grad]
        found = training_loss(backbone, adapted, targets)
        gradients = torch.autograd.grad(found, parameters)
        rewards = torch.stack([naive(backbone, prompt) for prompt in prompts]) - reference
        margins = BETA * (rewards[:, 0] - rewards[:, 1])
        losses = torch.stack(
            [
                -a * torch.nn.functional.logsigmoid(margin) - b * torch.nn.functional.logsigmoid(-margin)
                for (a, b), margin in zip(shares, margins, strict=True)
            ]
        )
        expected = losses.mean()
        wanted = torch.autograd.grad(expected, parameters)
    assert abs(float(expected.detach()) - np.log(2)) > 1e-3  # the adapter does something
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    for gradient, other in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(gradient, other, atol=1e-5, rtol=1e-3)


def test_all_tokens_and_the_end_of_the_turn_are_read(model: Path) -> None:
    one = learner(model)
    (prompt,) = one.model.encode(ITEMS[:1])
    tokenizer = one.backbone.tokenizer
    assert [tokenizer.decode(label) for label in prompt.labels] == [f"{BAD}<|im_end|>", f"{GOOD}<|im_end|>"]
    assert tokenizer.decode(prompt.tokens).endswith("Tell me the news. <|im_end|>\n<|im_start|>assistant\n")
    assert "system" not in tokenizer.decode(prompt.tokens)


def test_the_untrained_model_prefers_nothing_but_the_likelier_completion_a_token(model: Path) -> None:
    one = learner(model)
    prompts = one.model.encode_to_compare(ITEMS)
    untrained = one.model.inference.label_log_probs(prompts, None, [None], 0, ignore)
    np.testing.assert_allclose(np.exp(untrained.log_probs_N_K_C), 0.5, atol=1e-5)
    with torch.no_grad():
        means = torch.stack(
            [naive(one.backbone, prompt) / torch.tensor(list(map(len, prompt.labels))) for prompt in prompts]
        )
    expected = means.log_softmax(dim=-1)
    found = np.stack([each.log_probs_C for each in one.base_predict(ITEMS, ignore)])
    np.testing.assert_allclose(found, expected, atol=1e-4)
    same = one.predict(None, ITEMS, draws=range(2), seed=0, advance=ignore)
    np.testing.assert_array_equal(same.log_probs_N_K_C[:, 0], found)


@pytest.mark.parametrize("kind", ["map", "mc_dropout", "ensemble", "laplace", "tfb"])
def test_every_posterior_learns_and_its_samples_are_functions(model: Path, tmp_path: Path, kind: str) -> None:
    one = learner(model, quick(kind), ties="half")
    one.fit([*EXAMPLES[1:], (ITEMS[0], "tie")], seed=0, folder=tmp_path, parent=None, advance=ignore)
    mean = one.predict(tmp_path, ITEMS, draws=None, seed=1, advance=ignore).log_probs_N_K_C
    right = mean[:, 0].argmax(axis=1) == [0 if n % 2 else 1 for n in range(16)]
    assert right.mean() > 0.9
    found = one.predict(tmp_path, ITEMS, draws=range(2), seed=1, advance=ignore)
    assert found.answers == (("A", "B"),) and found.log_probs_N_K_C.shape == (16, 2, 2)
    alone = one.predict(tmp_path, ITEMS[3:4], draws=range(2), seed=1, advance=ignore)
    np.testing.assert_allclose(alone.log_probs_N_K_C[0], found.log_probs_N_K_C[3], atol=1e-4)
    bald = MEASURES["bald"](found.log_probs_N_K_C, per_option=True)
    assert (bald > -1e-9).all() and (kind == "map") == (bald.max() < 1e-9)


def test_the_base_model_reads_a_pair_once(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = learner(model, features=tmp_path).base_predict(ITEMS, ignore)

    def refuse(*_: object) -> None:
        raise AssertionError("a pair was read again")

    monkeypatch.setattr(Inference, "reference", refuse)
    again = learner(model, features=tmp_path)
    for one, other in zip(first, again.base_predict(ITEMS[::-1], ignore)[::-1], strict=True):
        np.testing.assert_array_equal(one.log_probs_C, other.log_probs_C)
    with pytest.raises(AssertionError, match="read again"):  # by another beta nothing kept is used
        learner(model, features=tmp_path, beta=0.5).base_predict(ITEMS[:1], ignore)


def test_what_is_on_the_disk_is_not_kept_in_memory_too(model: Path, tmp_path: Path) -> None:
    one = learner(model, features=tmp_path)
    for start in (0, 4, 8):
        one.base_predict(ITEMS[start : start + 5], ignore)
    assert list(one.model._reference._found) == [item.item_id for item in ITEMS[8:13]]


def test_what_does_not_fit_is_cut_and_counted(model: Path) -> None:
    long = Item("long", "short", options=("sport " * 40, "tech"))
    one = learner(model, max_completion_tokens=10)
    (prompt,) = one.model.encode([long])
    end = one.backbone.tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert len(prompt.labels[0]) == 10 and prompt.labels[0][-1] != end and prompt.labels[1][-1] == end
    assert one.truncated == 1
    other = learner(model, max_tokens=40)
    whole, cut = other.model.encode([ITEMS[0], Item("text", "news " * 100, options=(GOOD, BAD))])
    assert len(cut.tokens) == 40 and cut.labels == tuple(reversed(whole.labels)) and other.truncated == 1


def test_a_completion_longer_than_the_context_is_cut(model: Path) -> None:
    one = learner(model)
    (prompt,) = one.model.encode([Item("i", "news", options=("sport " * 400, GOOD))])
    assert len(prompt.tokens) + len(prompt.labels[0]) <= 256 and one.truncated == 1
