"""Features of texts from a frozen language model: hidden states of the text, and of the prompt's end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from star_al.config.spec import ClassificationSpec, LabelSpec
from star_al.errors import ModelError, NotFiniteError
from star_al.models.backbone import Backbone
from star_al.models.collate import PREFIX_SHARE
from star_al.models.encoded import Encoded
from star_al.models.fixed_batches import fixed_batches
from star_al.models.out_of_memory import Portions, translate_out_of_memory
from star_al.models.prompts import Prompt
from star_al.models.quiet import quiet
from star_al.models.readout import PrefixCache
from star_al.models.target_layers import transformer_blocks
from star_al.ports import Advance
from star_al.task.classification import Classification
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
        prefix: Tokens that begin prompts; they are read once where that pays.
        advice: What to do if a prompt does not fit into memory.
    """

    def __init__(
        self,
        backbone: Backbone,
        prefix: tuple[int, ...],
        advice: str = "Set another model.device, or head.features: encoder.",
    ) -> None:
        self._backbone = backbone
        self._advice = advice
        self._portions = Portions()
        self._prefix = prefix if backbone.readout.supports_prefix else ()

    def encode(self, prompts: Sequence[Prompt], advance: Advance) -> Encoded:
        """Return features of prompts, (N, 3 d), the same bits whatever else is encoded.

        Raises:
            NotFiniteError: A feature is NaN.
            OutOfMemoryError: A prompt does not fit into memory.
        """
        size = self._backbone.readout.head.weight.shape[1]
        vectors_N_d = np.zeros((len(prompts), 3 * size), dtype=np.float32)
        with quiet():
            for prefix, positions in self._groups(prompts):
                group = [prompts[position] for position in positions]
                for found, rows in self._read_group(group, prefix):
                    vectors_N_d[positions[found]] = rows
                    advance(len(found))
        _require_finite(vectors_N_d, prompts)
        return Encoded(vectors_N_d, np.array([prompt.truncated for prompt in prompts], dtype=bool))

    def _groups(self, prompts: Sequence[Prompt]) -> Iterator[tuple[tuple[int, ...], npt.NDArray[np.intp]]]:
        """Yield the prefix with the positions of prompts that go on after it, and no prefix with the others."""
        size = len(self._prefix)
        goes_on = np.array(
            [len(prompt.tokens) > size and prompt.tokens[:size] == self._prefix for prompt in prompts],
            dtype=bool,
        )
        yield self._prefix, np.flatnonzero(goes_on)
        yield (), np.flatnonzero(~goes_on)

    def _read_group(
        self, prompts: Sequence[Prompt], prefix: tuple[int, ...]
    ) -> Iterator[tuple[npt.NDArray[np.intp], Float32Array]]:
        """Yield positions of prompts that begin with ``prefix``, and their features."""
        backbone, size = self._backbone, len(prefix)
        lengths = [len(prompt.tokens) - size for prompt in prompts]
        batches = list(fixed_batches(lengths, backbone.context - size, backbone.device))
        # The probe of lengths takes gradients, so it comes before the inference mode.
        shared = {batch.width: self._pays_to_share(size, batch.width) for batch in batches}
        message = f"a prompt does not fit into the memory of {backbone.device}. {self._advice}"
        with translate_out_of_memory(message), torch.inference_mode():
            cache = backbone.readout.read_prefix(prefix) if any(shared.values()) else None
            for batch in batches:
                read = partial(
                    self._read, width=batch.width, size=size, cache=cache if shared[batch.width] else None
                )
                filled = [prompts[position] for position in batch.filled]
                yield batch.positions, self._portions.read(read, filled, message)[: len(batch.positions)]

    def _pays_to_share(self, size: int, width: int) -> bool:
        """Return whether a prefix of this size can and should be read once; depends on the width of a batch alone."""
        whole = size + width
        return size > PREFIX_SHARE * whole and self._backbone.readout.lengths.is_whole(whole)

    def _read(
        self, prompts: Sequence[Prompt], *, width: int, size: int, cache: PrefixCache | None
    ) -> Float32Array:
        """Return the features of prompts whose first ``size`` tokens are in the cache, if there is one."""
        readout = self._backbone.readout
        before = 0 if cache is None else size
        ids = torch.zeros((len(prompts), size - before + width), dtype=torch.long)
        for row, prompt in enumerate(prompts):
            ids[row, : len(prompt.tokens) - before] = torch.tensor(prompt.tokens[before:])
        positions = None
        if cache is not None:
            positions = torch.arange(before, before + width, device=readout.device).repeat(len(prompts), 1)
        with self._lower_states() as lower:
            last_R_S_d = readout.hidden(ids.to(readout.device), positions, None, cache)
        lower_R_S_d = lower[-1] if lower else last_R_S_d
        features = [
            torch.cat(
                [
                    _mean(lower_S_d, prompt, before),
                    _mean(last_S_d, prompt, before),
                    _end(last_S_d, prompt, before),
                ]
            )
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


def _mean(states_S_d: Tensor, prompt: Prompt, before: int) -> Tensor:
    """Return the mean state of the text's tokens; of an empty text, that of the prompt's end.

    Args:
        states_S_d: States of the prompt's tokens but for the first ``before``.
        prompt: The prompt.
        before: Tokens of the prefix that are not among the states.
    """
    start, end = (place - before for place in prompt.text)
    return states_S_d[start:end].float().mean(dim=0) if end > start else _end(states_S_d, prompt, before)


def _end(states_S_d: Tensor, prompt: Prompt, before: int) -> Tensor:
    return states_S_d[len(prompt.tokens) - before - 1].float()


def _require_finite(vectors_N_d: Float32Array, prompts: Sequence[Prompt]) -> None:
    wrong = ~np.isfinite(vectors_N_d).all(axis=1)
    if wrong.any():
        raise NotFiniteError(
            f"the model's states are NaN for item {prompts[int(wrong.argmax())].item_id}. Check the model's weights; "
            "a new campaign may try model.dtype: float32."
        )


# -- options of a question ----------------------------------------------------------------------------------


def pair_task() -> Classification:
    """The task of which options are asked one by one: whether one answers its question."""
    return Classification(
        ClassificationSpec(
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
