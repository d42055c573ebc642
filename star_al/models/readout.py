"""Hidden states of a causal language model and logits at chosen positions and tokens only.

(batch, tokens, vocabulary) logits never exist: the body gives hidden states, a few of them are taken, and
they meet the head's rows that are asked for, in float32 (in bfloat16 a logit of 16 has steps of 0.125).
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import DynamicCache

from star_al.errors import ModelError
from star_al.models.attention import WatchedAttention, no_mask
from star_al.models.quantised import holds_floats, is_quantised

if TYPE_CHECKING:
    from star_al.models.trunk import Trunk

_SCALES = ("logit_scale", "logits_scaling", "lm_head_multiplier", "output_multiplier")
_CHECK = "Check the model's weights."
_CHUNK_ELEMENTS = 2**24  # float32 logits held at once for a normaliser: 64 MiB


@dataclass(frozen=True)
class Prefix:
    """Keys and values of tokens that begin all sequences, as the model made them when it read them."""

    cache: Any

    def repeated(self, n: int) -> Any:
        """A cache for n sequences, which may be added to."""
        cache = copy.deepcopy(self.cache)
        cache.batch_repeat_interleave(n)
        return cache


class Readout:
    """The body and the head of a causal language model.

    ``packed`` says whether the model takes several continuations of a prompt in one sequence, by a 4-D mask
    and explicit positions; ``takes_prefix``, whether it goes on from a ``Prefix``; ``joins``, whether it takes
    several sequences in one row within ``SequenceAttention`` (only asked on a CPU). All are found out by
    comparing with separate, whole sequences. ``trunk``, which others set, are blocks that nothing changes.

    Raises:
        ModelError: the model's own logits are not reproduced from its head or not finite, or a token sees the
            future.
    """

    def __init__(self, model: Any) -> None:
        self.trunk: Trunk | None = None
        body = model.get_decoder()
        self.body = model.base_model if body is model else body
        self.head = model.get_output_embeddings()
        if self.head is None or self.body is model:
            raise ModelError(f"{type(model).__name__} has no language-model head that star_al can read.")
        if not holds_floats(self.head):
            raise ModelError(
                f"{type(model).__name__}: its output head is quantised, and star_al reads rows of it. "
                "Quantise the model without its head."
            )
        # Quantised layers may round their inputs too, whatever the dtype.
        self.tolerance = 1e-4 if self.dtype == torch.float32 and not is_quantised(model) else 5e-2
        self._takes_positions = "position_ids" in inspect.signature(self.body.forward).parameters
        text_config = model.config.get_text_config()
        self._cap: float | None = getattr(text_config, "final_logit_softcapping", None)
        self._scale = 1.0
        with torch.inference_mode():
            self._check_finite(model)
            self._check_causal(model)
            self._match_scale(model, text_config)
            stateless = not getattr(model, "_is_stateful", False)
            self.packed = stateless and self._packing_works()
            self.takes_prefix = stateless and self._takes_positions and self._prefix_works()
            self.joins = (
                stateless and self._takes_positions and self.device.type == "cpu" and self._joining_works()
            )
        windows = [getattr(text_config, name, None) for name in ("sliding_window", "attention_chunk_size")]
        self.window = min((size for size in windows if size), default=2**31)

    @property
    def device(self) -> torch.device:
        """Where inputs belong."""
        return self.head.weight.device  # type: ignore[no-any-return]

    @property
    def dtype(self) -> torch.dtype:
        """What masks are made of."""
        return self.head.weight.dtype  # type: ignore[no-any-return]

    def hidden(
        self,
        ids_R_S: Tensor,
        positions_R_S: Tensor | None = None,
        mask_R_1_S_T: Tensor | None = None,
        prefix: Prefix | None = None,
        trunk_R_S_d: Tensor | None = None,
    ) -> Tensor:
        """Last hidden states, (R, S, d); with a ``prefix``, T counts its tokens too.

        ``trunk_R_S_d`` stands in for the blocks of ``trunk``, which are then not computed.

        Without a mask attention is causal; padding on the right is then never seen by a token.
        """
        extra: dict[str, Any] = {} if positions_R_S is None else {"position_ids": positions_R_S}
        if prefix is not None:
            extra["past_key_values"] = prefix.repeated(len(ids_R_S))
        skipping = (
            nullcontext() if trunk_R_S_d is None or self.trunk is None else self.trunk.skipped(trunk_R_S_d)
        )
        with skipping:
            out = self.body(
                input_ids=ids_R_S, attention_mask=mask_R_1_S_T, use_cache=prefix is not None, **extra
            )
        return out.last_hidden_state  # type: ignore[no-any-return]

    def read_prefix(self, tokens: Sequence[int]) -> Prefix:
        """What the model, as it is now, makes of tokens that begin all sequences."""
        cache = DynamicCache()
        ids = torch.tensor([list(tokens)], device=self.device)
        self.body(input_ids=ids, past_key_values=cache, use_cache=True)
        return Prefix(cache)

    def logits(self, hidden_P_d: Tensor, tokens_U: Tensor) -> Tensor:
        """Logits of the tokens ``tokens_U`` at P positions, (P, U) float32."""
        bias = getattr(self.head, "bias", None)
        return self._finish(hidden_P_d, self.head.weight[tokens_U], None if bias is None else bias[tokens_U])

    def log_normalisers(self, hidden_P_d: Tensor) -> Tensor:
        """Log Σ exp of all logits of the vocabulary at P positions, (P,) float32, in bounded memory."""
        size = max(1024, _CHUNK_ELEMENTS // max(1, len(hidden_P_d)))
        chunks = torch.split(torch.arange(self.head.weight.shape[0], device=hidden_P_d.device), size)
        return torch.stack([self._part(hidden_P_d, tokens) for tokens in chunks]).logsumexp(dim=0)

    def _part(self, hidden_P_d: Tensor, tokens_U: Tensor) -> Tensor:
        if hidden_P_d.requires_grad and torch.is_grad_enabled():
            # The logits are made again in the backward pass instead of kept.
            return checkpoint(self._log_sum, hidden_P_d, tokens_U, use_reentrant=False)  # type: ignore[no-any-return]
        return self._log_sum(hidden_P_d, tokens_U)

    def _log_sum(self, hidden_P_d: Tensor, tokens_U: Tensor) -> Tensor:
        return self.logits(hidden_P_d, tokens_U).logsumexp(dim=-1)

    def _finish(self, hidden_P_d: Tensor, weight_U_d: Tensor, bias_U: Tensor | None) -> Tensor:
        with torch.autocast(hidden_P_d.device.type, enabled=False):
            logits = hidden_P_d.float() @ weight_U_d.float().T
            if bias_U is not None:
                logits = logits + bias_U.float()
            logits = logits * self._scale
            return logits if self._cap is None else self._cap * torch.tanh(logits / self._cap)

    # -- checks at loading -------------------------------------------------------------------------------

    def _probe(self, length: int) -> Tensor:
        vocabulary: int = self.head.weight.shape[0]
        return (torch.arange(length, device=self.device) * 7919 + 11) % vocabulary

    def _check_finite(self, model: Any) -> None:
        ids = self._probe(12)[None]
        logits = model(input_ids=ids, use_cache=False).logits
        if torch.isfinite(self.hidden(ids)).all() and (logits < torch.inf).all():  # −inf: tokens ruled out
            return
        name, dtype = type(model).__name__, str(self.dtype).removeprefix("torch.")
        for parameter, values in model.named_parameters():
            if not torch.isfinite(values).all():
                raise ModelError(f"{name}: {parameter} holds NaN or infinity in {dtype}. {_CHECK}")
        raise ModelError(f"{name}: its activations overflow {dtype} or are NaN. {_CHECK}")

    def _check_causal(self, model: Any) -> None:
        ids = self._probe(12)[None]
        changed = ids.clone()
        changed[0, -1] = (changed[0, -1] + 1) % self.head.weight.shape[0]
        if not is_close(self.hidden(changed)[0, :-1], self.hidden(ids)[0, :-1], self.tolerance):
            raise ModelError(f"{type(model).__name__} lets tokens see what follows. Give a causal model.")

    def _match_scale(self, model: Any, text_config: Any) -> None:
        """Some models multiply or divide their logits; take the factor that gives what the model gives."""
        ids = self._probe(12)[None]
        own = model(input_ids=ids, use_cache=False).logits[0].float()
        hidden = self.hidden(ids)[0]
        values = [float(value) for name in _SCALES if (value := getattr(text_config, name, None))]
        every = torch.arange(own.shape[-1], device=self.device)
        for self._scale in [1.0, *values, *(1 / value for value in values)]:
            if is_close(self.logits(hidden, every), own, self.tolerance):
                break
        else:
            raise ModelError(
                f"{type(model).__name__} changes its logits in a way that star_al does not know."
            )

    def _packing_works(self) -> bool:
        """Whether "prompt a b | c" in one sequence equals "prompt a b" and "prompt c"."""
        if not self._takes_positions:
            return False
        prompt, (a, b, c) = self._probe(8), self._probe(11)[8:]
        ids = torch.cat([prompt, torch.stack([a, b, c])])[None]
        positions = torch.tensor([[*range(8), 8, 9, 8]], device=self.device)
        seen = torch.ones(11, 11, dtype=torch.bool, device=self.device).tril()
        seen[10, 8:10] = False
        try:
            packed = self.hidden(ids, positions, additive_mask(seen[None, None], self.dtype))[0]
        except (TypeError, ValueError, RuntimeError, IndexError):
            return False  # a model that cannot take such a mask says so in its own way
        first = self.hidden(ids[:, :10])[0, 8:]
        second = self.hidden(torch.cat([prompt, c[None]])[None])[0, 8:]
        return is_close(packed[8:], torch.cat([first, second]), self.tolerance)

    def _prefix_works(self) -> bool:
        """Whether two sequences that go on from a prefix, one of them padded, equal the whole sequences."""
        ids = self._probe(18).view(2, 9)
        ids[1, :5] = ids[0, :5]
        try:
            positions = torch.arange(5, 9, device=self.device).repeat(2, 1)
            after = self.hidden(ids[:, 5:], positions, prefix=self.read_prefix(ids[0, :5].tolist()))
        except (TypeError, ValueError, RuntimeError, IndexError, AttributeError):
            return False  # a model that cannot go on from such a cache says so in its own way
        return is_close(after, self.hidden(ids)[:, 5:], self.tolerance)

    def _joining_works(self) -> bool:
        """Whether a sequence after another in one row equals itself apart, whatever comes before it.

        The latter is asked more exactly than the former can be: bfloat16 would hide a layer that leaks.
        """
        ids = self._probe(12)[None]
        other = torch.cat([ids[:, 1:8], ids[:, 7:]], dim=1)
        positions = torch.tensor([[*range(7), *range(5)]], device=self.device)
        attention = WatchedAttention((7, 5))
        try:
            with attention:
                mask = no_mask(12, self.dtype)
                joined, after_other = (self.hidden(one, positions, mask) for one in (ids, other))
        except (TypeError, ValueError, RuntimeError, IndexError):
            return False  # a model that joins tokens in another way says so in its own way
        apart = torch.cat([self.hidden(ids[:, :7]), self.hidden(ids[:, 7:])], dim=1)
        alone = is_close(after_other[:, 7:], joined[:, 7:], 1e-3 * self.tolerance)
        return attention.replaced and alone and is_close(joined, apart, 0.2 * self.tolerance)


def additive_mask(seen: Tensor, dtype: torch.dtype) -> Tensor:
    """Zero where a token sees another, the lowest number elsewhere."""
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill(~seen, torch.finfo(dtype).min)


def is_close(left: Tensor, right: Tensor, tolerance: float) -> bool:
    """Whether two ways to the same activations agree within a share of the largest of them."""
    return bool((left.float() - right.float()).abs().max() <= tolerance * right.float().abs().max())
