"""Run a model of any dtype in float32, block by block, so that rounding does not decide what a probe finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

_HALF = (torch.bfloat16, torch.float16)


def parts_of(body: nn.Module) -> list[nn.Module]:
    """Return the modules that a body calls one after another: the blocks of its lists, and what is beside them."""
    parts: list[nn.Module] = []
    for child in body.children():
        if isinstance(child, nn.ModuleList):
            parts.extend(child)
        elif any(isinstance(module, nn.ModuleList) for module in child.modules()):
            parts.extend(parts_of(child))
        else:
            parts.append(child)
    return parts


@contextmanager
def computing_in_float32(body: nn.Module) -> Iterator[None]:
    """Within, ``body`` computes in float32, and its weights stay as they are.

    A block has a float32 copy of its weights while it runs, so memory for one more block is needed. Quantised
    weights are left alone.
    """
    with ExitStack() as stack:
        for part in dict.fromkeys(parts_of(body)):  # a block may be in several places
            if any(tensor.dtype in _HALF for tensor in part.parameters()):
                stack.enter_context(_replaced_forward(part, _widen))
        yield


@contextmanager
def _replaced_forward(
    module: nn.Module, replacement: Callable[[nn.Module, Callable[..., Any]], Callable[..., Any]]
) -> Iterator[None]:
    """Within, a module computes by what ``replacement`` makes of it and its own forward."""
    own = vars(module).get("forward")  # accelerate sets one, too
    module.forward = replacement(module, module.forward)
    try:
        yield
    finally:
        del module.forward
        if own is not None:
            module.forward = own


def _widen(part: nn.Module, forward: Callable[..., Any]) -> Callable[..., Any]:
    # A float32 copy of an embedding would be large, and looking a row up rounds nothing.
    return partial(_look_up if isinstance(part, nn.Embedding) else _run_widened, part, forward)


def _look_up(_: nn.Module, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return tree_map(_float32, forward(*args, **kwargs))


def _run_widened(part: nn.Module, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    args, kwargs = tree_map(_float32, (args, kwargs))
    with widened(part):
        return forward(*args, **kwargs)


@contextmanager
def widened(part: nn.Module) -> Iterator[None]:
    """Within, a module and all in it have float32 copies of their weights."""
    replaced: list[tuple[dict[str, Any], str, Tensor]] = []
    try:
        for module in part.modules():
            stores: list[dict[str, Any]] = [module._parameters, module._buffers]
            for tensors in stores:
                for name, tensor in tensors.items():
                    if tensor is not None and (wide := _float32_weight(tensor)) is not tensor:
                        replaced.append((tensors, name, tensor))
                        tensors[name] = wide
        yield
    finally:
        for tensors, name, tensor in replaced:
            tensors[name] = tensor


def _float32(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.dtype in _HALF else value


def _float32_weight(tensor: Tensor) -> Tensor:
    """Return a float32 copy of a plain half-precision tensor; a library's own kind of tensor is returned itself."""
    if tensor.dtype not in _HALF or type(tensor) not in (Tensor, nn.Parameter):
        return tensor
    wide = tensor.detach().float()
    return nn.Parameter(wide, requires_grad=False) if isinstance(tensor, nn.Parameter) else wide
