"""Log-likelihoods of whole labels after a prompt (docs/methods.md, "Label probabilities")."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

from star_al.models.label_search import search_labels
from star_al.models.minibatch import Minibatch
from star_al.models.readout import PrefixCache, Readout, exact_products


def label_scorer(readout: Readout, tolerance: float = 0.0) -> Callable[[Minibatch], Tensor]:
    """Return ``label_log_likelihoods``, or ``search_labels`` for a minibatch that asks for it, as a function of it.

    It reads a prefix once and keeps it, so it is valid as long as the weights stay as they are.

    Args:
        readout: The model.
        tolerance: Of ``search_labels``.
    """
    read_prefix = lru_cache(maxsize=1)(readout.read_prefix)

    def score(batch: Minibatch) -> Tensor:
        prefix = read_prefix(batch.prefix) if batch.prefix else None
        if batch.trees:
            return search_labels(readout, batch, prefix, tolerance)
        return label_log_likelihoods(readout, batch, prefix)

    return score


def answer_scorer(readout: Readout) -> Callable[[Minibatch], Tensor]:
    """Return a function that gives the log-likelihoods of whole answers, (B, C), with nothing left out of them.

    Like ``label_scorer``, it is valid as long as the weights stay as they are.
    """
    states = node_reader(readout)

    def score(batch: Minibatch) -> Tensor:
        hidden_P_d = states(batch)
        with exact_products(readout, hidden_P_d):
            return answers_of_hidden(readout, batch, hidden_P_d, readout.log_normalisers)

    return score


def node_reader(readout: Readout) -> Callable[[Minibatch], Tensor]:
    """Return ``hidden_at_nodes`` as a function of a minibatch, which reads a prefix once, like ``label_scorer``."""
    read_prefix = lru_cache(maxsize=1)(readout.read_prefix)
    return lambda batch: hidden_at_nodes(readout, batch, read_prefix(batch.prefix) if batch.prefix else None)


def prompt_embedder(readout: Readout) -> Callable[[Minibatch], Tensor]:
    """Return a function that gives the last hidden states at the ends of a minibatch's prompts, (B, d).

    Like ``label_scorer``, it is valid as long as the weights stay as they are.
    """
    states = node_reader(readout)
    return lambda batch: states(batch)[
        ~batch.inner_P
    ]  # nodes at the ends of prompts are in the prompts' order


def label_log_likelihoods(readout: Readout, batch: Minibatch, prefix: PrefixCache | None = None) -> Tensor:
    """Compute log p(all tokens of a label | prompt), up to a constant of each prompt. Differentiable.

    The constant is the log-normaliser of a label's first token: it is the same for all labels of a prompt, so
    a softmax over them cancels it. With labels of one token each, no other logits are computed. Labels in pairs are
    normalised within their pair.
    Of a minibatch with rewards, these are returned in their place: a softmax over them is the preference that
    direct preference optimisation trains (Rafailov et al. 2023, arXiv 2305.18290).

    Args:
        readout: The model.
        batch: Prompts and labels.
        prefix: What the model makes of ``batch.prefix``, if the minibatch has one.

    Returns:
        Log-likelihoods or rewards (B, C) float32; −inf for labels that a prompt does not have.
    """
    hidden_P_d = _scored_states(readout, batch, prefix)
    tokens_U, columns_E = torch.unique(batch.edge_tokens_E, return_inverse=True)
    terms_E = readout.logits(hidden_P_d, tokens_U)[batch.edge_nodes_E, columns_E]
    if batch.inner_P.any():
        normalisers_P = torch.zeros(len(hidden_P_d), device=hidden_P_d.device)
        normalisers_P[batch.inner_P] = readout.log_normalisers(hidden_P_d[batch.inner_P])
        terms_E = terms_E - normalisers_P[batch.edge_nodes_E]
    sums_B_C = _sum_by_label(batch, terms_E)
    if batch.rewards is not None:
        return batch.rewards.of(sums_B_C)
    return _within_pairs(sums_B_C) if batch.paired else sums_B_C


def _within_pairs(values_B_C: Tensor) -> Tensor:
    """Normalise the labels of each pair, and give every pair the same share, so that a row sums to 1."""
    pairs_B_P_2 = values_B_C.unflatten(1, (-1, 2)).log_softmax(dim=2)
    log_probs_B_C: Tensor = pairs_B_P_2.flatten(1) - math.log(pairs_B_P_2.shape[1])
    return log_probs_B_C


def answer_log_likelihoods(readout: Readout, batch: Minibatch) -> Tensor:
    """Compute the language model's own log p(all tokens of a label | prompt). Differentiable.

    Args:
        readout: The model.
        batch: Prompts and labels, without a prefix.

    Returns:
        Log-likelihoods (B, C) float32; −inf for labels that a prompt does not have.
    """
    return answers_of_hidden(readout, batch, hidden_at_nodes(readout, batch))


def answers_of_hidden(
    readout: Readout,
    batch: Minibatch,
    hidden_P_d: Tensor,
    log_normalisers: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Return what ``answer_log_likelihoods`` does, from the hidden states at the minibatch's nodes.

    Args:
        readout: The model.
        batch: Prompts and labels.
        hidden_P_d: The hidden states.
        log_normalisers: One of the readout's functions of that name; by default the one that is best differentiated.
    """
    tokens_U, columns_E = torch.unique(batch.edge_tokens_E, return_inverse=True)
    logits_E = readout.logits(hidden_P_d, tokens_U)[batch.edge_nodes_E, columns_E]
    terms_E = logits_E - (log_normalisers or readout.fused_log_normalisers)(hidden_P_d)[batch.edge_nodes_E]
    return _sum_by_label(batch, terms_E)


def _sum_by_label(batch: Minibatch, terms_E: Tensor) -> Tensor:
    """Add up the edges of each label, (B, C); −inf for labels that a prompt does not have."""
    sums = torch.zeros(batch.exists_B_C.numel(), device=terms_E.device)
    sums_B_C = sums.index_add(0, batch.edge_labels_E, terms_E).view(batch.exists_B_C.shape)
    return sums_B_C.masked_fill(~batch.exists_B_C, -torch.inf)


def label_log_probs(readout: Readout, batch: Minibatch) -> Tensor:
    """Compute log p(label | prompt), normalised over the labels of each prompt, (B, C) float32."""
    return label_log_likelihoods(readout, batch).log_softmax(dim=-1)


def hidden_at_nodes(readout: Readout, batch: Minibatch, prefix: PrefixCache | None = None) -> Tensor:
    """Return the last hidden states (P, d) at the minibatch's nodes."""
    return _last_states(readout, batch, prefix)[batch.node_rows_P, batch.node_columns_P]


def _scored_states(readout: Readout, batch: Minibatch, prefix: PrefixCache | None) -> Tensor:
    """Return what labels are scored from: the states at the nodes; before them the text's, if it is read (P, 2 d)."""
    states_R_S_d = _last_states(readout, batch, prefix)
    nodes_P_d = states_R_S_d[batch.node_rows_P, batch.node_columns_P]
    if batch.texts is None:
        return nodes_P_d
    return torch.cat([batch.texts.mean(states_R_S_d), nodes_P_d.float()], dim=1)


def _last_states(readout: Readout, batch: Minibatch, prefix: PrefixCache | None) -> Tensor:
    with batch.skipping_trunk():
        return readout.hidden(batch.ids_R_S, batch.positions_R_S, batch.mask_R_1_S_T, prefix)
