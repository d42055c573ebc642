"""Curvature of the training loss in an adapter's weights, by KFAC, without ever computing gradients of the weights.

The likelihood is the one that was trained. With ``adapter.loss: labels`` it is the softmax over a prompt's labels,
and its Fisher information in their log-probabilities, diag(p) − ppᵀ, is sent backwards through the model as a few
cotangents. With ``loss: answer`` it is the softmax over the vocabulary at each token of the right label, whose Fisher
information is estimated by tokens that the model draws. Hooks on the adapted layers collect what passes them. In a
layer y = W₀x + s·BAx with output gradient g, A has the input x and the output gradient s·Bᵀg, and B has the input Ax
and the output gradient s·g.

A label answers a whole prompt, so tokens are reduced before items are summed (KFAC-reduce, Eschenhagen et al.
2023, arXiv 2311.00636): inputs are averaged over the prompt's tokens, gradients are summed over them, and
F ≈ (Σ aaᵀ) ⊗ (Σ ggᵀ) / N. Compared with a sum over (item, token) pairs this is closer to the true blocks of a
trained model, is described better by a low rank, and costs one vector an item (docs/methods.md, "Laplace").
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from star_al.errors import ModelError
from star_al.models.adapter_file import LoraWeights
from star_al.models.collate import collate
from star_al.models.likelihood import answers_of_hidden, hidden_at_nodes, label_log_probs
from star_al.models.minibatch import Minibatch
from star_al.models.out_of_memory import translate_out_of_memory
from star_al.models.posterior import Training
from star_al.models.posterior.kfac import Block, LowRankFactor
from star_al.models.posterior.merging import merged
from star_al.models.prompts import Prompt
from star_al.models.readout import Readout
from star_al.models.sequence_attention import SequenceAttention
from star_al.models.target_layers import dense_layers
from star_al.models.targets import Columns, Target, answered

PASSES = 16
"""Backward passes of a minibatch, at most; with more labels, random mixtures of the cotangents are sent back."""

_LOGITS_AT_ONCE = 2**24  # float32 logits of the whole vocabulary: 64 MiB


@dataclass(frozen=True)
class Curvature:
    """The curvature of a training loss.

    Attributes:
        blocks: Curvature of Aᵀ (d_in × r) and of B (d_out × r), by layer.
        log_likelihood: log p(D | θ) in nats, normalised over labels.
    """

    blocks: Mapping[str, tuple[Block, Block]]
    log_likelihood: float


def curvature(
    training: Training, weights: LoraWeights, *, layers: Sequence[str], n_kfac: int, seed: int
) -> Curvature:
    """Sum the curvature at an adapter over the training examples.

    Nothing below the lowest of ``layers`` is differentiated.

    Args:
        training: The model, the examples and the size of minibatches; its ``advance`` is called for each of
            them.
        weights: The adapter.
        layers: Names of the adapted layers whose curvature is wanted.
        n_kfac: Rank of the wide Kronecker factors.
        seed: Determines the random mixtures of cotangents.

    Returns:
        Blocks for ``layers``, and the log-likelihood of the examples.

    Raises:
        ModelError: A layer is not in the model or does not read one row a token, or a value is not finite.
        OutOfMemoryError: A minibatch does not fit into memory.
    """
    backbone, size = training.backbone, training.adapter.batch_size
    factors = {name: _Layer(name, weights.a[name], weights.b[name], weights.scale, n_kfac) for name in layers}
    generator = torch.Generator().manual_seed(seed)
    by_length = sorted(training.examples, key=lambda example: (len(example[0]), example[0].item_id))
    message = (
        f"the curvature does not fit into the memory of {backbone.device}. "
        "Lower adapter.batch_size; before the first adapter posterior.subset: last_layer may be set too."
    )
    log_likelihood = 0.0
    with merged(backbone.model, weights.a, lambda name: (weights.b[name] * weights.scale, weights.a[name])):
        for start in range(0, len(by_length), size):
            part = by_length[start : start + size]
            with translate_out_of_memory(message):
                log_likelihood += _accumulate(training, part, factors, generator)
            training.advance(1)
    n = len(training.examples)
    return Curvature({name: layer.blocks(n) for name, layer in factors.items()}, log_likelihood)


def _accumulate(
    training: Training,
    examples: Sequence[tuple[Prompt, Columns]],
    layers: Mapping[str, _Layer],
    generator: torch.Generator,
) -> float:
    """Add a minibatch of examples to the factors, and return the log-likelihood of their labels."""
    backbone = training.backbone
    targets = [answered(prompt, column, training.adapter.loss) for prompt, column in examples]
    batch = collate([target.prompt for target in targets], backbone.readout, training.trunk)
    modules, tokens = dense_layers(backbone.model), _Tokens.of(batch)
    outputs = _answer_outputs if training.adapter.loss == "answer" else _label_outputs
    with torch.enable_grad(), _attention(backbone.device), ExitStack() as watching:
        for name, layer in layers.items():
            watching.enter_context(layer.watching(modules[name], tokens))
        output, log_probs_B_C, sent_back = outputs(backbone.readout, batch, generator)
        if log_probs_B_C.isnan().any():
            raise ModelError(
                "the model answers NaN for a labelled item. Check its weights; "
                "only a new campaign may set model.dtype: float32."
            )
        for cotangent in sent_back():
            output.backward(cotangent, retain_graph=True)
    return _log_likelihood(log_probs_B_C.double(), targets)


def _log_likelihood(log_probs_B_C: Tensor, targets: Sequence[Target]) -> float:
    """Return log p of the right labels; of pairs, whose shares of a row are equal, the sum over all pairs."""
    total = 0.0
    for log_probs_C, target in zip(log_probs_B_C, targets, strict=True):
        right = [column for column, share in enumerate(target.shares) if share]
        if not target.prompt.paired:  # one label, or the ones that share a tie
            total += float(log_probs_C[right].mean())
            continue
        total += float(log_probs_C[right].sum()) + len(right) * math.log(len(right))
    return total


_Outputs: TypeAlias = tuple[Tensor, Tensor, Callable[[], Iterable[Tensor]]]
"""What is differentiated, log p of the labels that were read (B, C), and what makes the cotangents of the first."""


def _label_outputs(readout: Readout, batch: Minibatch, generator: torch.Generator) -> _Outputs:
    """Return the outputs where the likelihood is the softmax over a prompt's labels."""
    log_probs_B_C = label_log_probs(readout, batch)
    found_B_C = log_probs_B_C.detach()
    # A row of pairs is the mean over their questions, and their information is the sum.
    scale = (log_probs_B_C.shape[1] / 2) ** 0.5 if batch.paired else 1.0
    return log_probs_B_C, found_B_C, lambda: scale * cotangents(found_B_C, generator)


def _answer_outputs(readout: Readout, batch: Minibatch, generator: torch.Generator) -> _Outputs:
    """Return the outputs where the likelihood is the language model's own, of the right label's tokens."""
    hidden_P_d = hidden_at_nodes(readout, batch)
    with torch.no_grad():
        log_probs_B_C = answers_of_hidden(readout, batch, hidden_P_d)
    return hidden_P_d, log_probs_B_C, partial(token_cotangents, readout, hidden_P_d.detach(), generator)


def _attention(device: torch.device) -> AbstractContextManager[object]:
    """Return the attention to differentiate on a device: a fast one on a CPU, elsewhere a deterministic one.

    The gradients of torch's fused CUDA kernels add up in any order. Curvature is computed once per round, so
    the speed of the plain kernel does not matter.
    """
    return SequenceAttention() if device.type == "cpu" else sdpa_kernel([SDPBackend.MATH])


def cotangents(log_probs_B_C: Tensor, generator: torch.Generator) -> Tensor:
    """Return vectors v with Σ vvᵀ = diag(p) − ppᵀ for each prompt.

    Args:
        log_probs_B_C: log p.
        generator: Source of random signs.

    Returns:
        C − 1 vectors (S, B, C), at least one. If that were more than ``PASSES``, so many mixtures of them by
        random signs, with the same sum in expectation.
    """
    p_B_C = log_probs_B_C.double().exp()
    values_B_C, vectors_B_C_C = torch.linalg.eigh(p_B_C.diag_embed() - p_B_C[:, :, None] * p_B_C[:, None])
    roots_B_C_S = vectors_B_C_C * values_B_C.clamp_min(0).sqrt()[:, None]
    # The smallest eigenvalue is 0, in the direction of all ones: probabilities sum to 1 whatever the weights
    # are.
    roots_B_C_S = roots_B_C_S[..., min(1, roots_B_C_S.shape[-1] - 1) :]
    rows, _, count = roots_B_C_S.shape
    if count > PASSES:
        signs = torch.randint(0, 2, (rows, count, PASSES), generator=generator).double() * 2 - 1
        roots_B_C_S = roots_B_C_S @ signs.to(roots_B_C_S.device) / PASSES**0.5
    roots_S_B_C: Tensor = roots_B_C_S.movedim(-1, 0).to(log_probs_B_C.dtype)
    return roots_S_B_C


def token_cotangents(readout: Readout, hidden_P_d: Tensor, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield vectors v (P, d) with Σ vvᵀ = the next token's Fisher information in the hidden states, in expectation.

    For a drawn token t, the gradient of log p(t | h) has mean 0 and the Fisher information as its covariance. Tokens
    at different places are drawn independently, so that what a prompt's places send back together has the sum of
    their informations.

    Args:
        readout: The model.
        hidden_P_d: Hidden states.
        generator: Draws the tokens, ``PASSES`` at each place.
    """
    leaf = hidden_P_d.clone().requires_grad_()
    (mean_P_d,) = torch.autograd.grad(readout.fused_log_normalisers(leaf).sum(), leaf)
    tokens_P_S = _draw_tokens(readout, hidden_P_d, generator)
    tokens_U, columns_P_S = torch.unique(tokens_P_S, return_inverse=True)
    for columns_P in columns_P_S.T:
        logits_P_1 = readout.logits(leaf, tokens_U).gather(1, columns_P[:, None])
        (gradient_P_d,) = torch.autograd.grad(logits_P_1.sum(), leaf)
        yield (gradient_P_d - mean_P_d) / PASSES**0.5


@torch.no_grad()
def _draw_tokens(readout: Readout, hidden_P_d: Tensor, generator: torch.Generator) -> Tensor:
    """Draw ``PASSES`` next tokens at each place, (P, PASSES)."""
    vocabulary = torch.arange(readout.head.weight.shape[0], device=hidden_P_d.device)
    size = max(1, _LOGITS_AT_ONCE // len(vocabulary))
    drawn = [
        torch.multinomial(
            readout.logits(part_Q_d, vocabulary).softmax(dim=-1).cpu(),
            PASSES,
            replacement=True,
            generator=generator,
        )
        for part_Q_d in hidden_P_d.split(size)
    ]
    return torch.cat(drawn).to(hidden_P_d.device)


@dataclass(frozen=True)
class _Tokens:
    """How to reduce over a prompt's tokens, without padding, if a prompt may have several sequences.

    Attributes:
        shares_R_S: Weight of each token in the mean over its prompt, 0 for padding. The prompt's tokens occur
            in each of its sequences; the copies of a token share its weight.
        rows_B_R: 1 where a sequence belongs to a prompt, else 0.
    """

    shares_R_S: Tensor
    rows_B_R: Tensor

    @classmethod
    def of(cls, batch: Minibatch) -> _Tokens:
        device = batch.ids_R_S.device
        columns_S = torch.arange(batch.ids_R_S.shape[1], device=device)
        real_R_S = columns_S < torch.tensor(batch.lengths_R, device=device)[:, None]
        prompts_B = torch.arange(len(batch.exists_B_C), device=device)
        rows_B_R = (prompts_B[:, None] == batch.prompt_rows_R).float()
        weights_R_S = real_R_S / _copies_R_S(batch, real_R_S)
        lengths_R = (rows_B_R @ weights_R_S.sum(dim=1))[batch.prompt_rows_R]
        return cls(weights_R_S / lengths_R[:, None], rows_B_R)

    def mean(self, x_R_S_D: Tensor) -> Tensor:
        """Average over each prompt's tokens, (B, D) float32."""
        return self._summed(self.shares_R_S, x_R_S_D)

    def sum(self, x_R_S_D: Tensor) -> Tensor:
        """Sum over each prompt's tokens, (B, D) float32."""
        # Every copy of a token counts in full: its gradients come from different labels and add up.
        return self._summed(self.shares_R_S.sign(), x_R_S_D)

    def _summed(self, weights_R_S: Tensor, x_R_S_D: Tensor) -> Tensor:
        x_R_S_D = x_R_S_D.float().to(weights_R_S.device)  # blocks may be spread over GPUs
        return self.rows_B_R @ torch.einsum("rs,rsd->rd", weights_R_S, x_R_S_D)


def _copies_R_S(batch: Minibatch, real_R_S: Tensor) -> Tensor:
    """Return in how many sequences of its prompt a token is read, at least 1: those that agree up to it."""
    ids_R_S, prompts_R = batch.ids_R_S, batch.prompt_rows_R
    alike_R_R_S = (ids_R_S[:, None] == ids_R_S).to(torch.uint8).cumprod(dim=-1, dtype=torch.uint8)
    own_R_R = prompts_R[:, None] == prompts_R
    return (alike_R_R_S * own_R_R[..., None] * real_R_S).sum(dim=1).clamp_min(1)


class _Layer:
    """The Kronecker factors of one adapted layer, on the CPU: wide ones in float32, narrow ones in float64."""

    def __init__(self, name: str, a_r_I: Tensor, b_O_r: Tensor, scale: float, n_kfac: int) -> None:
        self._name, self._a_r_I, self._b_O_r, self._scale = name, a_r_I, b_O_r, scale
        self._inputs = LowRankFactor(a_r_I.shape[1], n_kfac)
        self._gradients = LowRankFactor(len(b_O_r), n_kfac)
        self._projected_r_r = torch.zeros(len(a_r_I), len(a_r_I), dtype=torch.float64)  # Σ Ax(Ax)ᵀ, for B
        self._narrow_r_r = torch.zeros_like(self._projected_r_r)  # Σ s²·Bᵀg(Bᵀg)ᵀ, for A

    @contextmanager
    def watching(self, module: Any, tokens: _Tokens) -> Iterator[None]:
        """Within, accumulate what passes ``module`` in one forward pass and any number of backward passes."""
        sums: list[Tensor] = []

        def backward(gradient: Tensor) -> None:
            sums.append(tokens.sum(self._by_token(gradient, tokens)))

        def forward(_: Any, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
            self._add_inputs(tokens.mean(self._by_token(args[0], tokens)).cpu())
            # All weights are frozen, so the lowest watched layer has to start the graph.
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
        """Return the blocks of Aᵀ and of B after ``n`` items."""
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
        """Return ``x`` as (R, S, d); some layers read all tokens as rows of one matrix."""
        rows, width = tokens.shares_R_S.shape
        if x.numel() != rows * width * x.shape[-1]:
            raise self._unfit()
        return x.detach().reshape(rows, width, -1)

    def _unfit(self) -> ModelError:
        return ModelError(
            f"layer {self._name} does not read each token once, so it has no curvature here. "
            "Leave it out of adapter.target_modules, or set another posterior.kind."
        )
