"""Read the labels of prompts best first, down their trees, until those left unread can hold little probability.

What a label's tokens add to its log-likelihood is never positive, so the tokens read so far bound it from above
(docs/methods.md, "Many labels").
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from star_al.models.collate import collate
from star_al.models.label_tree import LabelTree, label_tree
from star_al.models.masks import additive_mask
from star_al.models.minibatch import Minibatch
from star_al.models.prompts import Prompt
from star_al.models.readout import PrefixCache, Readout
from star_al.types import FloatArray, IntArray

NODES_AT_ONCE = 8
"""Tokens of labels that are read together behind each prompt. More take fewer passes, but more of them in vain."""

FEWEST_NODES = 24
"""A smaller tree is read whole: it costs little beside its prompt."""

PROMPTS_TOGETHER = 4
"""How many times as many tokens of prompts are read together as usual: a search makes many short passes, and each of
them reads all weights."""

_LOSS = 0.5
"""Share of the mean loss of the tokens read, that an unread token is taken to cost. Labels that lose least hold most
of the probability, so the whole mean would be too much."""


def bare(prompt: Prompt) -> Prompt:
    """Return a prompt behind which no label is read, as one label of one token needs it."""
    return replace(prompt, labels=((prompt.labels[0][0],),))


def collate_for_search(prompts: Sequence[Prompt], readout: Readout, prefix: tuple[int, ...]) -> Minibatch:
    """Build the tensors of prompts whose labels ``search_labels`` reads.

    Args:
        prompts: The B prompts, with their labels.
        readout: The model that will read them.
        prefix: Tokens that may be read once for all prompts, see ``collate``.
    """
    batch = collate([bare(prompt) for prompt in prompts], readout, None, prefix)
    return replace(batch, trees=tuple(label_tree(prompt.labels) for prompt in prompts))


def search_labels(readout: Readout, batch: Minibatch, prefix: PrefixCache | None, tolerance: float) -> Tensor:
    """Compute log-likelihoods of labels as ``label_log_likelihoods`` does, without reading all of them.

    Which labels are read is decided for each prompt by itself.

    Args:
        readout: The model.
        batch: Prompts and their label trees, from ``collate_for_search``.
        prefix: What the model makes of ``batch.prefix``, if the minibatch has one.
        tolerance: Total variation distance between the distribution of a prompt and the exact one, at most.

    Returns:
        Log-likelihoods (B, C) float64; −inf for labels that a prompt does not have. A label that was not read
        whole gets an estimate that does not exceed its bound.
    """
    searches = [_Search(tree, tolerance) for tree in batch.trees]
    cache = readout.open_cache(prefix, len(searches))
    hidden_B_S_d = readout.extend(batch.ids_R_S, batch.positions_R_S, batch.mask_R_1_S_T, cache)
    roots_B_d = hidden_B_S_d[batch.node_rows_P, batch.node_columns_P]
    _add_terms(readout, searches, [[0]] * len(searches), roots_B_d, normalised=False)
    lengths = [len(batch.prefix) + length for length in batch.lengths_R]
    width = len(batch.prefix) + batch.ids_R_S.shape[1]
    active = list(range(len(searches)))
    while True:
        left = [place for place, row in enumerate(active) if not searches[row].is_done()]
        if not left:
            break
        if len(left) < len(active):
            cache.batch_select_indices(torch.tensor(left, device=readout.device))
            active = [active[place] for place in left]
        own = [searches[row] for row in active]
        nodes = [search.likeliest_nodes() for search in own]
        step = _lay_out(own, nodes, [lengths[row] for row in active], width)
        hidden_R_m_d = readout.extend(*step.on(readout), cache)
        rows, slots = zip(
            *((row, slot) for row, found in enumerate(nodes) for slot in range(len(found))), strict=True
        )
        _add_terms(readout, own, nodes, hidden_R_m_d[list(rows), list(slots)], normalised=True)
        width += NODES_AT_ONCE
    columns = max(len(search.estimates()) for search in searches)
    estimates = [
        np.pad(row, (0, columns - len(row)), constant_values=-np.inf)
        for row in (s.estimates() for s in searches)
    ]
    return torch.from_numpy(np.stack(estimates))


class _Paths(NamedTuple):
    """Labels as paths down a tree of L levels."""

    nodes_C_L: IntArray
    """The node from which a label's next token is predicted; −1 behind its last token."""

    tokens_C_L: IntArray
    """The token; 0 behind the last."""


@lru_cache(maxsize=1024)
def _paths(tree: LabelTree) -> _Paths:
    levels = max(map(len, tree.edges)) + 1
    padded = [[*path, *[(-1, 0)] * (levels - len(path))] for path in tree.edges]
    both_C_L_2 = np.array(padded)
    return _Paths(both_C_L_2[..., 0], both_C_L_2[..., 1])


class _Search:
    """What is known about the labels of one prompt.

    Args:
        tree: The labels.
        tolerance: See ``search_labels``.

    Attributes:
        columns: Where in the cache the nodes lie that were read.
    """

    def __init__(self, tree: LabelTree, tolerance: float) -> None:
        self.tree, self._paths = tree, _paths(tree)
        self._log_tolerance = math.log(tolerance) if tolerance else -math.inf
        self._labels = np.arange(len(tree.edges))
        self._read_C = np.zeros(len(tree.edges), dtype=np.int64)
        self._bounds_C = np.zeros(len(tree.edges))
        self._losses: list[float] = []
        self.columns: dict[int, int] = {}

    @property
    def _next_C(self) -> IntArray:
        """The node that a label waits for; −1 if it was read whole."""
        next_C: IntArray = self._paths.nodes_C_L[self._labels, self._read_C]
        return next_C

    def is_done(self) -> bool:
        """Return whether the labels not read whole hold at most the tolerance, even at their bounds."""
        open_C = self._next_C >= 0
        if not open_C.any() or np.isnan(self._bounds_C).any():  # NaN is refused, whatever else is read
            return True
        at_most = np.logaddexp.reduce(self._bounds_C[open_C]) - np.logaddexp.reduce(self._bounds_C)
        return bool(at_most <= self._log_tolerance)

    def likeliest_nodes(self) -> list[int]:
        """Return the nodes to read next: those whose labels may hold most, by their bounds."""
        next_C = self._next_C
        open_C = next_C >= 0
        nodes, places = np.unique(next_C[open_C], return_inverse=True)
        mass = np.full(len(nodes), -np.inf)
        np.logaddexp.at(mass, places, self._bounds_C[open_C])
        chosen: list[int] = nodes[np.lexsort((nodes, -mass))[:NODES_AT_ONCE]].tolist()
        return chosen

    def tokens_after(self, node: int) -> tuple[IntArray, IntArray]:
        """Return the labels that wait for a node, and the token that follows it in each."""
        labels = np.flatnonzero(self._next_C == node)
        return labels, self._paths.tokens_C_L[labels, self._read_C[labels]]

    def add(self, labels: IntArray, terms: FloatArray, *, inner: bool) -> None:
        """Lower the bounds of some labels by what their next tokens add."""
        self._bounds_C[labels] += terms
        self._read_C[labels] += 1
        if inner:
            self._losses += terms[np.isfinite(terms)].tolist()

    def estimates(self) -> FloatArray:
        """Return the log-likelihoods of labels read whole, and estimates of the others."""
        unread_C = (self._paths.nodes_C_L >= 0).sum(axis=1) - self._read_C
        loss = min(0.0, float(np.mean(self._losses))) if self._losses else 0.0
        estimates_C: FloatArray = self._bounds_C + _LOSS * loss * unread_C
        return estimates_C


@dataclass(frozen=True)
class _Step:
    """Tokens that are read behind prompts, a row of ``NODES_AT_ONCE`` for each prompt."""

    ids_R_m: IntArray
    positions_R_m: IntArray
    visible_R_m_T: np.ndarray[tuple[int, int, int], np.dtype[np.bool_]]

    def on(self, readout: Readout) -> tuple[Tensor, Tensor, Tensor]:
        """Return token ids, position ids and the additive mask on the model's device."""
        visible = torch.from_numpy(self.visible_R_m_T[:, None]).to(readout.device)
        return (
            torch.from_numpy(self.ids_R_m).to(readout.device),
            torch.from_numpy(self.positions_R_m).to(readout.device),
            additive_mask(visible, readout.dtype),
        )


def _lay_out(
    searches: Sequence[_Search], nodes: Sequence[Sequence[int]], lengths: Sequence[int], width: int
) -> _Step:
    """Lay out the nodes to read, and note where in the cache they will lie.

    Args:
        searches: The R searches.
        nodes: The nodes that each of them reads, at most ``NODES_AT_ONCE``.
        lengths: Tokens of their prompts.
        width: Tokens of a row in the cache, with padding.
    """
    size = NODES_AT_ONCE
    ids_R_m, positions_R_m = np.zeros((2, len(searches), size), dtype=np.int64)
    visible_R_m_T = np.zeros((len(searches), size, width + size), dtype=bool)
    for row, (search, found, length) in enumerate(zip(searches, nodes, lengths, strict=True)):
        visible_R_m_T[row, :, :length] = True
        for slot, node in enumerate(found):
            ids_R_m[row, slot] = search.tree.tokens[node]
            positions_R_m[row, slot] = length + search.tree.depths[node] - 1
            search.columns[node] = width + slot
            visible_R_m_T[row, slot, [search.columns[each] for each in search.tree.path(node)]] = True
    return _Step(ids_R_m, positions_R_m, visible_R_m_T)


def _add_terms(
    readout: Readout,
    searches: Sequence[_Search],
    nodes: Sequence[Sequence[int]],
    hidden_P_d: Tensor,
    *,
    normalised: bool,
) -> None:
    """Tell searches what the nodes say about the tokens that follow them.

    Args:
        readout: The model.
        searches: The R searches.
        nodes: The nodes that were read for each, P in all.
        hidden_P_d: Their hidden states.
        normalised: Whether to subtract the log-normaliser, which cancels at the end of a prompt.
    """
    asked = [
        (place, search, *search.tokens_after(node))
        for place, (search, node) in enumerate(
            (search, node) for search, found in zip(searches, nodes, strict=True) for node in found
        )
    ]
    places_E = np.concatenate([np.full(len(labels), place) for place, _, labels, _ in asked])
    tokens_U, columns_E = np.unique(np.concatenate([tokens for *_, tokens in asked]), return_inverse=True)
    logits_P_U = readout.logits(hidden_P_d, torch.from_numpy(tokens_U).to(readout.device))
    terms_E = logits_P_U.double().cpu().numpy()[places_E, columns_E]
    if normalised:
        with bfloat16_products(readout, hidden_P_d):
            terms_E -= readout.log_normalisers(hidden_P_d).double().cpu().numpy()[places_E]
    ends = np.cumsum([len(labels) for _, _, labels, _ in asked])
    for (_, search, labels, _), terms in zip(asked, np.split(terms_E, ends[:-1]), strict=True):
        search.add(labels, terms, inner=normalised)


@contextmanager
def bfloat16_products(readout: Readout, hidden_P_d: Tensor) -> Iterator[None]:
    """Within, float32 matrices are multiplied as bfloat16 with float32 sums, if head and hidden states are bfloat16.

    Nothing is rounded then, because their float32 copies hold bfloat16 numbers.
    """
    if {readout.dtype, hidden_P_d.dtype} != {torch.bfloat16}:
        yield
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
