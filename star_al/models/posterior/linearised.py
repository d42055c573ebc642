"""A model linearised in its adapter, f(x) + J(x)δ, by forward-mode differentiation.

Beside every activation runs its tangent. An adapted layer y = Wx adds the tangent of its weight,
dW = s(dB·A + B·dA), as a thin product that is never formed: dy = W·dx + P(Qx), P (d_out × 2r), Q (2r × d_in).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from star_al.errors import ModelError
from star_al.models import dual
from star_al.models.attention import TangentAttention, attention_for
from star_al.models.batching import Batch
from star_al.models.lora import adaptable_modules
from star_al.models.posterior import Score
from star_al.models.quantised import holds_floats, passing_tangents


def linearised(model: nn.Module, score: Score, directions: Mapping[str, tuple[Tensor, Tensor]]) -> Score:
    """``score`` plus its derivative along dW = P·Q for the layers of ``directions``, (P, Q) each.

    The tangents run in the model's dtype; the sum is float32.
    """
    modules: dict[str, Any] = dict(adaptable_modules(model))
    hooks = {
        modules[name]: _tangent_of(p, q, modules[name].weight.device) for name, (p, q) in directions.items()
    }
    packed = [module for module in modules.values() if not holds_floats(module)]

    def scored(batch: Batch) -> Tensor:
        # Tangents do not exist in inference mode.
        with torch.inference_mode(False), torch.no_grad(), ExitStack() as stack:
            stack.enter_context(attention_for(next(model.parameters()).device, TangentAttention))
            stack.enter_context(dual.level())
            for module in packed:
                stack.enter_context(passing_tangents(module))
            for module, hook in hooks.items():
                stack.callback(module.register_forward_hook(hook).remove)
            try:
                scores_B_C, change_B_C = dual.unpack(score(batch))
            except RuntimeError as exc:
                if not _lacks_derivative(exc):
                    raise
                raise _not_linearised(model) from exc
            if change_B_C is None:  # a step has dropped it
                raise _not_linearised(model)
            return scores_B_C + change_B_C

    return scored


def _not_linearised(model: nn.Module) -> ModelError:
    return ModelError(
        f"{type(model).__name__} cannot be linearised: a step of it has no forward-mode derivative. "
        "Set posterior.predictive: sampling."
    )


def _lacks_derivative(exc: RuntimeError) -> bool:
    """Whether a step without a forward-mode derivative raised it; custom functions have no type for it."""
    return isinstance(exc, NotImplementedError) or any(word in str(exc) for word in ("jvp", "forward AD"))


def _tangent_of(
    p_O_r: Tensor, q_r_I: Tensor, device: torch.device
) -> Callable[[Any, tuple[Tensor, ...], Tensor], Tensor]:
    """A forward hook that adds the tangent of the layer's weight."""
    p_O_r, q_r_I = p_O_r.to(device), q_r_I.to(device)

    def hook(_: Any, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        y, dy = dual.unpack(output)
        x, _ = dual.unpack(args[0])
        change = x @ q_r_I.T.to(x.dtype) @ p_O_r.T.to(x.dtype)
        return dual.make(y, change if dy is None else dy + change)

    return hook
