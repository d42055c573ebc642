"""The mathematics of C-LoRA (Rahmati et al. 2025, arXiv 2505.17773; docs/methods.md, "C-LoRA").

h = W₀x + s·B·E·z with z = A·x and, for each text, E ~ N(μ(c), diag σ(c)²). The context c is the mean of z
over the prompt, or z at each token. Axes: B prompts in R sequences of S tokens.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from star_al.errors import ModelError
from star_al.models.adapter_file import LoraWeights
from star_al.models.artefact_files import damaged, read_tensors, write_tensors
from star_al.models.minibatch import Minibatch

Context: TypeAlias = Literal["sequence", "token"]

NETWORKS = "clora.safetensors"
"""The context networks, beside the adapter."""

_WIDEST_START = 0.5  # σ starts at β, but no higher, because the sigmoid becomes flat


class ContextNetwork(nn.Module):
    """Linear(r → hidden), ReLU, Linear(hidden → 2r²), which give the mean μ of E and its width σ = sigmoid(ρ)².

    At the start μ is the identity and σ is β, apart from what the random weights make of the text, so that A
    and B begin to learn as in ordinary LoRA. Weights are drawn from torch's global generator.

    Args:
        rank: r.
        hidden: Hidden units.
        start_std: β.
    """

    def __init__(self, rank: int, hidden: int, start_std: float) -> None:
        super().__init__()
        self.rank = rank
        self.inner = nn.Linear(rank, hidden)
        self.outer = nn.Linear(hidden, 2 * rank * rank)
        root = math.sqrt(min(start_std, _WIDEST_START))
        with torch.no_grad():
            self.outer.bias[: rank * rank] = torch.eye(rank).flatten()
            self.outer.bias[rank * rank :] = math.log(root / (1 - root))

    def forward(self, contexts_r: Tensor) -> tuple[Tensor, Tensor]:
        """Return μ and σ, (..., r, r) each, of contexts (..., r), in the precision of the network's weights."""
        with torch.autocast(contexts_r.device.type, enabled=False):
            inner = torch.relu(self.inner(contexts_r.to(self.inner.weight.dtype)))
            mu, rho = self.outer(inner).unflatten(-1, (2, self.rank, self.rank)).unbind(-3)
            return mu, torch.sigmoid(rho) ** 2


def divergence(mu_r_r: Tensor, sigma_r_r: Tensor, prior_std: float) -> Tensor:
    """Return KL(N(μ, σ²) ‖ N(0, β²)) in nats, summed over the r × r entries, (...,); β is ``prior_std``."""
    terms = torch.log(prior_std / sigma_r_r) + (sigma_r_r**2 + mu_r_r**2) / (2 * prior_std**2) - 0.5
    return terms.sum(dim=(-2, -1))


@dataclass(frozen=True)
class PromptPositions:
    """Where the prompts are in a minibatch's sequences; labels and padding follow them.

    Attributes:
        prompt_rows_R: The prompt of each sequence.
        first_rows_B: A sequence of each prompt.
        lengths_B: Tokens of each prompt.
    """

    prompt_rows_R: Tensor
    first_rows_B: Tensor
    lengths_B: Tensor

    @classmethod
    def of(cls, batch: Minibatch) -> PromptPositions:
        """Find the prompts by the nodes at their last tokens, which are in the prompts' order."""
        roots = ~batch.inner_P
        return cls(batch.prompt_rows_R, batch.node_rows_P[roots], batch.node_columns_P[roots] + 1)

    def on(self, device: torch.device) -> PromptPositions:
        """Return the same on a device; blocks may be spread over GPUs."""
        parts = (self.prompt_rows_R, self.first_rows_B, self.lengths_B)
        return PromptPositions(*(part.to(device) for part in parts))

    def check(self, layer: str, x: Tensor) -> None:
        """Refuse an input of ``layer`` that is not the minibatch's sequences, (R, S, d).

        Raises:
            ModelError: It is something else, such as all tokens as rows of one matrix.
        """
        if x.ndim != 3 or len(x) != len(self.prompt_rows_R):
            raise ModelError(
                f"C-LoRA needs whole texts, and the layer {layer} does not get them. "
                "Leave it out of adapter.target_modules."
            )

    def in_prompt_B_S(self, width: int) -> Tensor:
        """Return whether a token belongs to the prompt, (B, S) of 0 and 1."""
        return (torch.arange(width, device=self.lengths_B.device) < self.lengths_B[:, None]).float()

    def mean_B(self, values_R_S: Tensor) -> Tensor:
        """Average values (R, S, ...) over each prompt's tokens, without labels and padding, (B, ...)."""
        shares_B_S = self.in_prompt_B_S(values_R_S.shape[1]) / self.lengths_B[:, None]
        values_B_S = values_R_S[self.first_rows_B]
        return torch.einsum("bs,bs...->b...", shares_B_S.to(values_B_S.dtype), values_B_S)

    def context_columns_R_S(self, width: int) -> Tensor:
        """Return the column whose z a token's E depends on: its own, or after the prompt the prompt's last.

        A label's own z would tell which label is being scored.
        """
        columns_S = torch.arange(width, device=self.lengths_B.device)
        return torch.minimum(columns_S, self.lengths_B[self.prompt_rows_R][:, None] - 1)


def apply_context(
    z_R_S_r: Tensor,
    network: ContextNetwork,
    noise: Tensor | None,
    positions: PromptPositions,
    context: Context,
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute E z with E = μ + σ·ε.

    Args:
        z_R_S_r: A x.
        network: The layer's context network.
        noise: ε, (r, r) for all prompts alike or (B, r, r), the same for all tokens of a prompt; ``None`` for
            E = μ.
        positions: Where the prompts are.
        context: What E depends on.

    Returns:
        E z (R, S, r), and μ and σ, which are (B, r, r) for ``sequence`` and (R, S, r, r) for ``token``.
    """
    rows_R = positions.prompt_rows_R
    if context == "sequence":
        mu, sigma = network(positions.mean_B(z_R_S_r.to(network.inner.weight.dtype)))
        e_B_r_r = mu if noise is None else mu + sigma * noise
        return z_R_S_r @ e_B_r_r[rows_R].mT.to(z_R_S_r.dtype), mu, sigma
    columns_R_S = positions.context_columns_R_S(z_R_S_r.shape[1])
    mu, sigma = network(z_R_S_r.gather(1, columns_R_S[..., None].expand(z_R_S_r.shape)))
    if noise is not None and noise.ndim == 3:
        noise = noise[rows_R][:, None]
    e_R_S_r_r = mu if noise is None else mu + sigma * noise
    return (e_R_S_r_r * z_R_S_r[..., None, :]).sum(-1).to(z_R_S_r.dtype), mu, sigma


# -- files -------------------------------------------------------------------------------------------------


def save_networks(folder: Path, networks: Mapping[str, ContextNetwork]) -> None:
    """Write the networks of an adapter's layers beside it.

    Raises:
        ModelError: A network is not finite.
        StoreError: The folder cannot be written.
    """
    for layer, network in networks.items():
        if not all(torch.isfinite(parameter).all() for parameter in network.parameters()):
            raise ModelError(
                f"training diverged: the context network of layer {layer} holds NaN or infinity. "
                "Lower posterior.learning_rate."
            )
    tensors = {
        f"{layer}.{part}": tensor
        for layer, network in networks.items()
        for part, tensor in network.state_dict().items()
    }
    write_tensors(folder / NETWORKS, tensors)


def load_networks(folder: Path, weights: LoraWeights) -> dict[str, ContextNetwork]:
    """Read the networks of the layers of ``weights``, frozen.

    Raises:
        ModelError: The file is missing or damaged, or a network is missing, not finite or of another size.
    """
    path = folder / NETWORKS
    tensors = read_tensors(path)
    return {layer: _network(path, tensors, layer, len(a)) for layer, a in weights.a.items()}


def _network(path: Path, tensors: Mapping[str, Tensor], layer: str, rank: int) -> ContextNetwork:
    start = f"{layer}."
    parts = {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
    try:
        with torch.device("meta"):  # without memory or random numbers: the values come from the file
            network = ContextNetwork(rank, len(parts["inner.bias"]), _WIDEST_START)
        network.load_state_dict(parts, assign=True)
    except (KeyError, TypeError, RuntimeError) as exc:
        raise damaged(path, f"the context network of layer {layer} is missing or of another size") from exc
    return network.float().requires_grad_(False)
