"""Gradient checkpointing: blocks keep their input alone, and compute the rest again in the backward pass."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Any

from torch.overrides import _get_current_function_mode_stack
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from star_al.config.spec import AdapterSpec
from star_al.errors import ModelError


@contextmanager
def recomputed_blocks(model: Any, spec: AdapterSpec) -> Iterator[None]:
    """Within, the blocks of the base model are checkpointed if ``adapter.training.gradient_checkpointing`` says so.

    Not by transformers' own method: that also asks for a gradient of the embeddings, which nobody needs.

    Raises:
        ModelError: The model has no blocks that transformers can checkpoint.
    """
    if not spec.training.gradient_checkpointing:
        yield
        return
    blocks: list[Any] = [
        module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)
    ]
    if not blocks:
        raise ModelError(
            f"{type(model).__name__} has no gradient checkpointing. "
            "Set adapter.training.gradient_checkpointing: false."
        )
    for block in blocks:
        block.gradient_checkpointing = True
        block._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False, context_fn=_same_modes)
    try:
        yield
    finally:
        for block in blocks:
            block.gradient_checkpointing = False
            del block._gradient_checkpointing_func


def _same_modes() -> tuple[AbstractContextManager[object], AbstractContextManager[object]]:
    """Return contexts for a block's two computations: the second one needs the modes of torch functions of the first.

    A backward pass runs without them, and attention is replaced by one (``SequenceAttention``).
    """
    return nullcontext(), _entered(_get_current_function_mode_stack())


@contextmanager
def _entered(modes: Iterable[AbstractContextManager[object]]) -> Iterator[None]:
    with ExitStack() as stack:
        for mode in modes:
            stack.enter_context(mode)
        yield
