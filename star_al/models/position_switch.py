"""Find models that read all tokens of a sequence otherwise once it is longer than some number of tokens.

Rotary factors for long texts (``longrope``) are chosen by the longest sequence of a pass, so that a short text
would be read in one way beside a long one and in another without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from star_al.errors import ModelError
from star_al.models.devices import first_line
from star_al.models.float32_probe import computing_in_float32
from star_al.models.label_tree import label_tree
from star_al.models.prompts import Prompt
from star_al.models.quantised import is_quantised
from star_al.models.readout import Readout
from star_al.models.readout_checks import is_close

_FIRST = 16
"""Tokens that are compared."""

_NAME = "original_max_position_embeddings"
"""What configurations call the longest sequence that a model was first trained with."""


def require_one_reading(model: Any, readout: Readout, prompts: Sequence[Prompt], limit: int) -> None:
    """Refuse a model whose reading of a prompt depends on the lengths that ``limit`` allows.

    It costs a pass over the longest prompt. A length at which the configuration says that something changes, as
    few do, costs one more if it is allowed.

    Args:
        model: The causal language model.
        readout: Its readout.
        prompts: Some prompts of the task.
        limit: The longest prompt that ``model.max_tokens`` allows, with a label.

    Raises:
        ModelError: The reading changes.
    """
    switches = sorted({size for size in _switches(model.config.to_dict()) if size < limit})
    for size in switches:
        if _reads_otherwise(readout, size + 1):
            labels = max(len(label) for prompt in prompts for label in prompt.labels)
            raise ModelError(
                f"{type(model).__name__} reads a text of more than {size} tokens with other rotary factors, also the "
                f"shorter texts beside it. Set model.max_tokens to {max(1, size - labels)} or less."
            )
    longest = max(len(prompt.tokens) + max(label_tree(prompt.labels).depths) for prompt in prompts)
    if _reads_otherwise(readout, longest):
        raise ModelError(
            f"{type(model).__name__} reads the beginning of a text of {longest} tokens otherwise than that of a "
            "short one. Lower model.max_tokens."
        )


def _switches(config: Mapping[str, Any]) -> Iterator[int]:
    """Yield the lengths that a configuration, or a part of it, says its model was first trained with."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _switches(value)
        elif name == _NAME and isinstance(value, int):
            yield value


def _reads_otherwise(readout: Readout, length: int) -> bool:
    """Return whether a causal model makes something else of a sequence's first tokens than of these alone."""
    if length <= _FIRST:
        return False
    vocabulary = readout.head.weight.shape[0]
    ids = ((torch.arange(length, device=readout.device) * 7919 + 11) % vocabulary)[None]
    try:
        with torch.inference_mode(), computing_in_float32(readout.body):
            alone, beginning = readout.hidden(ids[:, :_FIRST]), readout.hidden(ids)[:, :_FIRST]
    except (
        Exception
    ) as exc:  # each architecture fails in its own way, such as with lengths that it does not take
        raise ModelError(
            f"{type(readout.body).__name__} cannot read {length:,} tokens: {type(exc).__name__}: {first_line(exc)}. "
            "Lower model.max_tokens, or give another model."
        ) from exc
    return not is_close(beginning, alone, 5e-2 if is_quantised(readout.body) else 1e-3)
