"""Trained LoRA adapters on disk, in peft's two files, which other tools can load."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import peft
from torch import Tensor

from star_al.models.artefact_files import damaged, read_json, read_tensors, write_json, write_tensors
from star_al.models.lora import PEFT_PREFIX

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"


@dataclass(frozen=True)
class LoraWeights:
    """The factors of an adapter, W = W₀ + ``scale`` · B·A.

    Attributes:
        a: A (r, d_in) by layer, float32.
        b: B (d_out, r) by layer, float32.
        scale: alpha / r.
    """

    a: Mapping[str, Tensor]
    b: Mapping[str, Tensor]
    scale: float


def save_adapter(
    folder: Path,
    tensors: Mapping[str, Tensor],
    config: peft.PeftConfig,
    *,
    base: str,
    dropout: float,
) -> None:
    """Write an adapter.

    Args:
        folder: Where to write.
        tensors: A and B, under peft's names.
        config: peft's configuration.
        base: The base model, as the user names it.
        dropout: The dropout that it was trained with, which peft does not know of (see ``SequenceDropout``).

    Raises:
        StoreError: The folder cannot be written.
    """
    plain: dict[str, Any] = config.to_dict()
    settings = plain | {
        "base_model_name_or_path": base,
        "lora_dropout": dropout,
        "inference_mode": True,
        "target_modules": sorted(plain["target_modules"]),
    }
    write_tensors(folder / WEIGHTS, {name: tensor.float() for name, tensor in tensors.items()})
    write_json(folder / CONFIG, settings)


def load_adapter(folder: Path) -> LoraWeights:
    """Read A and B of every adapted layer.

    Raises:
        ModelError: A file is missing or damaged, or a tensor is not finite.
    """
    config = read_json(folder / CONFIG)
    tensors = read_tensors(folder / WEIGHTS)
    try:
        scale = float(config["lora_alpha"]) / int(config["r"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as exc:
        raise damaged(folder / CONFIG, exc) from exc
    a, b = (_by_layer(tensors, f".lora_{half}.weight") for half in "AB")
    if not a or a.keys() != b.keys() or len(a) + len(b) != len(tensors):
        raise damaged(folder / WEIGHTS, "not a LoRA adapter")
    return LoraWeights(a, b, scale)


def _by_layer(tensors: Mapping[str, Tensor], suffix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(PEFT_PREFIX).removesuffix(suffix): tensor.float()
        for name, tensor in tensors.items()
        if name.endswith(suffix)
    }
