"""Kronecker blocks agree with dense matrices of the same factors and with laplace-torch."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from star_al.models.posterior.curvature import PASSES, cotangents
from star_al.models.posterior.kfac import LOG_PRECISIONS, Block, Evidence, LowRankFactor

D, R = 7, 3


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def wide_factor(rows: Tensor, n: int, chunk: int = 4) -> Tensor:
    factor = LowRankFactor(rows.shape[1], n)
    for part in torch.split(rows, chunk):
        factor.add(part)
    return factor.root_n_D


def block_and_dense(rank: int, seed: int = 0) -> tuple[Block, Tensor]:
    """Return a block and its curvature as a dense (D·R, D·R) matrix."""
    root_n_D, gradients = noise(rank, D, seed=seed), noise(2 * R, R, seed=seed + 1)
    narrow = gradients.T @ gradients
    dense = torch.kron(root_n_D.T.double() @ root_n_D.double(), narrow.double())
    return Block.of(root_n_D, narrow), dense


def shaping(block: Block, precision: float) -> Tensor:
    """The matrix that ``shape`` applies to the noise."""
    units = torch.eye(block.size).view(block.size, D, R)
    return torch.stack([block.draw(unit, precision).flatten() for unit in units], dim=1).double()


@pytest.mark.parametrize("precision", [0.1, 3.0, 500.0])
@pytest.mark.parametrize("rank", [1, 4, D])
def test_samples_have_the_covariance_of_the_dense_matrix(rank: int, precision: float) -> None:
    block, dense = block_and_dense(rank)
    covariance = torch.linalg.inv(dense + precision * torch.eye(D * R).double())
    matrix = shaping(block, precision)
    torch.testing.assert_close(matrix @ matrix.T, covariance, rtol=1e-4, atol=1e-5 / precision)


@pytest.mark.parametrize("precision", [0.01, 2.0, 300.0])
def test_evidence_is_that_of_the_dense_matrix(precision: float) -> None:
    pairs = [block_and_dense(rank, seed=10 * rank) for rank in (1, 3, D)]
    evidence = Evidence.of([block for block, _ in pairs], squared_distance=4.2, log_likelihood=-7.0)
    dense = torch.block_diag(*(dense for _, dense in pairs))
    p = len(dense)
    determinant = torch.linalg.slogdet(dense + precision * torch.eye(p).double()).logabsdet
    expected = -7.0 - 0.5 * precision * 4.2 + 0.5 * p * math.log(precision) - 0.5 * float(determinant)
    assert evidence.log(precision) == pytest.approx(expected, rel=1e-5)


def test_the_evidence_of_a_linear_gaussian_model_is_exact() -> None:
    """y = Xw + noise with w ~ N(w₀, 1/τ): there the approximation is the marginal likelihood, N(y; Xw₀, I + XXᵀ/τ)."""
    n, precision = 12, 1.7
    x_n_D, y_n = noise(n, D).double(), noise(n, seed=1).double()
    prior_D = noise(D, seed=2).double()
    hessian = x_n_D.T @ x_n_D
    mode_D = torch.linalg.solve(
        hessian + precision * torch.eye(D).double(), x_n_D.T @ y_n + precision * prior_D
    )
    likelihood = torch.distributions.Normal(x_n_D @ mode_D, 1.0).log_prob(y_n).sum()
    block = Block.of(x_n_D, torch.eye(1))
    evidence = Evidence.of([block], float((mode_D - prior_D).square().sum()), float(likelihood))
    marginal = torch.distributions.MultivariateNormal(
        x_n_D @ prior_D, torch.eye(n).double() + x_n_D @ x_n_D.T / precision
    )
    assert evidence.log(precision) == pytest.approx(float(marginal.log_prob(y_n)), rel=1e-5)


def test_the_best_precision_has_no_better_neighbour_and_follows_the_weights() -> None:
    blocks = [block_and_dense(3)[0]]
    found = []
    for squared_distance in (0.1, 1.0, 10.0, 100.0):
        evidence = Evidence.of(blocks, squared_distance, 0.0)
        best = evidence.best_precision()
        found.append(best)
        low, high = LOG_PRECISIONS
        grid = [math.exp(low + (high - low) * step / 2000) for step in range(2001)]
        assert evidence.log(best) >= max(map(evidence.log, grid)) - 1e-6
        # MacKay's fixed point: τ‖θ‖² is the number of directions that the data determine.
        determined = float((evidence.curvature / (evidence.curvature + best)).sum())
        assert best * squared_distance == pytest.approx(determined, rel=1e-3)
    assert found == sorted(found, reverse=True)


@pytest.mark.parametrize("chunk", [1, 4, 30])
def test_the_wide_factor_is_exact_when_the_rank_suffices(chunk: int) -> None:
    rows = noise(30, 4) @ noise(4, 50, seed=1)
    root = wide_factor(rows, n=4, chunk=chunk)
    assert root.shape == (4, 50)
    torch.testing.assert_close(root.T @ root, rows.T @ rows, rtol=1e-3, atol=1e-3)


def test_the_wide_factor_nears_the_sum_as_its_rank_grows() -> None:
    rows = noise(64, 40) * torch.linspace(1, 0, 40) ** 2
    whole = rows.T @ rows
    errors = []
    for n in (1, 2, 5, 10, 20, 40):
        root = wide_factor(rows, n)
        errors.append(float((root.T @ root - whole).norm() / whole.norm()))
        values, basis = torch.linalg.eigh(whole)
        best = float(((basis[:, :-n] * values[:-n]) @ basis[:, :-n].T).norm() / whole.norm()) if n < 40 else 0
        assert errors[-1] <= 1.3 * best + 1e-4  # against the best there is of this rank
    assert errors == sorted(errors, reverse=True) and errors[-1] < 1e-5


class LargestTensor(TorchDispatchMode):
    numel = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(tensor, Tensor):
                self.numel = max(self.numel, tensor.numel())
        return out


def test_nothing_of_the_wide_side_squared_is_allocated() -> None:
    d, n, r, rows = 20_000, 10, 8, 16
    with LargestTensor() as largest:  # type: ignore[no-untyped-call]
        root = wide_factor(noise(2 * rows, d), n, chunk=rows)
        block = Block.of(root, torch.eye(r))
        block.draw(noise(d, r), Evidence.of([block], 1.0, 0.0).best_precision())
    assert d * n < largest.numel <= d * 2 * rows  # d · d would be 4e8


@pytest.mark.parametrize("labels", [1, 2, 5, PASSES + 1])
def test_cotangents_make_the_fisher_information(labels: int) -> None:
    log_probs = (3 * noise(4, labels)).log_softmax(1)
    vectors = cotangents(log_probs, torch.Generator())
    assert len(vectors) == max(1, labels - 1)
    p = log_probs.exp()
    expected = p.diag_embed() - p[:, :, None] * p[:, None]
    torch.testing.assert_close(torch.einsum("sbc,sbd->bcd", vectors, vectors), expected, atol=1e-6, rtol=1e-4)


def test_cotangents_of_labels_that_a_prompt_lacks_are_zero() -> None:
    log_probs = torch.tensor([[0.3, 0.7, 0.0], [0.2, 0.3, 0.5]]).log()
    vectors = cotangents(log_probs, torch.Generator())
    assert torch.isfinite(vectors).all() and not vectors[:, 0, 2].any() and vectors[:, 1, 2].any()


def test_cotangents_of_many_labels_are_right_in_expectation() -> None:
    log_probs = noise(1, 40).log_softmax(1).expand(3000, 40)
    vectors = cotangents(log_probs, torch.Generator().manual_seed(0))
    assert vectors.shape == (PASSES, 3000, 40)
    p = log_probs[0].exp()
    mean = torch.einsum("sbc,sbd->cd", vectors, vectors) / 3000
    expected = p.diag() - p[:, None] * p
    assert float((mean - expected).norm() / expected.norm()) < 0.05


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_linear_model_equals_laplace_torch() -> None:
    """Compare factors, evidence and covariance with the library of Daxberger et al. (2021) on the same data."""
    from laplace import KronLaplace
    from laplace.curvature import CurvlinopsGGN

    n, d, c, precision = 30, 6, 3, 2.5
    x, y = noise(n, d), torch.arange(n) % c
    model = torch.nn.Linear(d, c, bias=False)
    model.weight.data = 0.5 * noise(c, d, seed=1)
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=n)
    library = KronLaplace(model, "classification", prior_precision=precision, backend=CurvlinopsGGN)
    library.fit(data)

    log_probs = (x @ model.weight.detach().T).log_softmax(1)
    gradients = cotangents(log_probs, torch.Generator()).reshape(-1, c)
    block = Block.of(wide_factor(x, d), gradients.T @ gradients / n)
    squared_distance = float(model.weight.detach().square().sum())
    evidence = Evidence.of([block], squared_distance, float(log_probs[range(n), y].sum()))
    theirs = float(library.log_marginal_likelihood(torch.tensor(precision)))
    assert evidence.log(precision) == pytest.approx(theirs, rel=1e-4)
    matrix = torch.stack(
        [block.draw(unit, precision).T.flatten() for unit in torch.eye(d * c).view(d * c, d, c)], dim=1
    )
    covariance = torch.linalg.inv(library.posterior_precision.to_matrix())
    torch.testing.assert_close(matrix @ matrix.T, covariance, rtol=1e-3, atol=1e-4)
    best = evidence.best_precision()
    neighbours = [float(library.log_marginal_likelihood(torch.tensor(best * f))) for f in (0.7, 1.0, 1.4)]
    assert neighbours[1] == max(neighbours)
