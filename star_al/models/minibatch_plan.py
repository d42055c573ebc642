"""Group prompts into minibatches of bounded size."""

from __future__ import annotations

from collections.abc import Sequence

from star_al.models.label_tree import label_tree
from star_al.models.prompts import Prompt


def plan_minibatches(prompts: Sequence[Prompt], budget: int, *, packed: bool) -> list[list[int]]:
    """Group prompts of similar length into minibatches of bounded size.

    The plan depends on the set of ids and lengths, not on their order, so that a resumed scoring run reads
    the same minibatches.

    Args:
        prompts: Prompts with distinct item ids.
        budget: Padded tokens of a minibatch, at most. A prompt that is longer goes alone.
        packed: True if all labels of a prompt follow it in one sequence.

    Returns:
        Positions in ``prompts``, one list for each minibatch, ascending by length and then by item id.
    """
    sizes = [_size(prompt, packed) for prompt in prompts]
    batches: list[list[int]] = []
    rows = 0
    # Sorted by length, so that little of a minibatch is padding.
    for position in sorted(range(len(prompts)), key=lambda p: (sizes[p][1], prompts[p].item_id)):
        more, width = sizes[position]
        if not batches or (rows + more) * width > budget:
            batches.append([])
            rows = 0
        batches[-1].append(position)
        rows += more
    return batches


def padded_tokens(prompts: Sequence[Prompt], *, packed: bool) -> int:
    """Return what ``prompts`` count against the budget of ``plan_minibatches`` if they form one minibatch."""
    rows, widths = zip(*(_size(prompt, packed) for prompt in prompts), strict=True)
    return int(sum(rows) * max(widths))


def _size(prompt: Prompt, packed: bool) -> tuple[int, int]:
    """Return the number of a prompt's sequences and the length of the longest."""
    tree = label_tree(prompt.labels)
    return (1, len(prompt)) if packed else (len(tree.chains()), len(prompt.tokens) + max(tree.depths))
