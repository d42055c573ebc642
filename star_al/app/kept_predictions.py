"""Predictions of a file, kept page by page until the file is written, so that a killed command goes on.

A page is named by a hash of all that its predictions depend on: the model and the page's texts. So pages of another
input or another model are never mixed in, and of a changed input the pages that stayed the same are still used.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from star_al.common.files import disk_errors, replacing
from star_al.data import ModelAnswer, writable_target
from star_al.errors import StoreError
from star_al.types import Item, JsonObject


class KeptPredictions:
    """Pages of predictions in a hidden folder beside the file that they are for.

    Args:
        out: The file to write.
        model_key: A hash of all that predictions depend on besides the texts.
    """

    def __init__(self, out: Path, model_key: str) -> None:
        self._out = out
        target = writable_target(out)
        self.folder = target.with_name(f".{target.name}.predicting")
        self._model_key = model_key

    def load(self, items: Sequence[Item]) -> list[ModelAnswer] | None:
        """Return the predictions of a page of items, in order; None if they are missing or damaged."""
        try:
            content = self._path(items).read_bytes()
        except OSError:
            return None
        checksum, _, rows = content.partition(b"\n")
        if checksum != _checksum(rows):
            return None
        return [_answer(json.loads(row)) for row in rows.splitlines()]

    def save(self, items: Sequence[Item], answers: Sequence[ModelAnswer]) -> None:
        """Keep the predictions of a page of items.

        Raises:
            StoreError: They cannot be written.
        """
        rows = "".join(f"{json.dumps(_row(answer))}\n" for answer in answers).encode()
        advice = "Free some disk space, then run again: it goes on with the predictions that are kept."
        with disk_errors(StoreError, f"{self._out}: the predictions for it cannot be kept", advice):
            self.folder.mkdir(mode=0o700, exist_ok=True)
            with replacing(self._path(items)) as new:
                new.write_bytes(_checksum(rows) + b"\n" + rows)

    def clear(self) -> None:
        """Remove all pages, those of earlier inputs and models too."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, items: Sequence[Item]) -> Path:
        # An item's id is a hash of all that a model reads of it.
        inputs = "\n".join([self._model_key, *(item.item_id for item in items)])
        return self.folder / f"{hashlib.sha256(inputs.encode()).hexdigest()[:32]}.jsonl"


def _checksum(rows: bytes) -> bytes:
    return hashlib.sha256(rows).hexdigest().encode()


def _row(answer: ModelAnswer) -> JsonObject:
    return {each.name: getattr(answer, each.name) for each in fields(answer)}


def _answer(row: dict[str, Any]) -> ModelAnswer:
    tuples = {name: tuple(row[name]) for name in ("probabilities_C", "answers")}  # lists in JSON
    return ModelAnswer(**{**row, **tuples})
