"""Hidden states of a causal language model, and logits at chosen positions and tokens only.

Logits of shape (batch, tokens, vocabulary) are never formed. The body gives hidden states, a few of them are
taken, and they meet only those rows of the head that are asked for. This happens in float32: in bfloat16 a
logit of 16 is rounded to steps of 0.125.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import DynamicCache

from star_al.errors import ModelError
from star_al.models.classifier import Classifier
from star_al.models.length_probe import LengthProbe
from star_al.models.log_normaliser import LogNormaliser
from star_al.models.model_body import body_of
from star_al.models.quantised import has_float_weight, is_quantised

_CHUNK_ELEMENTS = 2**24  # float32 logits held at once for a normaliser: 64 MiB

_CAST_ELEMENTS = {"cpu": 2**20}
"""Entries of the head that are cast to float32 at once for a normaliser: on a CPU 4 MiB, which stay in its cache.

A whole head that is cast, written to memory and read again takes longer than its product with the hidden states."""

_CAPS = ("final_logit_softcapping", "logits_soft_cap", "output_logit_soft_cap")
"""Names that configurations give to the bound of the logits."""


@dataclass(frozen=True)
class PrefixCache:
    """Keys and values of tokens that begin all sequences, as transformers keeps them."""

    cache: Any

    def repeated(self, n: int) -> Any:
        """Return a cache for n sequences that the model may append to."""
        cache = copy.deepcopy(self.cache)
        cache.batch_repeat_interleave(n)
        return cache


class Readout:
    """The body and the head of a causal language model.

    ``readout_checks.open_readout`` makes one whose attributes have been checked against the model.

    Attributes:
        supports_packing: True if the model takes several continuations of a prompt in one sequence, by a 4-D
            mask and explicit position ids.
        supports_prefix: True if it continues from a ``PrefixCache``.
        supports_joining: True if it takes several sequences in one row within ``SequenceAttention``. Only on
            a CPU.
        supports_search: True if sequences can be continued several times, by tokens that see only some of those
            in the cache (see ``label_search``). Only on a CPU: a GPU would wait for the search.
        takes_positions: True if it takes position ids at all.
        lengths: Up to which length a token sees all that come before it, see ``LengthProbe``.
        tolerance: By how much two computations of the same activations may differ, see
            ``readout_checks.is_close``.
        logit_scale: Factor between hidden state times head and the model's logits.

    Raises:
        ModelError: The model has no head that can be read row by row.
    """

    def __init__(self, model: Any) -> None:
        self.body = body_of(model)
        self.head = model.get_output_embeddings()
        if self.head is None or self.body is model:
            raise ModelError(f"{type(model).__name__} has no language-model head that star_al can read.")
        if not has_float_weight(self.head):
            raise ModelError(
                f"{type(model).__name__}: its output head is quantised, and star_al reads rows of it. "
                "Quantise the model without its head."
            )
        # Quantised layers may round their inputs too, whatever the dtype.
        self.tolerance = 1e-4 if self.dtype == torch.float32 and not is_quantised(model) else 5e-2
        self.takes_positions = "position_ids" in inspect.signature(self.body.forward).parameters
        text_config = model.config.get_text_config()
        context = getattr(text_config, "max_position_embeddings", None) or 2**31
        self.lengths = LengthProbe(
            self.body, lambda ids: self.hidden(ids.to(self.device)), self.head.weight.shape[0], context
        )
        self.logit_scale = 1.0
        caps = (getattr(text_config, name, None) for name in _CAPS)
        self._logit_cap: float | None = next((cap for cap in caps if cap), None)
        self.supports_packing = self.supports_prefix = self.supports_joining = self.supports_search = False
        self._classifier: Classifier | None = None

    @property
    def device(self) -> torch.device:
        """The device that inputs belong on."""
        return self.head.weight.device  # type: ignore[no-any-return]

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of masks."""
        return self.head.weight.dtype  # type: ignore[no-any-return]

    def hidden(
        self,
        ids_R_S: Tensor,
        positions_R_S: Tensor | None = None,
        mask_R_1_S_T: Tensor | None = None,
        prefix: PrefixCache | None = None,
    ) -> Tensor:
        """Run the body.

        Args:
            ids_R_S: Token ids.
            positions_R_S: Position ids; ``None`` to count from 0.
            mask_R_1_S_T: Additive attention mask; T is S plus the prefix. With ``None`` attention is causal,
                so that padding on the right is seen by no other token.
            prefix: What comes before the tokens.

        Returns:
            Hidden states after the final norm, (R, S, d).
        """
        cache = None if prefix is None else prefix.repeated(len(ids_R_S))
        return self.extend(ids_R_S, positions_R_S, mask_R_1_S_T, cache)

    def open_cache(self, prefix: PrefixCache | None, n: int) -> Any:
        """Return a cache of keys and values for n sequences, which ``extend`` appends to; empty without a prefix."""
        return DynamicCache() if prefix is None else prefix.repeated(n)

    def extend(
        self, ids_R_S: Tensor, positions_R_S: Tensor | None, mask_R_1_S_T: Tensor | None, cache: Any
    ) -> Tensor:
        """Run the body on tokens that follow those in a cache, and append them to it; see ``hidden``."""
        extra: dict[str, Any] = {} if positions_R_S is None else {"position_ids": positions_R_S}
        if cache is not None:
            extra["past_key_values"] = cache
        out = self.body(input_ids=ids_R_S, attention_mask=mask_R_1_S_T, use_cache=cache is not None, **extra)
        return out.last_hidden_state  # type: ignore[no-any-return]

    def read_prefix(self, tokens: Sequence[int]) -> PrefixCache:
        """Read tokens that begin all sequences, with the weights that the model has now."""
        cache = DynamicCache()
        ids = torch.tensor([list(tokens)], device=self.device)
        self.body(input_ids=ids, past_key_values=cache, use_cache=True)
        return PrefixCache(cache)

    @contextmanager
    def classifying(self, classifier: Classifier | None) -> Iterator[None]:
        """Within, tokens of labels are rows of a classifier (see ``for_classifier``); of the head if it is None."""
        before = self._classifier
        self._classifier = None if classifier is None else classifier.on(self.device)
        try:
            yield
        finally:
            self._classifier = before

    @property
    def classifier(self) -> Classifier | None:
        """What is read in place of the head within ``classifying``."""
        return self._classifier

    @property
    def reads_text(self) -> bool:
        """True within ``classifying`` by a classifier that reads the states of the text's tokens."""
        return self._classifier is not None and self._classifier.reads_text

    def logits(self, hidden_P_d: Tensor, tokens_U: Tensor | slice) -> Tensor:
        """Return the logits of the tokens ``tokens_U`` at P positions, (P, U) float32."""
        if self._classifier is not None:
            return self._classifier.logits(hidden_P_d, tokens_U)
        bias = getattr(self.head, "bias", None)
        return self._finish(hidden_P_d, self.head.weight[tokens_U], None if bias is None else bias[tokens_U])

    def log_normalisers(self, hidden_P_d: Tensor) -> Tensor:
        """Return log Σ exp of all logits of the vocabulary at P positions, (P,) float32, in bounded memory."""
        tokens, size = self.head.weight.shape[0], max(1024, _CHUNK_ELEMENTS // max(1, len(hidden_P_d)))
        chunks = (slice(start, min(start + size, tokens)) for start in range(0, tokens, size))
        return torch.stack([self._chunk(hidden_P_d, chunk) for chunk in chunks]).logsumexp(dim=0)

    def fused_log_normalisers(self, hidden_P_d: Tensor) -> Tensor:
        """Return what ``log_normalisers`` does up to rounding, faster where a gradient is wanted, (P,) float32."""
        found: Tensor = LogNormaliser.apply(  # type: ignore[no-untyped-call]
            hidden_P_d, self.head.weight, getattr(self.head, "bias", None), self.logit_scale, self._logit_cap
        )
        return found

    def _chunk(self, hidden_P_d: Tensor, tokens_U: slice) -> Tensor:
        if hidden_P_d.requires_grad and torch.is_grad_enabled():
            # Recompute the logits in the backward pass: all chunks together are the whole vocabulary.
            return checkpoint(self._log_sum, hidden_P_d, tokens_U, use_reentrant=False)  # type: ignore[no-any-return]
        return self._log_sum(hidden_P_d, tokens_U)

    def _log_sum(self, hidden_P_d: Tensor, tokens_U: slice) -> Tensor:
        # With a gradient in one part: the order of its sums would change with the parts.
        most = _CAST_ELEMENTS.get(hidden_P_d.device.type)
        if most is None or (hidden_P_d.requires_grad and torch.is_grad_enabled()):
            return self.logits(hidden_P_d, tokens_U).logsumexp(dim=-1)
        size = max(128, most // self.head.weight.shape[1])
        starts = range(tokens_U.start, tokens_U.stop, size)
        parts = [self.logits(hidden_P_d, slice(at, min(at + size, tokens_U.stop))) for at in starts]
        return torch.cat(parts, dim=1).logsumexp(dim=-1)

    def _finish(self, hidden_P_d: Tensor, weight_U_d: Tensor, bias_U: Tensor | None) -> Tensor:
        with torch.autocast(hidden_P_d.device.type, enabled=False):
            logits = hidden_P_d.float() @ weight_U_d.float().T
            if bias_U is not None:
                logits = logits + bias_U.float()
            logits = logits * self.logit_scale
            return (
                logits if self._logit_cap is None else self._logit_cap * torch.tanh(logits / self._logit_cap)
            )


@contextmanager
def exact_products(readout: Readout, hidden_P_d: Tensor) -> Iterator[None]:
    """Within, a CPU may multiply in bfloat16 if that is what the factors are: products are exact, and sums float32."""
    settings: Any = getattr(torch.backends.mkldnn, "matmul", None)
    is_exact = {hidden_P_d.dtype, readout.head.weight.dtype} == {torch.bfloat16}
    if hidden_P_d.device.type != "cpu" or not is_exact or not hasattr(settings, "fp32_precision"):
        yield
        return
    before = settings.fp32_precision
    settings.fp32_precision = "bf16"
    try:
        yield
    finally:
        settings.fp32_precision = before
