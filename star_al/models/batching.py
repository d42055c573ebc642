"""Which items go through the model together, and the tensors of such a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from star_al.models.attention import no_mask
from star_al.models.label_tree import LabelTree, label_tree
from star_al.models.prompts import Prompt
from star_al.models.readout import Readout, additive_mask

PREFIX_SHARE = 0.125
"""A shared beginning is read apart from this share of a sequence on; below, joining it costs what it saves."""


def plan_batches(prompts: Sequence[Prompt], budget: int, *, packed: bool) -> list[list[int]]:
    """Positions in ``prompts`` by batch: at most ``budget`` padded tokens each, or one prompt alone.

    A function of the set of ids and lengths, not of their order: sorted by length, then id.
    """
    sizes = [_size(prompt, packed) for prompt in prompts]
    batches: list[list[int]] = []
    rows = 0
    for position in sorted(range(len(prompts)), key=lambda p: (sizes[p][1], prompts[p].item_id)):
        more, width = sizes[position]
        if not batches or (rows + more) * width > budget:
            batches.append([])
            rows = 0
        batches[-1].append(position)
        rows += more
    return batches


def padded_tokens(prompts: Sequence[Prompt], *, packed: bool) -> int:
    """What counts against ``budget`` in ``plan_batches`` where ``prompts`` are one batch."""
    rows, widths = zip(*(_size(prompt, packed) for prompt in prompts), strict=True)
    return int(sum(rows) * max(widths))


def _size(prompt: Prompt, packed: bool) -> tuple[int, int]:
    """Sequences of a prompt, and the length of its longest."""
    tree = label_tree(prompt.labels)
    return (1, len(prompt)) if packed else (len(tree.chains()), len(prompt.tokens) + max(tree.depths))


@dataclass(frozen=True)
class Batch:
    """B prompts with their label trees as R sequences of S tokens.

    P nodes (ends of prompts and of beginnings of labels) lie at ``(node_rows_P, node_columns_P)``. E edges
    each add log p(``edge_tokens_E`` | node ``edge_nodes_E``) to the label ``edge_labels_E``, counted
    row-major over (B, C). ``prompt_rows_R`` is the prompt that a sequence belongs to, ``lengths_R`` its
    tokens that are not padding. ``prefix`` are tokens that begin every sequence and are left out of all the
    rest but the mask, whose T counts them. ``trunk_R_S_d`` are activations to start from, see ``Trunk``.
    ``joined``: the sequences lie one after another in a single row, see ``join``.
    """

    ids_R_S: Tensor
    positions_R_S: Tensor | None
    mask_R_1_S_T: Tensor | None
    prompt_rows_R: Tensor
    lengths_R: tuple[int, ...]
    node_rows_P: Tensor
    node_columns_P: Tensor
    inner_P: Tensor  # whether a node is not the end of a prompt
    edge_nodes_E: Tensor
    edge_tokens_E: Tensor
    edge_labels_E: Tensor
    exists_B_C: Tensor
    prefix: tuple[int, ...] = ()
    trunk_R_S_d: Tensor | None = None
    joined: bool = False


@dataclass(frozen=True)
class _Row:
    """One sequence: a prompt and the nodes of its tree that follow it, in order."""

    prompt: int
    tokens: tuple[int, ...]
    nodes: tuple[int, ...]


def make_batch(prompts: Sequence[Prompt], readout: Readout, prefix: tuple[int, ...] = ()) -> Batch:
    """The tensors of a batch: one sequence a prompt where the model takes packed labels, else one a chain.

    ``prefix`` are tokens that may be read once for all prompts; they stay in where that would not pay.
    """
    longest = max(len(prompt) for prompt in prompts)
    packed = readout.packed and longest <= readout.window
    prefix = _read_apart(prompts, readout, longest, prefix)
    trees = [label_tree(prompt.labels) for prompt in prompts]
    rows = [
        _Row(index, prompt.tokens[len(prefix) :] + tuple(tree.tokens[node] for node in nodes), nodes)
        for index, (prompt, tree) in enumerate(zip(prompts, trees, strict=True))
        for nodes in ([tuple(range(1, len(tree.tokens)))] if packed else tree.chains())
    ]
    width = max(len(row.tokens) for row in rows)
    padded = torch.tensor([[*row.tokens, *[0] * (width - len(row.tokens))] for row in rows])
    positions = mask = None
    if packed and any(len(tree) for tree in trees):
        positions = _tree_positions(rows, trees, width) + len(prefix)
        seen = nn.functional.pad(_tree_mask(rows, trees, width), (len(prefix), 0), value=True)
        mask = additive_mask(on_device(seen, readout.device), readout.dtype)
    elif prefix:
        positions = torch.arange(len(prefix), len(prefix) + width).repeat(len(rows), 1)
    batch = Batch(
        ids_R_S=on_device(padded, readout.device),
        positions_R_S=None if positions is None else on_device(positions, readout.device),
        mask_R_1_S_T=mask,
        prompt_rows_R=torch.tensor([row.prompt for row in rows], device=readout.device),
        lengths_R=tuple(len(row.tokens) for row in rows),
        prefix=prefix,
        **_nodes_and_edges(prompts, trees, rows, readout.device),  # type: ignore[arg-type]
    )
    return batch if readout.trunk is None else replace(batch, trunk_R_S_d=readout.trunk.read(prompts, batch))


def join(batch: Batch, dtype: torch.dtype) -> Batch:
    """The same sequences one after another in one row, without padding, and nothing masked.

    For a model within ``SequenceAttention`` only, which keeps them apart; see ``Readout.joins``.
    """
    widths_R = torch.tensor(batch.lengths_R, device=batch.ids_R_S.device)
    columns_S = torch.arange(batch.ids_R_S.shape[1], device=batch.ids_R_S.device)
    kept_R_S = columns_S < widths_R[:, None]
    positions = columns_S.expand(kept_R_S.shape) if batch.positions_R_S is None else batch.positions_R_S
    starts_R = widths_R.cumsum(0) - widths_R
    return replace(
        batch,
        ids_R_S=batch.ids_R_S[kept_R_S][None],
        positions_R_S=positions[kept_R_S][None],
        mask_R_1_S_T=no_mask(sum(batch.lengths_R), dtype),
        node_rows_P=torch.zeros_like(batch.node_rows_P),
        node_columns_P=starts_R[batch.node_rows_P] + batch.node_columns_P,
        trunk_R_S_d=None if batch.trunk_R_S_d is None else batch.trunk_R_S_d[kept_R_S][None],
        joined=True,
    )


def on_device(tensor: Tensor, device: torch.device) -> Tensor:
    """``tensor`` on ``device``; to CUDA from pinned memory, so that the transfer does not wait."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def _read_apart(
    prompts: Sequence[Prompt], readout: Readout, longest: int, prefix: tuple[int, ...]
) -> tuple[int, ...]:
    """``prefix`` where the prompts begin with it, the model goes on from it, and that pays; else nothing."""
    size = len(prefix)
    possible = readout.takes_prefix and readout.trunk is None and longest <= readout.window
    if not possible or size < PREFIX_SHARE * longest:
        return ()
    starts = all(len(prompt.tokens) > size and prompt.tokens[:size] == prefix for prompt in prompts)
    return prefix if starts else ()


def _tree_positions(rows: Sequence[_Row], trees: Sequence[LabelTree], width: int) -> Tensor:
    positions = torch.arange(width).repeat(len(rows), 1)
    for index, row in enumerate(rows):
        start = len(row.tokens) - len(row.nodes)
        depths = torch.tensor([trees[row.prompt].depths[node] for node in row.nodes], dtype=torch.long)
        positions[index, start : len(row.tokens)] = start - 1 + depths
        positions[index, len(row.tokens) :] = 0  # padding, kept inside the context
    return positions


def _tree_mask(rows: Sequence[_Row], trees: Sequence[LabelTree], width: int) -> Tensor:
    """(R, 1, S, S) booleans: who sees whom. Padding sees what is before it, so that no softmax is empty."""
    seen = torch.ones(width, width, dtype=torch.bool).tril().repeat(len(rows), 1, 1)
    for index, row in enumerate(rows):
        tree, start = trees[row.prompt], len(row.tokens) - len(row.nodes)
        for node in row.nodes:
            column = start + node - 1
            seen[index, column, start:] = False
            seen[index, column, [start + ancestor - 1 for ancestor in tree.path(node)]] = True
    return seen[:, None]


def _nodes_and_edges(
    prompts: Sequence[Prompt], trees: Sequence[LabelTree], rows: Sequence[_Row], device: torch.device
) -> dict[str, Tensor]:
    places: dict[tuple[int, int], tuple[int, int]] = {}
    for index, row in enumerate(rows):
        start = len(row.tokens) - len(row.nodes)
        places.setdefault((row.prompt, 0), (index, start - 1))
        for offset, node in enumerate(row.nodes):
            places.setdefault((row.prompt, node), (index, start + offset))
    number = {node: index for index, node in enumerate(places)}
    columns = max(len(prompt.labels) for prompt in prompts)
    edges = [
        (number[index, node], token, index * columns + label)
        for index, tree in enumerate(trees)
        for label, path in enumerate(tree.edges)
        for node, token in path
    ]
    exists = [[column < len(prompt.labels) for column in range(columns)] for prompt in prompts]
    node_rows, node_columns = zip(*places.values(), strict=True)
    edge_nodes, edge_tokens, edge_labels = zip(*edges, strict=True)
    return {
        "node_rows_P": torch.tensor(node_rows, device=device),
        "node_columns_P": torch.tensor(node_columns, device=device),
        "inner_P": torch.tensor([node > 0 for _, node in places], device=device),
        "edge_nodes_E": torch.tensor(edge_nodes, device=device),
        "edge_tokens_E": torch.tensor(edge_tokens, device=device),
        "edge_labels_E": torch.tensor(edge_labels, device=device),
        "exists_B_C": torch.tensor(exists, device=device),
    }
