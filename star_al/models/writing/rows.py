"""What a model keeps of prompts while answers to them are written, step by step.

A row is a prompt, and m answers are written behind it side by side: each token sees the prompt and its own answer
alone. So a prompt is read once for all of them, and its keys and values are kept once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import Cache, DynamicLayer

from star_al.models.fixed_batches import fixed_batches
from star_al.models.masks import additive_mask
from star_al.models.readout import PrefixCache, Readout
from star_al.models.writing.attention import grouped_attention

_ROOM = 32
"""Steps for which room is made at once: a longer cache is copied whole."""


class Rows(Protocol):
    """Prompts and the answers behind them."""

    fixes_bits: bool
    """True if a row gets the same bits in steps of certain shapes, empty rows included (``tokens.padded_rows``)."""

    def begin(self) -> Tensor:
        """Read the prompts; return the hidden states at their ends, (B, d)."""

    def extend(self, tokens_B_m: Tensor) -> Tensor:
        """Read the next token of each answer; return the hidden states there, (B, m, d)."""

    def keep(self, rows: Sequence[int]) -> None:
        """Keep only these rows, in this order; one may be repeated."""


class _RoomyLayer(DynamicLayer):
    """Keys and values with room behind them, so that a step copies only what is new."""

    def __init__(self, keys_B_H_T_d: Tensor, values_B_H_T_d: Tensor, room: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.dtype, self.device = keys_B_H_T_d.dtype, keys_B_H_T_d.device
        self.is_initialized = True
        self._room = room
        self._whole = [keys_B_H_T_d, values_B_H_T_d]
        self._end = keys_B_H_T_d.shape[-2]
        self.keys, self.values = keys_B_H_T_d, values_B_H_T_d

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Append keys and values, and return all."""
        start = self._end
        self._end = end = start + key_states.shape[-2]
        for place, new in enumerate((key_states, value_states)):
            whole = self._whole[place]
            if end > whole.shape[-2]:
                grown = whole.new_zeros(*whole.shape[:2], start + self._room, whole.shape[-1])
                grown[:, :, :start] = whole[:, :, :start]
                self._whole[place] = whole = grown
            whole[:, :, start:end] = new
        self.keys, self.values = (whole[:, :, :end] for whole in self._whole)
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep only some rows."""
        self._whole = [whole[indices] for whole in self._whole]
        self.keys, self.values = (whole[:, :, : self._end] for whole in self._whole)


class CachedRows:
    """Rows of a model that continues from a cache, under a mask of ours. All rows have the same columns.

    Args:
        readout: The model.
        prompts: The B prompts, each at most ``width`` tokens.
        prefix: Tokens that begin all of them, and what the model makes of these; ``None`` for none.
        width: Columns for a prompt. Where an answer's keys lie depends on it, and so do the last bits of a draw: it
            is to be a function of the prompt's own length.
        context: The longest sequence that the model takes.
        answers: m.
    """

    fixes_bits = True

    def __init__(
        self,
        readout: Readout,
        prompts: Sequence[Sequence[int]],
        prefix: tuple[tuple[int, ...], PrefixCache] | None,
        *,
        width: int,
        context: int,
        answers: int,
    ) -> None:
        self._readout, self._prompts, self._width, self._m = readout, prompts, width, answers
        self._before = 0 if prefix is None else len(prefix[0])
        self._prefix = None if prefix is None else prefix[1]
        self._lengths_B = torch.tensor([len(tokens) for tokens in prompts], device=readout.device)
        self._longest = min(width, context)
        self._steps = 0
        self._mask = self._visible(0)
        self._cache: Any = None

    def begin(self) -> Tensor:
        """See ``Rows.begin``."""
        readout, before = self._readout, self._before
        lengths = [len(tokens) - before for tokens in self._prompts]
        ends: list[Tensor] = [torch.empty(0)] * len(lengths)
        wholes: list[list[Tensor] | None] = []
        for batch in fixed_batches(lengths, self._longest - before, readout.device):
            cache = DynamicCache() if self._prefix is None else self._prefix.repeated(batch.rows)
            hidden_R_S_d = readout.extend(*self._tensors(batch.filled, batch.width), None, cache)
            wholes = wholes or [self._blank(layer) for layer in cache.layers]
            for row, place in enumerate(batch.positions.tolist()):
                ends[place] = hidden_R_S_d[row, lengths[place] - 1].clone()
            self._take(wholes, cache, batch.positions.tolist())
        layers: list[Any] = [
            DynamicLayer() if whole is None else _RoomyLayer(whole[0], whole[1], _ROOM * self._m)
            for whole in wholes
        ]
        self._cache = Cache(layers=layers)
        return torch.stack(ends)

    def extend(self, tokens_B_m: Tensor) -> Tensor:
        """See ``Rows.extend``."""
        if self._steps % _ROOM == 0:
            self._mask = self._visible(self._steps + _ROOM)
        self._steps += 1
        positions_B_m = (self._lengths_B + self._steps - 1)[:, None].expand(tokens_B_m.shape)
        mask = self._mask[..., : self._width + self._steps * self._m]
        with grouped_attention(self._readout.device):
            return self._readout.extend(tokens_B_m, positions_B_m, mask, self._cache)

    def keep(self, rows: Sequence[int]) -> None:
        """See ``Rows.keep``."""
        chosen = torch.tensor(list(rows), device=self._readout.device)
        self._lengths_B, self._mask = self._lengths_B[chosen], self._mask[chosen]
        self._cache.batch_select_indices(chosen)

    def _tensors(self, places: Sequence[int], width: int) -> tuple[Tensor, Tensor]:
        """Return ids and positions of what comes after the prefix, padded on the right."""
        ids = torch.zeros((len(places), width), dtype=torch.long)
        for row, place in enumerate(places):
            tokens = self._prompts[place][self._before :]
            ids[row, : len(tokens)] = torch.tensor(tokens)
        positions = torch.arange(self._before, self._before + width).repeat(len(places), 1)
        return ids.to(self._readout.device), positions.to(self._readout.device)

    def _blank(self, layer: Any) -> list[Tensor] | None:
        """Return room for a layer's keys and values of all prompts; ``None`` for a layer that keeps none."""
        if not layer.is_initialized:
            return None
        return [
            part.new_zeros(len(self._prompts), part.shape[1], self._width, part.shape[3])
            for part in (layer.keys, layer.values)
        ]

    def _take(self, wholes: Sequence[list[Tensor] | None], cache: Any, places: Sequence[int]) -> None:
        """Copy the keys and values of some prompts; what padding left behind them is masked."""
        for whole, layer in zip(wholes, cache.layers, strict=True):
            for own, part in zip(whole or (), (layer.keys, layer.values), strict=False):
                size = min(part.shape[2], self._width)
                own[places, :, :size] = part[: len(places), :, :size]

    def _visible(self, steps: int) -> Tensor:
        """Return the mask of so many steps, (B, 1, m, T): an answer sees its prompt and itself."""
        device, answers_m = self._readout.device, torch.arange(self._m, device=self._readout.device)
        prompts_B_W = torch.arange(self._width, device=device) < self._lengths_B[:, None]
        own_m_T = answers_m[:, None] == answers_m.repeat(steps)
        shape = (len(self._lengths_B), self._m, -1)
        visible = torch.cat([prompts_B_W[:, None].expand(shape), own_m_T.expand(shape)], dim=2)
        return additive_mask(visible[:, None], self._readout.dtype)


class RereadRows:
    """Rows of any causal model: every step reads prompts and answers again.

    Args:
        readout: The model.
        prompts: The B prompts.
        answers: m.
    """

    fixes_bits = False

    def __init__(self, readout: Readout, prompts: Sequence[Sequence[int]], *, answers: int) -> None:
        self._readout, self._m = readout, answers
        self._sequences = [[list(tokens) for _ in range(answers)] for tokens in prompts]

    def begin(self) -> Tensor:
        """See ``Rows.begin``."""
        return self._read([row[0] for row in self._sequences])

    def extend(self, tokens_B_m: Tensor) -> Tensor:
        """See ``Rows.extend``."""
        for row, tokens in zip(self._sequences, tokens_B_m.tolist(), strict=True):
            for sequence, token in zip(row, tokens, strict=True):
                sequence.append(token)
        hidden_Q_d = self._read([sequence for row in self._sequences for sequence in row])
        return hidden_Q_d.view(len(self._sequences), self._m, -1)

    def keep(self, rows: Sequence[int]) -> None:
        """See ``Rows.keep``."""
        self._sequences = [[list(sequence) for sequence in self._sequences[row]] for row in rows]

    def _read(self, sequences: Sequence[Sequence[int]]) -> Tensor:
        """Return the hidden states at the ends of sequences."""
        width = max(map(len, sequences))
        ids = torch.tensor([[*tokens, *[0] * (width - len(tokens))] for tokens in sequences])
        hidden_Q_S_d = self._readout.hidden(ids.to(self._readout.device))
        ends = torch.tensor([len(tokens) - 1 for tokens in sequences], device=self._readout.device)
        return hidden_Q_S_d[torch.arange(len(ends), device=ends.device), ends]
