"""The files of a fitted head: arrays as safetensors, the rest as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from star_al.common.files import disk_errors
from star_al.errors import ModelError, StoreError
from star_al.types import JsonObject

ARRAYS = "head.safetensors"
RECORD = "head.json"

Head = TypeVar("Head")


def write_parts(folder: Path, arrays: Mapping[str, NDArray[Any]], rest: JsonObject) -> None:
    """Write the parts of a head; the same parts make the same bytes.

    Args:
        folder: Where to write.
        arrays: By name.
        rest: Everything else.

    Raises:
        StoreError: The folder cannot be written.
    """
    text = json.dumps(rest, indent=1, sort_keys=True) + "\n"
    advice = "Check the disk and the permissions of the folder, then run again."
    with disk_errors(StoreError, f"{folder}: the head cannot be written", advice, also=(SafetensorError,)):
        save_file(
            {name: np.ascontiguousarray(array) for name, array in sorted(arrays.items())}, folder / ARRAYS
        )
        (folder / RECORD).write_text(text, encoding="utf-8")


def read_parts(folder: Path, build: Callable[[dict[str, NDArray[Any]], dict[str, Any]], Head]) -> Head:
    """Read the parts of a head and build it.

    Args:
        folder: Where its files are.
        build: Makes the head of the arrays and the rest.

    Raises:
        ModelError: A file is missing or damaged, or ``build`` does not find what it needs.
    """
    try:
        arrays = load_file(folder / ARRAYS)
        rest = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        for name, array in arrays.items():
            # safetensors checks the layout of a file and not its values: a flipped bit may be a NaN.
            if not np.isfinite(array).all():
                raise ValueError(f"{name} holds NaN or infinity")
        return build(arrays, rest)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError) as exc:
        words = " ".join(str(exc).split())[:200]
        raise ModelError(
            f"{folder}: the head is damaged or incomplete ({words}). "
            "Restore it, or delete its folder and run again."
        ) from exc
