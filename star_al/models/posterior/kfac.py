"""Kronecker-factored curvature with a low-rank wide side, the Gaussian it makes, and its evidence.

A block belongs to one matrix of parameters Θ (d × r), d wide, r the adapter's rank. Its curvature is
F = 𝔅𝔅ᵀ ⊗ LLᵀ, 𝔅 (d × n) and L (r × r) (Yang et al. 2024, methods, section 5). With the eigenvectors
U (d × n) of the one, V (r × r) of the other and products κ (n × r) of their eigenvalues, F + τI has the
eigenvalues κ + τ, and τ for the other (d − n)·r directions: no product of d × d is ever needed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

LOG_PRECISIONS = (-9.0, 18.0)
"""Where the prior precision's natural logarithm is looked for: 1e-4 to 7e7."""


class WideFactor:
    """Σ v vᵀ over a stream of d-vectors, of rank ``n`` at most: incremental SVD (Brand 2002), O(d·n) memory."""

    def __init__(self, d: int, n: int) -> None:
        self._n = n
        self.root_n_D = torch.empty(0, d)  # 𝔅ᵀ

    def add(self, rows_M_D: Tensor) -> None:
        """Count the vectors ``rows_M_D`` in, and keep the ``n`` strongest directions."""
        seen = torch.cat([self.root_n_D, rows_M_D])
        _, values, basis = torch.linalg.svd(seen, full_matrices=False)
        self.root_n_D = values[: self._n, None] * basis[: self._n]


@dataclass(frozen=True)
class Block:
    """Curvature of one Θ: U (d × n), V (r × r), κ (n × r), float32; rows of U and V are Θ's coordinates."""

    wide_D_n: Tensor
    narrow_r_r: Tensor
    curvature_n_r: Tensor

    @classmethod
    def of(cls, root_n_D: Tensor, narrow_r_r: Tensor) -> Block:
        """From 𝔅ᵀ, and LLᵀ with every constant in it."""
        basis_D_n, values_n, _ = torch.linalg.svd(root_n_D.T.double(), full_matrices=False)
        values_r, vectors_r_r = torch.linalg.eigh(narrow_r_r.double())
        curvature = values_n.square()[:, None] * values_r.clamp_min(0)
        return cls(*(part.float().contiguous() for part in (basis_D_n, vectors_r_r, curvature)))

    @property
    def size(self) -> int:
        """Parameters in Θ."""
        return len(self.wide_D_n) * len(self.narrow_r_r)

    def shape(self, noise_D_r: Tensor, precision: float) -> Tensor:
        """White noise made into a draw from N(0, (F + τI)⁻¹), (d, r), τ = ``precision``."""
        plain = precision**-0.5
        shrink_n_r = (self.curvature_n_r + precision).rsqrt() - plain
        inner_n_r = self.wide_D_n.T @ noise_D_r @ self.narrow_r_r
        change_D_r = self.wide_D_n @ (shrink_n_r * inner_n_r) @ self.narrow_r_r.T
        sample_D_r: Tensor = noise_D_r * plain + change_D_r
        return sample_D_r


@dataclass(frozen=True)
class Evidence:
    """What the evidence of a prior precision depends on: κ of all blocks, ‖θ‖² and log p(D | θ)."""

    curvature: Tensor
    squared_norm: float
    log_likelihood: float

    @classmethod
    def of(cls, blocks: Sequence[Block], squared_norm: float, log_likelihood: float) -> Evidence:
        """For all ``blocks`` together."""
        curvature = torch.cat([block.curvature_n_r.flatten().double() for block in blocks])
        return cls(curvature, squared_norm, log_likelihood)

    def log(self, precision: float) -> float:
        """The evidence, log p(D|θ) − ½τ‖θ‖² + ½P·log τ − ½log|F + τI|, in nats (MacKay 1992).

        The two log τ of a direction without curvature cancel, so that P does not enter.
        """
        determinant = float(torch.log1p(self.curvature / precision).sum())
        return self.log_likelihood - 0.5 * precision * self.squared_norm - 0.5 * determinant

    def best_precision(self) -> float:
        """The τ of the highest evidence within ``LOG_PRECISIONS``; there is one maximum.

        The derivative in τ, ½Σκ/(τ(κ + τ)) − ½‖θ‖², only falls.
        """
        found = minimize_scalar(
            lambda log_tau: -self.log(math.exp(log_tau)),
            bounds=LOG_PRECISIONS,
            method="bounded",
            options={"xatol": 1e-4},
        )
        return math.exp(found.x)
