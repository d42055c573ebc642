"""The frozen blocks below the first adapted one, computed once for each text (``adapter.layers``).

What they make of a prompt is the same for every sample, ensemble member, epoch and round. It is kept in
files by the prompt's content, and the model then starts at the border. The body itself runs as always, so
that positions, masks and whatever else it makes of its input are its own: the frozen blocks hand on what
they get, and the first block above them is given the kept activations instead.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from star_al.models.activation_files import ActivationFiles
from star_al.models.readout import Readout, is_close

if TYPE_CHECKING:
    from star_al.models.batching import Batch
    from star_al.models.prompts import Prompt


class Trunk:
    """All but the last ``n_adapted`` of ``blocks``; activations are kept in ``files``, if there are any."""

    def __init__(
        self, readout: Readout, blocks: nn.ModuleList, n_adapted: int, files: ActivationFiles | None
    ) -> None:
        self._readout = readout
        self._frozen, self._border = list(blocks)[:-n_adapted], blocks[-n_adapted]
        self._files = files

    def works(self) -> bool:
        """Whether the model, started at the border, gives what the whole model gives."""
        ids = (torch.arange(14, device=self._readout.device) * 31 + 7).view(2, 7)
        with torch.no_grad():
            try:
                with self.skipped(self._compute(ids, None, None)):
                    top = self._readout.hidden(ids)
            except (TypeError, ValueError, RuntimeError, AttributeError, LookupError):
                return False  # a model whose blocks are joined in another way says so in its own way
            return is_close(top, self._readout.hidden(ids), self._readout.tolerance)

    def read(self, prompts: Sequence[Prompt], batch: Batch) -> Tensor:
        """The activations at the border for the sequences of ``prompts``, (R, S, d); zero at padding.

        A prompt's are computed apart from the others', so that they do not depend on what else was asked.
        """
        rows_B: list[list[int]] = [[] for _ in prompts]  # in order: a prompt's sequences follow one another
        for row, owner in enumerate(batch.prompt_rows_R.tolist()):
            rows_B[owner].append(row)
        values = [self._values(prompt, batch, rows) for prompt, rows in zip(prompts, rows_B, strict=True)]
        sequences = torch.cat(values).split(batch.lengths_R)
        return nn.utils.rnn.pad_sequence(sequences, batch_first=True)

    def _values(self, prompt: Prompt, batch: Batch, rows: list[int]) -> Tensor:
        """A prompt's activations, its sequences one below another without padding."""
        lengths = [batch.lengths_R[row] for row in rows]
        name, width = _name(prompt, lengths), max(lengths)
        kept = None if self._files is None else self._files.read(name, sum(lengths))
        if kept is not None:
            return kept.to(self._readout.device)
        positions, mask = batch.positions_R_S, batch.mask_R_1_S_T
        hidden_R_S_d = self._compute(
            batch.ids_R_S[rows, :width],
            None if positions is None else positions[rows, :width],
            None if mask is None else mask[rows, :, :width, :width],
        )
        values = torch.cat([hidden_R_S_d[row, :length] for row, length in enumerate(lengths)])
        if self._files is not None:
            self._files.write(name, values)
        return values

    @torch.no_grad()
    def _compute(self, ids_R_S: Tensor, positions_R_S: Tensor | None, mask_R_1_S_S: Tensor | None) -> Tensor:
        """What arrives at the border, (R, S, d), without the blocks above being computed.

        In evaluation mode: what is kept must not depend on dropout.
        """

        def stop(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            raise _ReachedError(args[0] if args else kwargs["hidden_states"])

        body, hook = self._readout.body, self._border.register_forward_pre_hook(stop, with_kwargs=True)
        training = body.training
        try:
            body.eval()
            self._readout.hidden(ids_R_S, positions_R_S, mask_R_1_S_S)
        except _ReachedError as reached:
            return reached.hidden
        finally:
            hook.remove()
            body.train(training)
        raise RuntimeError("the border was not reached")

    @contextmanager
    def skipped(self, trunk_R_S_d: Tensor) -> Iterator[None]:
        """The frozen blocks are not computed within; ``trunk_R_S_d`` is what they would have made."""

        def start(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if args:
                return (trunk_R_S_d, *args[1:]), kwargs
            return args, {**kwargs, "hidden_states": trunk_R_S_d}

        hook = self._border.register_forward_pre_hook(start, with_kwargs=True)
        for block in self._frozen:
            block.forward = _hand_on
        try:
            yield
        finally:
            hook.remove()
            for block in self._frozen:
                del block.forward


def _name(prompt: Prompt, lengths: Sequence[int]) -> str:
    content = [prompt.tokens, prompt.labels, lengths]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _hand_on(hidden_states: Tensor, *_: Any, **__: Any) -> Tensor:
    return hidden_states


class _ReachedError(Exception):
    """Carries the activations out of a body that need not go on."""

    def __init__(self, hidden: Tensor) -> None:
        super().__init__()
        self.hidden = hidden
