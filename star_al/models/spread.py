"""Spread a model's blocks over several GPUs, which compute one after another.

What is not in a block (embeddings, the last norm, the head) stays on the first GPU, and so does whatever reads hidden
states: there, a model that is spread looks like one that is not. Blocks fetch their inputs, and the last one sends its
output back. Not by accelerate's hooks: those replace ``forward``, as several parts of star_al do for a while.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
import transformers
from accelerate.hooks import remove_hook_from_module
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from star_al.errors import ModelError
from star_al.models.quiet import quiet
from star_al.models.target_layers import transformer_blocks

_BYTES = {"4bit": 0.55, "8bit": 1.0}
"""Bytes of a quantised weight and its share of the scales."""


def device_map(config: Any, devices: Sequence[torch.device], dtype: torch.dtype, bits: str) -> dict[str, str]:
    """Return where each part of a model goes, by its name, so that all devices hold about as many bytes.

    Args:
        config: The model's configuration.
        devices: The devices, the first of which also holds what is not in a block.
        dtype: The dtype of weights that are not quantised.
        bits: How blocks are quantised, as ``model.quantise`` has it.

    Raises:
        ModelError: There are fewer blocks than devices, or none that star_al finds.
    """
    with quiet(), torch.device("meta"):  # shapes without memory
        model: Any = transformers.AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    start, blocks = transformer_blocks(model)
    if len(blocks) < len(devices):
        raise ModelError(
            f"model.gpus is {len(devices)}, but the model has only {len(blocks)} blocks to spread. Lower it."
        )
    sizes = [_size(block) * _BYTES.get(bits, dtype.itemsize) for block in blocks]
    places = {name: str(devices[0]) for name in _beside(model, blocks)}
    rest = _size(model) - sum(map(_size, blocks))
    for number, device in enumerate(_shares(sizes, rest * dtype.itemsize, len(devices))):
        places[f"{start}.{number}"] = str(devices[device])
    return places


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _beside(module: nn.Module, blocks: nn.ModuleList, prefix: str = "") -> list[str]:
    """Return the names of the largest parts of a module that hold none of the blocks."""
    names = [prefix + name for name, _ in module.named_parameters(recurse=False)]
    names += [prefix + name for name, _ in module.named_buffers(recurse=False)]
    for name, child in module.named_children():
        if child is blocks:
            continue
        if any(part is blocks for part in child.modules()):
            names += _beside(child, blocks, f"{prefix}{name}.")
        else:
            names.append(prefix + name)
    return names


def _shares(sizes: Sequence[float], rest: float, n: int) -> list[int]:
    """Return which of ``n`` devices each block goes to; the first one holds ``rest`` already."""
    share, before, found = (rest + sum(sizes)) / n, rest, list[int]()
    for size in sizes:
        found.append(min(n - 1, int((before + size / 2) / share)))
        before += size
    return found


def join_blocks(model: Any) -> None:
    """Let the blocks of a model, wherever they are, take what the others give."""
    remove_hook_from_module(model, recurse=True)
    _, blocks = transformer_blocks(model)
    home = model.get_input_embeddings().weight.device
    for block in blocks:
        place = next(block.parameters()).device
        if place != home:
            block.register_forward_pre_hook(partial(_fetch, place), with_kwargs=True)
    blocks[-1].register_forward_hook(partial(_send, home))


def _fetch(place: torch.device, _: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    return tree_map(partial(_on, place), (args, kwargs))


def _send(place: torch.device, _: nn.Module, __: tuple[Any, ...], output: Any) -> Any:
    return tree_map(partial(_on, place), output)


def _on(place: torch.device, value: Any) -> Any:
    return value.to(place) if isinstance(value, Tensor) else value
