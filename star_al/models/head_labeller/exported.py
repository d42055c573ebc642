"""An exported head as it lies in its folder: what its record says, its numbers, and how it reads texts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file

from star_al.models.head_labeller.texts import Texts


class ExportedHead:
    """What the labellers of all kinds of tasks open.

    Args:
        folder: The exported folder.
        device: Where the encoder runs, such as "cuda"; a GPU if there is one.
        base: The sentence encoder's folder or hub name, if it is not where it was.

    Attributes:
        labels: The names of the labels; empty if each question has options of its own.
    """

    def __init__(self, folder: str | Path, device: str | None = None, base: str | None = None) -> None:
        folder = Path(folder)
        self._record: dict[str, Any] = json.loads((folder / "labeller.json").read_text(encoding="utf-8"))
        self._head = load_file(folder / "head.safetensors")
        self.labels: list[str] = self._record["labels"]
        self._texts = Texts(self._record, device, base)
