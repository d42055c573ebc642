"""Trained adapters on disk: peft's two files, which other tools can load, and ``star_al.json`` beside them.

The bytes are a function of the tensors and settings: no time, no machine path, keys sorted.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import peft
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from star_al.errors import ModelError, StoreError
from star_al.models.lora import PEFT_PREFIX
from star_al.types import JsonObject

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
RECORD = "star_al.json"

T = TypeVar("T")


@dataclass(frozen=True)
class LoraWeights:
    """``a``: A (r, d_in) and ``b``: B (d_out, r) by layer name, float32; W = W0 + ``scale`` · B A."""

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
    """Write an adapter; ``tensors`` are named as peft names them, ``base`` is what the user calls the model.

    Raises:
        StoreError: the folder cannot be written.
    """
    plain: dict[str, Any] = config.to_dict()
    settings = plain | {
        "base_model_name_or_path": base,
        "lora_dropout": dropout,
        "inference_mode": True,
        "target_modules": sorted(plain["target_modules"]),
    }
    with writing(folder):
        save_file(
            {name: tensor.detach().float().cpu().contiguous() for name, tensor in sorted(tensors.items())},
            folder / WEIGHTS,
            metadata={"format": "pt"},
        )
        _write_json(folder / CONFIG, settings)


def save_record(folder: Path, record: JsonObject) -> None:
    """Write ``star_al.json``.

    Raises:
        StoreError: the folder cannot be written.
    """
    with writing(folder):
        _write_json(folder / RECORD, record)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Failures to write within, as one of the store.

    Raises:
        StoreError: the folder cannot be written.
    """
    try:
        yield
    except (OSError, SafetensorError) as exc:
        raise StoreError(
            f"{folder}: the adapter cannot be written ({exc}). Make room or rights, run again."
        ) from exc


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, sort_keys=True, default=_plain) + "\n", encoding="utf-8")


def _plain(value: object) -> object:
    return sorted(value) if isinstance(value, (set, frozenset)) else str(value)


def read_record(folder: Path) -> dict[str, Any]:
    """``star_al.json``.

    Raises:
        ModelError: missing or damaged.
    """
    return _read_json(folder / RECORD)


def number(folder: Path, record: JsonObject, key: str, within: Callable[[float], bool]) -> float:
    """The number at ``key`` of the record that ``folder`` holds.

    Raises:
        ModelError: there is none, or it is not finite, or not ``within``; names file and key.
    """
    value = record.get(key)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        finite = abs(value) <= sys.float_info.max  # an int may be beyond every float
        if finite and within(float(value)):
            return float(value)
    raise _unreadable(folder, key, value)


def choice(folder: Path, record: JsonObject, key: str, choices: Sequence[T]) -> T:
    """The one of ``choices`` that is at ``key`` of the record that ``folder`` holds.

    Raises:
        ModelError: none of them is; names file and key.
    """
    for one in choices:
        if record.get(key) == one:
            return one
    raise _unreadable(folder, key, record.get(key))


def load_adapter(folder: Path) -> LoraWeights:
    """A and B of every adapted layer.

    Raises:
        ModelError: a file is missing or damaged, or a tensor is not finite.
    """
    config = _read_json(folder / CONFIG)
    tensors = read_tensors(folder / WEIGHTS)
    try:
        scale = float(config["lora_alpha"]) / int(config["r"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as exc:
        raise damaged(folder / CONFIG, exc) from exc
    a, b = (_by_layer(tensors, f".lora_{half}.weight") for half in "AB")
    if not a or a.keys() != b.keys() or len(a) + len(b) != len(tensors):
        raise damaged(folder / WEIGHTS, "not a LoRA adapter")
    return LoraWeights(a, b, scale)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Raises:
        ModelError: it is missing or damaged, or a tensor is not finite.
    """
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (OSError, SafetensorError) as exc:
        raise damaged(path, exc) from exc
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise damaged(path, f"{name} holds NaN or infinity")
    return tensors


def _by_layer(tensors: Mapping[str, Tensor], ending: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(PEFT_PREFIX).removesuffix(ending): tensor.float()
        for name, tensor in tensors.items()
        if name.endswith(ending)
    }


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise damaged(path, exc) from exc
    if not isinstance(value, dict):
        raise damaged(path, "not an object")
    return value


def _unreadable(folder: Path, key: str, value: object) -> ModelError:
    return damaged(folder / RECORD, f"{key} is {repr(value)[:100]}")


def damaged(path: Path, reason: object) -> ModelError:
    """The error for a file of an artefact that cannot be used."""
    words = " ".join(str(reason).split())[:200]
    return ModelError(
        f"{path}: this part of the adapter is damaged or missing ({words}). "
        "Restore it, or delete the adapter's folder and run again."
    )
