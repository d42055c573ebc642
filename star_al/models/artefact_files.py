"""Read and write the files of an artefact, JSON and safetensors, with clear errors for damage and full disks.

The bytes are a function of the values: no time, no machine path, keys sorted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from star_al.common.files import disk_errors
from star_al.errors import ModelError, StoreError


@contextmanager
def translate_write_errors(folder: Path) -> Iterator[None]:
    """Raise a ``StoreError`` that names ``folder`` if writing fails within.

    Raises:
        StoreError: The folder cannot be written.
    """
    advice = "Check the disk and the permissions of the folder, then run again."
    with disk_errors(StoreError, f"{folder}: the adapter cannot be written", advice, also=(SafetensorError,)):
        yield


def damaged(path: Path, reason: object) -> ModelError:
    """Return the error for a file of an artefact that cannot be used."""
    words = " ".join(str(reason).split())[:200]
    return ModelError(
        f"{path}: this part of the adapter is damaged or missing ({words}). "
        "Restore it, or delete the adapter's folder and run again."
    )


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a safetensors file.

    Raises:
        StoreError: The folder cannot be written.
    """
    with translate_write_errors(path.parent):
        save_file(
            {name: tensor.detach().cpu().contiguous() for name, tensor in sorted(tensors.items())},
            path,
            metadata={"format": "pt"},
        )


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file.

    Raises:
        ModelError: The file is missing or damaged, or a tensor is not finite.
    """
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (OSError, SafetensorError) as exc:
        raise damaged(path, exc) from exc
    # safetensors checks the layout of a file and not its values: a flipped bit may be a NaN.
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise damaged(path, f"{name} holds NaN or infinity")
    return tensors


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file.

    Raises:
        StoreError: The folder cannot be written.
    """
    text = json.dumps(value, indent=1, sort_keys=True, default=_plain) + "\n"
    with translate_write_errors(path.parent):
        path.write_text(text, encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        ModelError: The file is missing or damaged.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise damaged(path, exc) from exc
    if not isinstance(value, dict):
        raise damaged(path, "not an object")
    return value


def _plain(value: object) -> object:
    """Return what JSON knows in place of what peft puts into its configuration."""
    return sorted(value) if isinstance(value, (set, frozenset)) else str(value)
