"""MC dropout samples have the mean and variance of dropout on a linear model."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from star_al.models.adapter_file import LoraWeights
from star_al.models.posterior.mc_dropout import MaskedAdapter

D_IN, D_OUT, RANK, SCALE, DRAWS = 12, 6, 3, 1.5, 4000


class LinearModel(nn.Module):
    """One dense layer and a head that is not adapted."""

    def __init__(self) -> None:
        super().__init__()
        self.dense, self.head = nn.Linear(D_IN, D_OUT, bias=False), nn.Linear(D_OUT, 2)

    def get_output_embeddings(self) -> nn.Module:
        return self.head


def outputs(posterior: MaskedAdapter, model: LinearModel, x: torch.Tensor, samples: Any) -> torch.Tensor:
    backbone: Any = SimpleNamespace(model=model)
    rows = []
    for sample in samples:
        with torch.no_grad(), posterior.draw(backbone, lambda _: model.dense(x), 3, sample) as score:
            rows.append(score(None))  # type: ignore[arg-type]
    return torch.stack(rows).double()


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5])
def test_many_samples_approach_the_closed_form(p: float) -> None:
    """E[W x] = (W0 + s·B·A) x, and Var[W x]_i = s² Σ_j p/(1−p)·(B·A)_ij²·x_j²."""
    torch.manual_seed(0)
    model, x = LinearModel(), torch.randn(D_IN)
    a, b = torch.randn(RANK, D_IN), torch.randn(D_OUT, RANK)
    posterior = MaskedAdapter(LoraWeights({"dense": a}, {"dense": b}, SCALE), p)
    delta = SCALE * (b @ a).double()
    mean = (model.dense.weight.detach().double() + delta) @ x.double()
    variance = (p / (1 - p) * delta**2 * x.double() ** 2).sum(dim=1)
    torch.testing.assert_close(
        outputs(posterior, model, x, [None])[0], mean, atol=1e-5, rtol=1e-5, check_dtype=False
    )
    drawn = outputs(posterior, model, x, range(DRAWS if p else 3))
    error = (drawn.mean(dim=0) - mean).abs()
    assert (error <= 4 * (variance / DRAWS).sqrt() + 1e-5).all()
    torch.testing.assert_close(drawn.var(dim=0, unbiased=False), variance, atol=1e-9, rtol=0.1)
