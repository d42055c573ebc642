"""The mathematics of C-LoRA (Rahmati et al. 2025): an r × r matrix between A and B that depends on the text.

h = W0 x + s·B·E·A x with z = A x and, for each text, E ~ N(μ(c), diag σ(c)²), where c is what the context
network reads of z: its mean over the prompt, or z at each token. Axes: B prompts in R sequences of S tokens.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from star_al.errors import ModelError
from star_al.models.adapter_file import LoraWeights, damaged, read_tensors, writing
from star_al.models.batching import Batch

Context: TypeAlias = Literal["sequence", "token"]

NETWORKS = "clora.safetensors"
_WIDEST_START = 0.5  # σ starts at β, but not where the sigmoid is flat


class ContextNetwork(nn.Module):
    """Linear(r → hidden), ReLU, Linear(hidden → 2r²): the mean μ and the width σ = sigmoid(ρ)² of E.

    At the start μ is the identity and σ is β = ``start_std``, both up to what the text adds by the random
    weights: B and A then learn as ordinary LoRA does. Weights are drawn from torch's global generator.
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
        """μ and σ, (..., r, r) each, of contexts (..., r), in the precision of the network's weights."""
        with torch.autocast(contexts_r.device.type, enabled=False):
            inner = torch.relu(self.inner(contexts_r.to(self.inner.weight.dtype)))
            mu, rho = self.outer(inner).unflatten(-1, (2, self.rank, self.rank)).unbind(-3)
            return mu, torch.sigmoid(rho) ** 2


def divergence(mu_r_r: Tensor, sigma_r_r: Tensor, prior_std: float) -> Tensor:
    """KL(N(μ, σ²) ‖ N(0, β²)) in nats, summed over the r × r entries: (...,)."""
    terms = torch.log(prior_std / sigma_r_r) + (sigma_r_r**2 + mu_r_r**2) / (2 * prior_std**2) - 0.5
    return terms.sum(dim=(-2, -1))


@dataclass(frozen=True)
class Places:
    """Where the prompts lie in a batch's sequences; what follows them are labels and padding."""

    prompt_rows_R: Tensor  # the prompt of a sequence
    first_rows_B: Tensor  # a sequence of a prompt
    lengths_B: Tensor  # tokens of a prompt

    @classmethod
    def of(cls, batch: Batch) -> Places:
        """Read off the root nodes, which lie at the last tokens of the prompts, in their order."""
        roots = ~batch.inner_P
        return cls(batch.prompt_rows_R, batch.node_rows_P[roots], batch.node_columns_P[roots] + 1)

    def check(self, layer: str, x: Tensor) -> None:
        """Refuse an input of ``layer`` that is not the batch's sequences, (R, S, d).

        Raises:
            ModelError: it is not.
        """
        if x.ndim != 3 or len(x) != len(self.prompt_rows_R):
            raise ModelError(
                f"C-LoRA needs whole texts, and the layer {layer} does not get them. "
                "Leave it out of adapter.target_modules."
            )

    def in_prompt_B_S(self, width: int) -> Tensor:
        """Whether a token belongs to the prompt, (B, S) of 0 and 1."""
        return (torch.arange(width, device=self.lengths_B.device) < self.lengths_B[:, None]).float()

    def mean_B(self, values_R_S: Tensor) -> Tensor:
        """The mean over a prompt's tokens of values (R, S, ...): (B, ...); labels and padding do not count."""
        shares_B_S = self.in_prompt_B_S(values_R_S.shape[1]) / self.lengths_B[:, None]
        values_B_S = values_R_S[self.first_rows_B]
        return torch.einsum("bs,bs...->b...", shares_B_S.to(values_B_S.dtype), values_B_S)

    def tokens_read_R_S(self, width: int) -> Tensor:
        """The column whose z a token's E depends on: its own, or after the prompt the prompt's last.

        A label's own z would tell which label is being scored.
        """
        columns_S = torch.arange(width, device=self.lengths_B.device)
        return torch.minimum(columns_S, self.lengths_B[self.prompt_rows_R][:, None] - 1)


def contextual(
    z_R_S_r: Tensor, network: ContextNetwork, noise: Tensor | None, places: Places, context: Context
) -> tuple[Tensor, Tensor, Tensor]:
    """E z (R, S, r), and μ and σ by prompt (B, r, r) or, for ``context: token``, by token (R, S, r, r).

    E = μ + σ·``noise``, which is (r, r) for all prompts alike or (B, r, r), the same for all tokens of a
    prompt; null: E = μ.
    """
    rows_R = places.prompt_rows_R
    if context == "sequence":
        mu, sigma = network(places.mean_B(z_R_S_r.to(network.inner.weight.dtype)))
        e_B_r_r = mu if noise is None else mu + sigma * noise
        return z_R_S_r @ e_B_r_r[rows_R].mT.to(z_R_S_r.dtype), mu, sigma
    read_R_S = places.tokens_read_R_S(z_R_S_r.shape[1])
    mu, sigma = network(z_R_S_r.gather(1, read_R_S[..., None].expand(z_R_S_r.shape)))
    if noise is not None and noise.ndim == 3:
        noise = noise[rows_R][:, None]
    e_R_S_r_r = mu if noise is None else mu + sigma * noise
    return (e_R_S_r_r * z_R_S_r[..., None, :]).sum(-1).to(z_R_S_r.dtype), mu, sigma


# -- files -------------------------------------------------------------------------------------------------


def save_networks(folder: Path, networks: Mapping[str, ContextNetwork]) -> None:
    """Write the networks of an adapter's layers beside it.

    Raises:
        ModelError: a network is not finite. StoreError: the folder cannot be written.
    """
    for layer, network in networks.items():
        if not all(torch.isfinite(parameter).all() for parameter in network.parameters()):
            raise ModelError(
                f"training diverged: the context network of layer {layer} holds NaN or infinity. "
                "Lower posterior.learning_rate."
            )
    tensors = {
        f"{layer}.{part}": tensor.detach().cpu().contiguous()
        for layer, network in sorted(networks.items())
        for part, tensor in network.state_dict().items()
    }
    with writing(folder):
        save_file(tensors, folder / NETWORKS, metadata={"format": "pt"})


def load_networks(folder: Path, weights: LoraWeights) -> dict[str, ContextNetwork]:
    """The networks of the layers of ``weights``, frozen.

    Raises:
        ModelError: the file is missing or damaged, or a network is missing, not finite or of another size.
    """
    path = folder / NETWORKS
    tensors = read_tensors(path)
    return {layer: _network(path, tensors, layer, len(a)) for layer, a in weights.a.items()}


def _network(path: Path, tensors: Mapping[str, Tensor], layer: str, rank: int) -> ContextNetwork:
    start = f"{layer}."
    own = {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
    try:
        with torch.device("meta"):  # sizes alone: the values come from the file
            network = ContextNetwork(rank, len(own["inner.bias"]), _WIDEST_START)
        network.load_state_dict(own, assign=True)
    except (KeyError, TypeError, RuntimeError) as exc:
        raise damaged(path, f"the context network of layer {layer} is missing or of another size") from exc
    return network.float().requires_grad_(False)
