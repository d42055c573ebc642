"""Prompts → the tensors of a minibatch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from star_al.models.label_tree import LabelTree, label_tree
from star_al.models.masks import additive_mask
from star_al.models.minibatch import Minibatch, Rewards, TextTokens
from star_al.models.prompts import Prompt
from star_al.models.readout import Readout
from star_al.models.trunk import Trunk

PREFIX_SHARE = 0.125
"""A shared prefix is read separately only if it is at least this share of the longest prompt: below that, joining
its keys and values to those of the rest costs as much as it saves."""


@dataclass(frozen=True)
class _Sequence:
    """One sequence: a prompt's tokens, followed by those of some nodes of its label tree."""

    prompt: int
    tokens: tuple[int, ...]
    nodes: tuple[int, ...]


def collate(
    prompts: Sequence[Prompt], readout: Readout, trunk: Trunk | None = None, prefix: tuple[int, ...] = ()
) -> Minibatch:
    """Build the tensors of a minibatch.

    A prompt becomes one sequence if the model takes all its labels in one, else one sequence for each chain
    of its label tree.

    Args:
        prompts: The B prompts.
        readout: The model that will read them.
        trunk: The model's frozen blocks, if their activations are to be used.
        prefix: Tokens that may be read once for all prompts. They stay in the sequences if the prompts do not
            begin with them, if the model cannot continue from them, or if it would not pay.

    Returns:
        The minibatch, on the model's device.
    """
    longest = max(len(prompt) for prompt in prompts)
    packed = readout.supports_packing and readout.lengths.is_whole(longest)
    if trunk is not None or not _pays_to_share(prefix, prompts, readout, longest):
        prefix = ()
    trees = [label_tree(prompt.labels) for prompt in prompts]
    sequences = [
        _Sequence(index, prompt.tokens[len(prefix) :] + tuple(tree.tokens[node] for node in nodes), nodes)
        for index, (prompt, tree) in enumerate(zip(prompts, trees, strict=True))
        for nodes in ([tuple(range(1, len(tree.tokens)))] if packed else tree.chains())
    ]
    width = max(len(sequence.tokens) for sequence in sequences)
    padded = torch.tensor(
        [[*sequence.tokens, *[0] * (width - len(sequence.tokens))] for sequence in sequences]
    )
    positions = mask = None
    if packed and any(len(tree) for tree in trees):
        positions = _tree_positions(sequences, trees, width) + len(prefix)
        visible = nn.functional.pad(_tree_visibility(sequences, trees, width), (len(prefix), 0), value=True)
        mask = additive_mask(_on_device(visible, readout.device), readout.dtype)
    elif prefix:
        positions = torch.arange(len(prefix), len(prefix) + width).repeat(len(sequences), 1)
    batch = Minibatch(
        ids_R_S=_on_device(padded, readout.device),
        positions_R_S=None if positions is None else _on_device(positions, readout.device),
        mask_R_1_S_T=mask,
        prompt_rows_R=torch.tensor([sequence.prompt for sequence in sequences], device=readout.device),
        lengths_R=tuple(len(sequence.tokens) for sequence in sequences),
        prefix=prefix,
        paired=prompts[0].paired,
        rewards=_rewards(prompts, readout.device),
        texts=_text_tokens(prompts, len(prefix), readout.device) if readout.reads_text else None,
        **_nodes_and_edges(prompts, trees, sequences, readout.device),  # type: ignore[arg-type]
    )
    return batch if trunk is None else replace(batch, trunk=trunk.activations(prompts, batch))


def _rewards(prompts: Sequence[Prompt], device: torch.device) -> Rewards | None:
    """Return the rewards of prompts that all have the same number of labels; None if they have none."""
    rewards = [prompt.reward for prompt in prompts if prompt.reward is not None]
    if not rewards:
        return None
    reference_B_C = torch.tensor([reward.reference for reward in rewards], dtype=torch.float32)
    return Rewards(rewards[0].beta, _on_device(reference_B_C, device))


def _text_tokens(prompts: Sequence[Prompt], before: int, device: torch.device) -> TextTokens:
    """Return where the texts are, of prompts that are one sequence each and lack their first ``before`` tokens."""
    ends = [len(prompt.tokens) for prompt in prompts]
    spans = [
        prompt.text if prompt.text[1] > prompt.text[0] else (end - 1, end)
        for prompt, end in zip(prompts, ends, strict=True)
    ]
    sizes_B = torch.tensor([end - start for start, end in spans])
    prompts_M = torch.arange(len(prompts)).repeat_interleave(sizes_B)
    columns = [torch.arange(start - before, end - before) for start, end in spans]
    return TextTokens(
        rows_M=_on_device(prompts_M, device),
        columns_M=_on_device(torch.cat(columns), device),
        prompts_M=_on_device(prompts_M, device),
        sizes_B=_on_device(sizes_B, device),
    )


def _on_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Move a tensor to ``device``; to CUDA from pinned memory, so that the program need not wait for the transfer."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def _pays_to_share(
    prefix: tuple[int, ...], prompts: Sequence[Prompt], readout: Readout, longest: int
) -> bool:
    """Return whether ``prefix`` can and should be read once for all prompts."""
    size = len(prefix)
    if not readout.supports_prefix or size < PREFIX_SHARE * longest or not readout.lengths.is_whole(longest):
        return False
    # A prompt must go on after the prefix: its last token's hidden state is needed.
    return all(len(prompt.tokens) > size and prompt.tokens[:size] == prefix for prompt in prompts)


def _tree_positions(sequences: Sequence[_Sequence], trees: Sequence[LabelTree], width: int) -> Tensor:
    """Return position ids (R, S) that count along each node's own path, as if it followed the prompt alone."""
    positions = torch.arange(width).repeat(len(sequences), 1)
    for index, sequence in enumerate(sequences):
        start = len(sequence.tokens) - len(sequence.nodes)
        depths = torch.tensor(
            [trees[sequence.prompt].depths[node] for node in sequence.nodes], dtype=torch.long
        )
        positions[index, start : len(sequence.tokens)] = start - 1 + depths
        positions[index, len(sequence.tokens) :] = 0  # padding must not exceed the model's context
    return positions


def _tree_visibility(sequences: Sequence[_Sequence], trees: Sequence[LabelTree], width: int) -> Tensor:
    """Return which token sees which, (R, 1, S, S) booleans: a node sees its prompt, its ancestors and itself."""
    # Padding stays causal, so that no row of the softmax is empty.
    visible = torch.ones(width, width, dtype=torch.bool).tril().repeat(len(sequences), 1, 1)
    for index, sequence in enumerate(sequences):
        tree, start = trees[sequence.prompt], len(sequence.tokens) - len(sequence.nodes)
        for node in sequence.nodes:
            # A parent comes before its children, and they see what it sees; the root sees the prompt.
            visible[index, start + node - 1] = visible[index, start + tree.parents[node] - 1]
            visible[index, start + node - 1, start + node - 1] = True
    return visible[:, None]


def _nodes_and_edges(
    prompts: Sequence[Prompt],
    trees: Sequence[LabelTree],
    sequences: Sequence[_Sequence],
    device: torch.device,
) -> dict[str, Tensor]:
    """Return the fields of a ``Minibatch`` that describe nodes and edges."""
    places: dict[tuple[int, int], tuple[int, int]] = {}  # (prompt, node) → (sequence, token)
    for index, sequence in enumerate(sequences):
        start = len(sequence.tokens) - len(sequence.nodes)
        # A prompt with several chains has its end, and shared nodes, in several sequences: the first is
        # taken.
        places.setdefault((sequence.prompt, 0), (index, start - 1))
        for offset, node in enumerate(sequence.nodes):
            places.setdefault((sequence.prompt, node), (index, start + offset))
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
