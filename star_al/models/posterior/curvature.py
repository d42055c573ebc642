"""Curvature of the training loss in an adapter's weights, by KFAC, without gradients of the weights.

The likelihood is the softmax over a prompt's labels. Its Fisher information in the label log-likelihoods,
diag(p) − ppᵀ, goes backwards through the model as a few cotangents; hooks on the adapted layers see what is
needed. In a layer y = W₀x + s·BAx with output gradient g, A has the input x and the output gradient s·Bᵀg,
B has the input Ax and the output gradient s·g.

A label is one answer to a whole prompt, so tokens are reduced before items are summed (KFAC-reduce,
Eschenhagen et al. 2023): inputs are averaged over the prompt's tokens, gradients are summed over them, and
F ≈ (Σ aaᵀ) ⊗ (Σ ggᵀ) / N. Beside summing over (item, token) pairs this is nearer to the true blocks of a
trained model, fits the low rank better, and costs one vector an item.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from star_al.errors import ModelError
from star_al.models.adapter_file import LoraWeights
from star_al.models.attention import SequenceAttention
from star_al.models.backbone import Backbone
from star_al.models.batching import Batch, make_batch
from star_al.models.likelihood import label_log_probs
from star_al.models.lora import adaptable_modules
from star_al.models.out_of_memory import told
from star_al.models.posterior.kfac import Block, WideFactor
from star_al.models.posterior.merging import merged
from star_al.models.prompts import Prompt
from star_al.ports import Advance

PASSES = 16
"""Backward passes a batch, at most; prompts with more labels take random mixtures of their cotangents."""


@dataclass(frozen=True)
class Curvature:
    """``blocks`` of Aᵀ (d_in × r) and B (d_out × r) by layer, and log p(D | θ), in nats, over labels."""

    blocks: Mapping[str, tuple[Block, Block]]
    log_likelihood: float


def curvature(
    backbone: Backbone,
    examples: Sequence[tuple[Prompt, int]],
    weights: LoraWeights,
    *,
    layers: Sequence[str],
    n_kfac: int,
    batch_size: int,
    seed: int,
    advance: Advance,
) -> Curvature:
    """The curvature of ``layers`` at ``weights``, summed over ``examples`` of (prompt, label column).

    Nothing below the lowest of ``layers`` is differentiated. ``advance`` counts batches.

    Raises:
        ModelError: a layer is not in the model or does not read one row a token, or not enough memory.
    """
    factors = {name: _Layer(name, weights.a[name], weights.b[name], weights.scale, n_kfac) for name in layers}
    generator = torch.Generator().manual_seed(seed)
    by_length = sorted(examples, key=lambda example: (len(example[0]), example[0].item_id))
    message = (
        f"the curvature does not fit into the memory of {backbone.device}. "
        "Lower adapter.batch_size; before the first adapter posterior.subset: last_layer may be set too."
    )
    log_likelihood = 0.0
    with merged(backbone.model, weights.a, lambda name: (weights.b[name] * weights.scale, weights.a[name])):
        for start in range(0, len(by_length), batch_size):
            part = by_length[start : start + batch_size]
            with told(message):
                log_likelihood += _count_in(backbone, part, factors, generator)
            advance(1)
    return Curvature({name: layer.blocks(len(examples)) for name, layer in factors.items()}, log_likelihood)


def _count_in(
    backbone: Backbone,
    examples: Sequence[tuple[Prompt, int]],
    layers: Mapping[str, _Layer],
    generator: torch.Generator,
) -> float:
    """Add a batch of examples to the factors; the log-likelihood of their labels."""
    batch = make_batch([prompt for prompt, _ in examples], backbone.readout)
    modules, tokens = adaptable_modules(backbone.model), _Tokens.of(batch)
    with torch.enable_grad(), _attention(backbone.device), ExitStack() as watching:
        for name, layer in layers.items():
            watching.enter_context(layer.watching(modules[name], tokens))
        log_probs_B_C = label_log_probs(backbone.readout, batch)
        if log_probs_B_C.isnan().any():
            raise ModelError(
                "the model answers NaN for a labelled item. Check its weights; "
                "only a new campaign may set model.dtype: float32."
            )
        for cotangent_B_C in cotangents(log_probs_B_C.detach(), generator):
            log_probs_B_C.backward(cotangent_B_C, retain_graph=True)
    columns_B = torch.tensor([column for _, column in examples], device=log_probs_B_C.device)
    return float(log_probs_B_C.detach().double().gather(1, columns_B[:, None]).sum())


def _attention(device: torch.device) -> AbstractContextManager[object]:
    """Attention whose gradient is fast on a CPU, and elsewhere the same in every run."""
    return SequenceAttention() if device.type == "cpu" else sdpa_kernel([SDPBackend.MATH])


def cotangents(log_probs_B_C: Tensor, generator: torch.Generator) -> Tensor:
    """Vectors (S, B, C) with Σ_s vvᵀ = diag(p) − ppᵀ for each prompt, S = C − 1 (at least 1).

    Where that is more than ``PASSES``, that many mixtures of them by random signs, right in expectation.
    """
    p_B_C = log_probs_B_C.double().exp()
    values_B_C, vectors_B_C_C = torch.linalg.eigh(p_B_C.diag_embed() - p_B_C[:, :, None] * p_B_C[:, None])
    roots_B_C_S = vectors_B_C_C * values_B_C.clamp_min(0).sqrt()[:, None]
    roots_B_C_S = roots_B_C_S[..., min(1, roots_B_C_S.shape[-1] - 1) :]  # the smallest eigenvalue is 0
    rows, _, count = roots_B_C_S.shape
    if count > PASSES:
        signs = torch.randint(0, 2, (rows, count, PASSES), generator=generator).double() * 2 - 1
        roots_B_C_S = roots_B_C_S @ signs.to(roots_B_C_S.device) / PASSES**0.5
    roots_S_B_C: Tensor = roots_B_C_S.movedim(-1, 0).to(log_probs_B_C.dtype)
    return roots_S_B_C


@dataclass(frozen=True)
class _Tokens:
    """Which tokens of a batch are a prompt's: padding is none, and a prompt may have several sequences."""

    shares_R_S: Tensor  # what a token counts for in the mean over its prompt; its copies share; 0 for padding
    rows_B_R: Tensor  # 1 where a sequence belongs to a prompt

    @classmethod
    def of(cls, batch: Batch) -> _Tokens:
        device = batch.ids_R_S.device
        columns_S = torch.arange(batch.ids_R_S.shape[1], device=device)
        real_R_S = columns_S < torch.tensor(batch.lengths_R, device=device)[:, None]
        prompts_B = torch.arange(len(batch.exists_B_C), device=device)
        rows_B_R = (prompts_B[:, None] == batch.prompt_rows_R).float()
        weights_R_S = real_R_S / _copies_R_S(batch, real_R_S)
        lengths_R = (rows_B_R @ weights_R_S.sum(dim=1))[batch.prompt_rows_R]
        return cls(weights_R_S / lengths_R[:, None], rows_B_R)

    def mean(self, x_R_S_D: Tensor) -> Tensor:
        """(B, D) float32, over each prompt's tokens."""
        return self.rows_B_R @ torch.einsum("rs,rsd->rd", self.shares_R_S, x_R_S_D.float())

    def sum(self, x_R_S_D: Tensor) -> Tensor:
        """(B, D) float32, over each prompt's tokens."""
        return self.rows_B_R @ torch.einsum("rs,rsd->rd", self.shares_R_S.sign(), x_R_S_D.float())


def _copies_R_S(batch: Batch, real_R_S: Tensor) -> Tensor:
    """In how many sequences of its prompt a token is read, at least 1: those that are alike up to it."""
    ids_R_S, prompts_R = batch.ids_R_S, batch.prompt_rows_R
    alike_R_R_S = (ids_R_S[:, None] == ids_R_S).to(torch.uint8).cumprod(dim=-1, dtype=torch.uint8)
    own_R_R = prompts_R[:, None] == prompts_R
    return (alike_R_R_S * own_R_R[..., None] * real_R_S).sum(dim=1).clamp_min(1)


class _Layer:
    """The factors of one adapted layer, filled on the CPU in float32, the narrow ones in float64."""

    def __init__(self, name: str, a_r_I: Tensor, b_O_r: Tensor, scale: float, n_kfac: int) -> None:
        self._name, self._a_r_I, self._b_O_r, self._scale = name, a_r_I, b_O_r, scale
        self._inputs = WideFactor(a_r_I.shape[1], n_kfac)
        self._gradients = WideFactor(len(b_O_r), n_kfac)
        self._projected_r_r = torch.zeros(len(a_r_I), len(a_r_I), dtype=torch.float64)  # of inputs, for B
        self._narrow_r_r = torch.zeros_like(self._projected_r_r)  # of gradients, for A

    @contextmanager
    def watching(self, module: Any, tokens: _Tokens) -> Iterator[None]:
        """Count in what passes ``module`` within: one forward pass and any number of backward passes."""
        sums: list[Tensor] = []

        def backward(gradient: Tensor) -> None:
            sums.append(tokens.sum(self._by_token(gradient, tokens)))

        def forward(_: Any, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
            self._add_inputs(tokens.mean(self._by_token(args[0], tokens)).cpu())
            output = output if output.requires_grad else output.requires_grad_()
            output.register_hook(backward)
            return output

        handle = module.register_forward_hook(forward)
        try:
            yield
            if not sums:
                raise self._unfit()
            self._add_gradients(torch.cat(sums).cpu())
        finally:
            handle.remove()

    def blocks(self, n: int) -> tuple[Block, Block]:
        """Of Aᵀ and B, after ``n`` items."""
        return (
            Block.of(self._inputs.root_n_D, self._narrow_r_r / n),
            Block.of(self._gradients.root_n_D, self._projected_r_r / n),
        )

    def _add_inputs(self, inputs_B_I: Tensor) -> None:
        projected_B_r = (inputs_B_I @ self._a_r_I.T).double()
        self._inputs.add(inputs_B_I)
        self._projected_r_r += projected_B_r.T @ projected_B_r

    def _add_gradients(self, gradients_M_O: Tensor) -> None:
        if not torch.isfinite(gradients_M_O).all():
            raise ModelError(
                f"the gradient in layer {self._name} is NaN or infinite. Check the model's weights; "
                "only a new campaign may set model.dtype: float32."
            )
        scaled_M_O = gradients_M_O * self._scale
        narrow_M_r = (scaled_M_O @ self._b_O_r).double()
        self._gradients.add(scaled_M_O)
        self._narrow_r_r += narrow_M_r.T @ narrow_M_r

    def _by_token(self, x: Tensor, tokens: _Tokens) -> Tensor:
        """``x`` as (R, S, d), for layers that read all tokens as rows of a matrix."""
        rows, width = tokens.shares_R_S.shape
        if x.numel() != rows * width * x.shape[-1]:
            raise self._unfit()
        return x.detach().reshape(rows, width, -1)

    def _unfit(self) -> ModelError:
        return ModelError(
            f"layer {self._name} does not read each token once, so it has no curvature here. "
            "Leave it out of adapter.target_modules, or set another posterior.kind."
        )
