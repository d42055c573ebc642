"""Ways to score texts and to take a training step that ``bench_speed.py`` compares."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import peft
import torch
from pydantic import TypeAdapter
from torch import Tensor

from star_al.app.language_learners import posterior_method
from star_al.config.spec import AdapterSpec, PosteriorSpec
from star_al.models.backbone import Backbone
from star_al.models.collate import collate
from star_al.models.devices import DTYPES
from star_al.models.likelihood import label_log_probs, label_scorer
from star_al.models.lora import ADAPTER, attached, lora_config, lora_layers
from star_al.models.minibatch_plan import plan_minibatches
from star_al.models.posterior import Posterior, Training
from star_al.models.prompts import Prompt
from star_al.models.target_layers import transformer_blocks
from star_al.models.targets import answered
from star_al.models.train import reproducible
from star_al.models.training_loss import training_loss

LABELS = ((11,), (12,))  # two labels of one token each, like "yes" and "no"
TARGETS: Mapping[str, Any] = {"all projections": "all-linear", "q, v": ("q_proj", "v_proj")}
KINDS: Mapping[str, dict[str, Any]] = {
    "map": {},
    "mc_dropout": {},
    "ensemble": {},
    "tfb": {},
    "laplace": {},
    "clora": {"kl_weight": 0.01},
}


def prompts(n: int, tokens: int, prefix: int, seed: int = 0, spread: float = 0.2) -> list[Prompt]:
    """Return prompts of random tokens, of about ``tokens`` each, that begin with the same ``prefix`` tokens."""
    generator = torch.Generator().manual_seed(seed)
    apart = torch.randn(n, generator=generator).clamp(-2, 2) * spread
    lengths = (tokens * (1 + apart - apart.mean())).long().tolist()
    shared = tuple(range(100, 100 + prefix))
    return [
        Prompt(f"i{index:05d}", shared + _tokens(length - prefix, generator), LABELS)
        for index, length in enumerate(lengths)
    ]


def _tokens(n: int, generator: torch.Generator) -> tuple[int, ...]:
    return tuple(torch.randint(100, 400, (n,), generator=generator).tolist())


# -- scoring -----------------------------------------------------------------------------------------------


def fit(backbone: Backbone, kind: str, k: int, folder: Path) -> Posterior:
    """Fit a posterior for a few steps; its cost does not depend on what it has learned."""
    plain = {"map": {}, "ensemble": {"members": k}}.get(kind, {"samples": k})
    raw = {"kind": kind, **plain, **KINDS[kind]}
    method = posterior_method(TypeAdapter(PosteriorSpec).validate_python(raw))
    folder.mkdir()
    spec = AdapterSpec(rank=8, epochs=1, batch_size=4, dropout=0.1, target_modules=TARGETS["all projections"])
    examples = [(prompt, index % 2) for index, prompt in enumerate(prompts(8, 60, 0, seed=1))]
    training = Training(backbone, examples, spec, "model", 0, None, lambda n: None)
    return method.load(folder, method.fit(training, folder))


def score(
    backbone: Backbone,
    items: Sequence[Prompt],
    tokens: int,
    *,
    posterior: Posterior | None = None,
    sample: int | None = None,
    prefix: tuple[int, ...] = (),
) -> Tensor:
    """Score all items once as star_al does, (N, C), in minibatches of so many tokens."""
    readout, own = backbone.readout, label_scorer(backbone.readout)
    start = prefix if posterior is None or posterior.shares_prefix else ()
    drawn = nullcontext(own) if posterior is None else posterior.draw(backbone, own, 0, sample)
    rows = torch.empty(len(items), len(LABELS))
    plan = plan_minibatches(items, tokens, packed_up_to=2**31 if readout.supports_packing else 0)
    with drawn as read, torch.inference_mode():
        for positions in plan:
            batch = collate([items[position] for position in positions], readout, prefix=start)
            rows[positions] = read(batch).log_softmax(dim=-1).cpu()
    return rows


def stock_score(model: Any, items: Sequence[Prompt], size: int) -> Tensor:
    """Score all items once with transformers alone, sorted by length, ``size`` at a time.

    It takes the last position of each text in memory of its own, and multiplies it by the labels' rows of the head
    alone: with frozen weights ``logits_to_keep=1`` leaves a strided state, for which the product copies the whole head
    once an item.
    """
    order = sorted(range(len(items)), key=lambda index: len(items[index].tokens))
    head = model.get_output_embeddings().weight[[label[0] for label in LABELS]].float().T
    body = model.get_decoder()
    rows = torch.empty(len(items), len(LABELS))
    with torch.inference_mode():
        for start in range(0, len(order), size):
            positions = order[start : start + size]
            ids, mask = _padded([items[position].tokens for position in positions], model.device)
            hidden = body(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
            last = hidden[torch.arange(len(positions)), mask.sum(dim=1) - 1].contiguous()
            rows[positions] = (last.float() @ head).log_softmax(dim=-1).cpu()
    return rows


def _padded(sequences: Sequence[tuple[int, ...]], device: torch.device) -> tuple[Tensor, Tensor]:
    rows = [torch.tensor(sequence) for sequence in sequences]
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
    return ids.to(device), mask.to(device)


def block_weights(backbone: Backbone) -> list[Tensor]:
    """Return the weights of all linear layers inside the transformer blocks, (out, in) each, in their order."""
    _, blocks = transformer_blocks(backbone.model)
    return [
        layer.weight for block in blocks for layer in block.modules() if isinstance(layer, torch.nn.Linear)
    ]


def multiply_weights(weights: Sequence[Tensor], tokens: int, size: int) -> None:
    """Take the matrix products of a pass over so many tokens, ``size`` at once, and do nothing else."""
    inputs = {width: torch.randn(size, width).to(weights[0]) for width in {len(each.T) for each in weights}}
    with torch.inference_mode():
        for start in range(0, tokens, size):
            for weight in weights:
                torch.nn.functional.linear(inputs[weight.shape[1]][: tokens - start], weight)


@contextmanager
def stock_adapter(
    backbone: Backbone, folder: Path, dropout: bool, *, trainable: bool = False
) -> Iterator[Any]:
    """Load an adapter with peft, its dropout on or off."""
    model = peft.PeftModel.from_pretrained(backbone.model, str(folder), is_trainable=trainable)
    try:
        yield model.train(dropout)
    finally:
        model.unload()
        backbone.model.requires_grad_(False).eval()


def star_way(model: Any, items: Sequence[Prompt]) -> None:
    """Score once as the code released with STAR does: item by item, all logits, one entropy a token in a loop.

    As in that code, autograd stays on and the adapter is the one that was just trained.
    """
    for item in items:
        logits = model(torch.tensor([item.tokens], device=model.device)).logits[0]
        for position in range(len(item.tokens)):
            p = torch.softmax(logits[position].float(), dim=-1)
            _ = -(p * torch.log(p + 1e-12)).sum().item()


# -- training ----------------------------------------------------------------------------------------------


@contextmanager
def training_step(
    backbone: Backbone, path: str, targets: str, dropout: float, items: Sequence[Prompt], size: int
) -> Iterator[Callable[[], float]]:
    """Yield a function that takes one optimiser step on all items and returns its loss.

    Args:
        backbone: The base model.
        path: ``ours``, which runs reproducibly as campaigns do, or ``stock peft``.
        targets: One of ``TARGETS``.
        dropout: Rate of the adapter's dropout.
        items: The texts of the step.
        size: How many of them go forward and backward at once; gradients add up.
    """
    backbone.readout.lengths.longest(
        max(map(len, items))
    )  # as before each training: it probes the bare model
    spec = AdapterSpec(rank=8, dropout=dropout, target_modules=TARGETS[targets])
    examples = [(prompt, index % 2) for index, prompt in enumerate(items)]
    if path != "ours":  # of a few texts at a time, those of like length go together
        examples.sort(key=lambda example: len(example[0]))
    kind, setting = (attached, reproducible(0)) if path == "ours" else (_stock_fresh, nullcontext())
    with setting, kind(backbone.model, spec) as model:
        model.train()
        torch.manual_seed(0)
        for layer in lora_layers(model).values():
            torch.nn.init.normal_(layer.lora_A[ADAPTER].weight, std=0.02)
            torch.nn.init.normal_(layer.lora_B[ADAPTER].weight, std=0.02)
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimiser = torch.optim.AdamW(parameters, lr=1e-4)
        loss_of = _own_loss if path == "ours" else _stock_loss

        def step() -> float:
            total = 0.0
            for start in range(0, len(examples), size):
                part = examples[start : start + size]
                loss = loss_of(backbone, model, part) * (len(part) / len(examples))
                loss.backward()
                total += float(loss.item())
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step()
            optimiser.zero_grad()
            return total

        yield step


def _own_loss(backbone: Backbone, model: Any, examples: list[tuple[Prompt, int]]) -> torch.Tensor:
    return training_loss(backbone, model, [answered(prompt, column) for prompt, column in examples])


@contextmanager
def _stock_fresh(model: Any, spec: AdapterSpec) -> Iterator[Any]:
    config = lora_config(model, spec)
    config.lora_dropout = spec.dropout
    wrapped = peft.get_peft_model(model, config)
    try:
        yield wrapped
    finally:
        wrapped.unload()
        model.requires_grad_(False).eval()


def _stock_loss(backbone: Backbone, _: Any, examples: list[tuple[Prompt, int]]) -> Tensor:
    batch = collate([prompt for prompt, _ in examples], backbone.readout)
    columns = torch.tensor([column for _, column in examples], device=backbone.device)
    with _autocast(backbone):
        log_probs = label_log_probs(backbone.readout, batch)
    return torch.nn.functional.nll_loss(log_probs, columns)


def _autocast(backbone: Backbone) -> AbstractContextManager[Any]:
    if backbone.dtype == "float32":
        return nullcontext()
    return torch.autocast(backbone.device.type, dtype=DTYPES[backbone.dtype])
