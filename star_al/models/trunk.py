"""The frozen blocks below the first adapted one, computed once for each text (``adapter.layers``).

What they make of a prompt is the same for every posterior sample, ensemble member, epoch and round. It is
kept on disk by the prompt's content, and the model then starts at the first adapted block. The body itself
runs as always, so that positions, masks and whatever else it derives from its input are its own: frozen
blocks return their input, and the first adapted block receives the cached activations instead of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from star_al.models.activation_cache import ActivationCache
from star_al.models.minibatch import Minibatch, TrunkActivations
from star_al.models.prompts import Prompt
from star_al.models.readout import Readout
from star_al.models.readout_checks import is_close


class Trunk:
    """All but the last ``n_adapted`` of ``blocks``.

    Args:
        readout: The model that the blocks belong to.
        blocks: All transformer blocks of the model, first to last.
        n_adapted: How many of them are adapted, at least 1 and fewer than all.
        cache: Where activations are kept; ``None`` to compute them each time.

    Attributes:
        cache_place: Where that is on the disk.
    """

    def __init__(
        self, readout: Readout, blocks: nn.ModuleList, n_adapted: int, cache: ActivationCache | None
    ) -> None:
        self._readout = readout
        self._frozen, self._first_adapted = list(blocks)[:-n_adapted], blocks[-n_adapted]
        self._cache = cache
        self.cache_place = None if cache is None else cache.place

    def works(self) -> bool:
        """Return whether the model, started at the first adapted block, computes what the whole model computes."""
        ids = (torch.arange(14, device=self._readout.device) * 31 + 7).view(2, 7)
        with torch.no_grad():
            try:
                with self.skipping(self._compute(ids, None, None)):
                    top = self._readout.hidden(ids)
            except (TypeError, ValueError, RuntimeError, AttributeError, LookupError):
                return False  # blocks that are connected in another way each fail in their own way
            return is_close(top, self._readout.hidden(ids), self._readout.tolerance)

    def activations(self, prompts: Sequence[Prompt], batch: Minibatch) -> TrunkActivations:
        """Read from the cache, or compute, what the frozen blocks make of a minibatch.

        Each prompt is computed alone, so that its activations do not depend on its neighbours in the
        minibatch: they may be read from the cache in another.

        Args:
            prompts: The prompts of ``batch``.
            batch: A minibatch without a prefix, not joined.

        Returns:
            Activations (R, S, d), 0 for padding.
        """
        rows_B: list[list[int]] = [[] for _ in prompts]  # a prompt's sequences follow one another
        for row, prompt in enumerate(batch.prompt_rows_R.tolist()):
            rows_B[prompt].append(row)
        values = [self._values(prompt, batch, rows) for prompt, rows in zip(prompts, rows_B, strict=True)]
        sequences = torch.cat(values).split(batch.lengths_R)
        return TrunkActivations(nn.utils.rnn.pad_sequence(sequences, batch_first=True), self.skipping)

    def _values(self, prompt: Prompt, batch: Minibatch, rows: list[int]) -> Tensor:
        """Return the activations of a prompt's sequences one below another without padding, (tokens, d)."""
        lengths = [batch.lengths_R[row] for row in rows]
        name, width = _name(prompt, lengths), max(lengths)
        kept = None if self._cache is None else self._cache.read(name, sum(lengths))
        if kept is not None:
            return kept.to(self._readout.device)
        positions, mask = batch.positions_R_S, batch.mask_R_1_S_T
        hidden_R_S_d = self._compute(
            batch.ids_R_S[rows, :width],
            None if positions is None else positions[rows, :width],
            None if mask is None else mask[rows, :, :width, :width],
        )
        values = torch.cat([hidden_R_S_d[row, :length] for row, length in enumerate(lengths)])
        if self._cache is not None:
            self._cache.write(name, values)
        return values

    @torch.no_grad()
    def _compute(self, ids_R_S: Tensor, positions_R_S: Tensor | None, mask_R_1_S_S: Tensor | None) -> Tensor:
        """Return the input of the first adapted block, (R, S, d), without computing the blocks above.

        The model is in evaluation mode: cached activations must not depend on dropout.
        """

        def stop(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            raise _ReachedError(args[0] if args else kwargs["hidden_states"])

        body = self._readout.body
        hook = self._first_adapted.register_forward_pre_hook(stop, with_kwargs=True)
        training = body.training
        try:
            body.eval()
            self._readout.hidden(ids_R_S, positions_R_S, mask_R_1_S_S)
        except _ReachedError as reached:
            return reached.hidden.to(self._readout.device)  # blocks may be spread over GPUs
        finally:
            hook.remove()
            body.train(training)
        raise RuntimeError("the first adapted block was not reached")

    @contextmanager
    def skipping(self, values_R_S_d: Tensor) -> Iterator[None]:
        """Within, the model takes ``values_R_S_d`` in place of computing the frozen blocks."""

        def start(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if args:
                return (values_R_S_d.to(args[0].device), *args[1:]), kwargs
            return args, {**kwargs, "hidden_states": values_R_S_d.to(kwargs["hidden_states"].device)}

        hook = self._first_adapted.register_forward_pre_hook(start, with_kwargs=True)
        for block in self._frozen:
            block.forward = _return_input
        try:
            yield
        finally:
            hook.remove()
            for block in self._frozen:
                del block.forward


def _name(prompt: Prompt, lengths: Sequence[int]) -> str:
    """Return a hash of all that a prompt's activations depend on besides the model."""
    content = [prompt.tokens, prompt.labels, lengths]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _return_input(hidden_states: Tensor, *_: Any, **__: Any) -> Tensor:
    return hidden_states


class _ReachedError(Exception):
    """Carries activations out of a forward pass that need not go on."""

    def __init__(self, hidden: Tensor) -> None:
        super().__init__()
        self.hidden = hidden
