"""Log-likelihoods of whole labels after a prompt, and the prediction they make."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

from star_al.models.batching import Batch
from star_al.models.readout import Prefix, Readout


def label_scorer(readout: Readout) -> Callable[[Batch], Tensor]:
    """``label_log_likelihoods`` for as long as the weights stay as they are: a prefix is read once."""
    read_prefix = lru_cache(maxsize=1)(readout.read_prefix)

    def score(batch: Batch) -> Tensor:
        return label_log_likelihoods(readout, batch, read_prefix(batch.prefix) if batch.prefix else None)

    return score


def prompt_embedder(readout: Readout) -> Callable[[Batch], Tensor]:
    """Last hidden states at the ends of a batch's prompts, (B, d); like ``label_scorer`` otherwise."""
    read_prefix = lru_cache(maxsize=1)(readout.read_prefix)

    def embed(batch: Batch) -> Tensor:
        hidden_P_d = _hidden_at_nodes(readout, batch, read_prefix(batch.prefix) if batch.prefix else None)
        return hidden_P_d[~batch.inner_P]  # prompts are in their order

    return embed


def label_log_likelihoods(readout: Readout, batch: Batch, prefix: Prefix | None = None) -> Tensor:
    """Log p(all tokens of a label | prompt), (B, C) float32, up to a constant of each prompt.

    The constant is the normaliser of a label's first token, which all labels of a prompt share and a softmax
    over them cancels; with single-token labels no logit beyond the labels' own is ever computed. Labels that
    a prompt does not have are −inf. Differentiable. ``prefix`` is what the model makes of ``batch.prefix``.
    """
    hidden_P_d = _hidden_at_nodes(readout, batch, prefix)
    tokens_U, columns_E = torch.unique(batch.edge_tokens_E, return_inverse=True)
    terms_E = readout.logits(hidden_P_d, tokens_U)[batch.edge_nodes_E, columns_E]
    if batch.inner_P.any():
        normalisers_P = torch.zeros(len(hidden_P_d), device=hidden_P_d.device)
        normalisers_P[batch.inner_P] = readout.log_normalisers(hidden_P_d[batch.inner_P])
        terms_E = terms_E - normalisers_P[batch.edge_nodes_E]
    sums = torch.zeros(batch.exists_B_C.numel(), device=terms_E.device)
    sums_B_C = sums.index_add(0, batch.edge_labels_E, terms_E).view(batch.exists_B_C.shape)
    return sums_B_C.masked_fill(~batch.exists_B_C, -torch.inf)


def label_log_probs(readout: Readout, batch: Batch) -> Tensor:
    """Log p(label | prompt) by a softmax over the prompt's labels (methods, section 1), (B, C) float32."""
    return label_log_likelihoods(readout, batch).log_softmax(dim=-1)


def _hidden_at_nodes(readout: Readout, batch: Batch, prefix: Prefix | None) -> Tensor:
    """Last hidden states (P, d) at the batch's nodes."""
    hidden_R_S_d = readout.hidden(
        batch.ids_R_S, batch.positions_R_S, batch.mask_R_1_S_T, prefix, batch.trunk_R_S_d
    )
    return hidden_R_S_d[batch.node_rows_P, batch.node_columns_P]
