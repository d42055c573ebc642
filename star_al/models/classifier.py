"""A linear classifier on a language model's last hidden states, in place of the words of the labels.

It is fitted to the frozen model (``linear_probe``) and stays as it is while LoRA is trained below it, so that all
samples of a posterior share it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from star_al.models.artefact_files import damaged, read_tensors, write_tensors
from star_al.models.prompts import Prompt
from star_al.types import Float32Array, JsonObject, JsonValue

FILE = "classifier.safetensors"
"""A classifier's file in the folder of an adapter."""

TEXT_AND_END = "text_and_end"
"""What the record of an adapter says whose classifier reads the text's mean state too; of earlier ones it is True."""


@dataclass(frozen=True)
class Classifier:
    """Scores labels by W h + b.

    Attributes:
        weight_C_d: W, float32.
        bias_C: b, float32.
        reads_text: True if h is the mean state of the text's tokens, followed by the state of the prompt's end; False
            if it is the latter alone.
    """

    weight_C_d: Tensor
    bias_C: Tensor
    reads_text: bool = False

    @property
    def record(self) -> JsonValue:
        """What the record of an adapter says of it."""
        return TEXT_AND_END if self.reads_text else True

    def logits(self, hidden_P_d: Tensor, columns_U: Tensor | slice) -> Tensor:
        """Return the scores of the labels ``columns_U`` at P positions, (P, U) float32."""
        with torch.autocast(hidden_P_d.device.type, enabled=False):
            return hidden_P_d.float() @ self.weight_C_d[columns_U].T + self.bias_C[columns_U]

    def on(self, device: torch.device) -> Classifier:
        """Return it on a device."""
        return Classifier(self.weight_C_d.to(device), self.bias_C.to(device), self.reads_text)

    @property
    def plain(self) -> tuple[Float32Array, Float32Array, bool]:
        """It without torch, to be sent to another process."""
        return self.weight_C_d.numpy(force=True), self.bias_C.numpy(force=True), self.reads_text

    @classmethod
    def of_plain(cls, weight_C_d: Float32Array, bias_C: Float32Array, reads_text: bool) -> Classifier:
        """Return what ``plain`` was made of."""
        return cls(torch.tensor(weight_C_d), torch.tensor(bias_C), reads_text)

    def save(self, folder: Path) -> None:
        """Write it beside an adapter.

        Raises:
            StoreError: The folder cannot be written.
        """
        write_tensors(folder / FILE, {"weight": self.weight_C_d, "bias": self.bias_C})


def load_classifier(folder: Path, record: JsonObject) -> Classifier | None:
    """Read the classifier beside an adapter; None if the adapter has none.

    Args:
        folder: The adapter's folder.
        record: The adapter's record.

    Raises:
        ModelError: It is damaged or missing.
    """
    if not record.get("classifier"):
        return None
    tensors = read_tensors(folder / FILE)
    weight_C_d, bias_C = tensors.get("weight"), tensors.get("bias")
    if weight_C_d is None or bias_C is None or weight_C_d.shape[:1] != bias_C.shape:
        raise damaged(folder / FILE, "not a classifier")
    return Classifier(weight_C_d, bias_C, reads_text=record["classifier"] == TEXT_AND_END)


def blank_classifier(n_labels: int, size: int, *, reads_text: bool) -> Classifier:
    """Return a classifier that tells labels apart without having learnt anything, to try out a training.

    Args:
        n_labels: Number of labels.
        size: Numbers in a hidden state.
        reads_text: As ``Classifier.reads_text``.
    """
    generator = torch.Generator().manual_seed(0)
    weight_C_d = torch.randn(n_labels, 2 * size if reads_text else size, generator=generator)
    return Classifier(weight_C_d / size**0.5, torch.zeros(n_labels), reads_text)


def for_classifier(prompts: Sequence[Prompt]) -> list[Prompt]:
    """Return prompts whose labels are rows of a classifier: one token each, so that the prompt alone is read."""
    return [replace(prompt, labels=_rows(len(prompt.labels))) for prompt in prompts]


def prompts_for(classifier: Classifier | None, prompts: Sequence[Prompt]) -> list[Prompt]:
    """Return prompts whose labels are words or, if there is a classifier, its rows."""
    return list(prompts) if classifier is None else for_classifier(prompts)


def _rows(n_labels: int) -> tuple[tuple[int, ...], ...]:
    return tuple((column,) for column in range(n_labels))
