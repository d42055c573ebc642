"""Kronecker-factored curvature with a low-rank wide side, the Gaussian it makes, and the evidence of its prior.

A block belongs to one matrix of parameters Θ (d × r), d wide, r the adapter's rank. Its curvature is
F = 𝔅𝔅ᵀ ⊗ LLᵀ with 𝔅 (d × n) and L (r × r) (Yang et al. 2024, arXiv 2308.13111; docs/methods.md, "Laplace"). Let
U (d × n) and V (r × r) be the eigenvectors of the two factors and κ (n × r) the products of their eigenvalues.
Then F + τI has the eigenvalues κ + τ in the directions U ⊗ V, and τ in the other (d − n)·r, so that no d × d
matrix is ever needed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

LOG_PRECISIONS = (-9.0, 18.0)
"""Natural logarithms between which the prior precision is searched: 1e-4 to 7e7."""


class LowRankFactor:
    """Σ v vᵀ over a stream of d-vectors, of rank n at most, in O(d·n) memory by incremental SVD (Brand 2002).

    Attributes:
        root_n_D: 𝔅ᵀ, with Σ v vᵀ ≈ 𝔅𝔅ᵀ.
    """

    def __init__(self, d: int, n: int) -> None:
        self._n = n
        self.root_n_D = torch.empty(0, d)

    def add(self, rows_M_D: Tensor) -> None:
        """Add M vectors to the sum, and keep the n strongest directions."""
        # The rows of 𝔅ᵀ stand for all vectors so far: the SVD of them and the new ones is that of the whole
        # sum.
        stacked = torch.cat([self.root_n_D, rows_M_D])
        _, values, basis = torch.linalg.svd(stacked, full_matrices=False)
        self.root_n_D = values[: self._n, None] * basis[: self._n]


@dataclass(frozen=True)
class Block:
    """Curvature of one Θ (d × r), float32.

    Attributes:
        wide_D_n: U.
        narrow_r_r: V.
        curvature_n_r: κ.
    """

    wide_D_n: Tensor
    narrow_r_r: Tensor
    curvature_n_r: Tensor

    @classmethod
    def of(cls, root_n_D: Tensor, narrow_r_r: Tensor) -> Block:
        """Decompose 𝔅ᵀ, and LLᵀ, which holds every constant factor of the curvature."""
        basis_D_n, values_n, _ = torch.linalg.svd(root_n_D.T.double(), full_matrices=False)
        values_r, vectors_r_r = torch.linalg.eigh(narrow_r_r.double())
        # LLᵀ is positive semidefinite; eigenvalues below 0 are rounding.
        curvature = values_n.square()[:, None] * values_r.clamp_min(0)
        return cls(*(part.float().contiguous() for part in (basis_D_n, vectors_r_r, curvature)))

    @property
    def size(self) -> int:
        """Number of parameters in Θ."""
        return len(self.wide_D_n) * len(self.narrow_r_r)

    def draw(self, noise_D_r: Tensor, precision: float) -> Tensor:
        """Turn white noise into a draw from N(0, (F + τI)⁻¹).

        Args:
            noise_D_r: Standard normal numbers.
            precision: τ.

        Returns:
            The draw (d, r).
        """
        # τ^(−1/2) in all directions, then the correction in those of the curvature.
        plain = precision**-0.5
        shrink_n_r = (self.curvature_n_r + precision).rsqrt() - plain
        inner_n_r = self.wide_D_n.T @ noise_D_r @ self.narrow_r_r
        change_D_r = self.wide_D_n @ (shrink_n_r * inner_n_r) @ self.narrow_r_r.T
        sample_D_r: Tensor = noise_D_r * plain + change_D_r
        return sample_D_r


@dataclass(frozen=True)
class Evidence:
    """The evidence of a prior precision (MacKay 1992), and what it depends on.

    Attributes:
        curvature: κ of all blocks.
        squared_distance: ‖θ − θ₀‖², θ₀ being the prior's mean.
        log_likelihood: log p(D | θ) in nats.
    """

    curvature: Tensor
    squared_distance: float
    log_likelihood: float

    @classmethod
    def of(cls, blocks: Sequence[Block], squared_distance: float, log_likelihood: float) -> Evidence:
        """Take all ``blocks`` together."""
        curvature = torch.cat([block.curvature_n_r.flatten().double() for block in blocks])
        return cls(curvature, squared_distance, log_likelihood)

    def log(self, precision: float) -> float:
        """Return log p(D | θ) − ½τ‖θ − θ₀‖² + ½P log τ − ½ log|F + τI| in nats, with P parameters."""
        # In a direction without curvature the two log τ cancel, so that P does not enter.
        determinant = float(torch.log1p(self.curvature / precision).sum())
        return self.log_likelihood - 0.5 * precision * self.squared_distance - 0.5 * determinant

    def best_precision(self) -> float:
        """Return the τ of the highest evidence within ``LOG_PRECISIONS``.

        There is one maximum, because the derivative in τ, ½Σκ/(τ(κ + τ)) − ½‖θ − θ₀‖², only falls.
        """
        found = minimize_scalar(
            lambda log_tau: -self.log(math.exp(log_tau)),
            bounds=LOG_PRECISIONS,
            method="bounded",
            options={"xatol": 1e-4},
        )
        return math.exp(found.x)
