"""Features of texts from a frozen language model: hidden states of the text, and of the prompt's end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from star_al.config.spec import LabelSpec, TaskSpec
from star_al.errors import ModelError, NotFiniteError
from star_al.models.backbone import Backbone
from star_al.models.encoded import Encoded
from star_al.models.fixed_batches import fixed_batches
from star_al.models.out_of_memory import in_halves, translate_out_of_memory
from star_al.models.prompts import Prompt
from star_al.models.quiet import quiet
from star_al.models.target_layers import transformer_blocks
from star_al.ports import Advance
from star_al.task import ClosedTask
from star_al.types import Float32Array, Item

STATES_VERSION = 1
"""Version of what the features are. It grows if the same model may give a text other features."""

DEPTH = 26 / 30
"""The depth of the lower states: those of the last blocks are shaped by the words that may come next."""


class LanguageModelStates:
    """Features of prompts: three hidden states side by side.

    The text's mean state at ``DEPTH``, its mean state after the last block, and the state of the prompt's end.

    Args:
        backbone: The model, without an adapter.
    """

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone

    def encode(self, prompts: Sequence[Prompt], advance: Advance) -> Encoded:
        """Return features of prompts, (N, 3 d), the same bits whatever else is encoded.

        Raises:
            NotFiniteError: A feature is NaN.
            OutOfMemoryError: A batch does not fit into memory.
        """
        backbone = self._backbone
        size = backbone.readout.head.weight.shape[1]
        vectors_N_d = np.zeros((len(prompts), 3 * size), dtype=np.float32)
        longest = max((len(prompt.tokens) for prompt in prompts), default=1)
        lengths = [len(prompt.tokens) for prompt in prompts]
        message = (
            f"a prompt of {longest} tokens does not fit into the memory of {backbone.device}. "
            "Set another model.device, or head.features: encoder."
        )
        with quiet(), translate_out_of_memory(message), torch.inference_mode():
            for batch in fixed_batches(lengths, backbone.context, backbone.device):
                filled, width = [prompts[position] for position in batch.filled], batch.width
                rows = in_halves(lambda part, width=width: self._read(part, width), filled, message)  # type: ignore[misc]
                vectors_N_d[batch.positions] = rows[: len(batch.positions)]
                advance(len(batch.positions))
        _require_finite(vectors_N_d, prompts)
        return Encoded(vectors_N_d, np.array([prompt.truncated for prompt in prompts], dtype=bool))

    def _read(self, prompts: Sequence[Prompt], width: int) -> Float32Array:
        readout = self._backbone.readout
        ids = torch.zeros((len(prompts), width), dtype=torch.long)
        for row, prompt in enumerate(prompts):
            ids[row, : len(prompt.tokens)] = torch.tensor(prompt.tokens)
        with self._lower_states() as lower:
            last_R_S_d = readout.hidden(ids.to(readout.device))
        lower_R_S_d = lower[-1] if lower else last_R_S_d
        features = [
            torch.cat([_mean(lower_S_d, prompt), _mean(last_S_d, prompt), _end(last_S_d, prompt)])
            for lower_S_d, last_S_d, prompt in zip(lower_R_S_d, last_R_S_d, prompts, strict=True)
        ]
        rows: Float32Array = torch.stack(features).cpu().numpy()
        return rows

    @contextmanager
    def _lower_states(self) -> Iterator[list[Tensor]]:
        """Within, the states at ``DEPTH`` are put into the list; nothing if the model's blocks are not found."""
        states: list[Tensor] = []

        def keep(_module: Any, _inputs: Any, output: Any) -> None:
            states.append(output[0] if isinstance(output, tuple) else output)

        try:
            _, blocks = transformer_blocks(self._backbone.model)
        except ModelError:
            yield states
            return
        hook = blocks[max(0, min(len(blocks) - 2, round(len(blocks) * DEPTH) - 1))].register_forward_hook(
            keep
        )
        try:
            yield states
        finally:
            hook.remove()


def _mean(states_S_d: Tensor, prompt: Prompt) -> Tensor:
    """Return the mean state of the text's tokens; of an empty text, that of the prompt's end."""
    start, end = prompt.text
    return states_S_d[start:end].float().mean(dim=0) if end > start else _end(states_S_d, prompt)


def _end(states_S_d: Tensor, prompt: Prompt) -> Tensor:
    return states_S_d[len(prompt.tokens) - 1].float()


def _require_finite(vectors_N_d: Float32Array, prompts: Sequence[Prompt]) -> None:
    wrong = ~np.isfinite(vectors_N_d).all(axis=1)
    if wrong.any():
        raise NotFiniteError(
            f"the model's states are NaN for item {prompts[int(wrong.argmax())].item_id}. Check the model's weights; "
            "a new campaign may try model.dtype: float32."
        )


# -- options of a question ----------------------------------------------------------------------------------


def pair_task() -> ClosedTask:
    """The task of which options are asked one by one: whether one answers its question."""
    return ClosedTask(
        TaskSpec(
            kind="classification",
            labels=(LabelSpec(name="Yes"), LabelSpec(name="No")),
            instruction="Say whether the answer is right. Answer with Yes or No only.",
            template="{text}\nIs this right?",
            template_columns=False,
        )
    )


def pair_items(item: Item) -> list[Item]:
    """Return a text for each option of a question."""
    return [
        Item(
            item_id=item.item_id,
            text=f"Question: {item.text}\nAnswer: {option}",
            external_id=item.external_id,
        )
        for option in item.options
    ]
