"""Group prompts into minibatches of bounded size."""

from __future__ import annotations

from collections.abc import Sequence

from star_al.models.label_tree import label_tree
from star_al.models.prompts import Prompt


def plan_minibatches(prompts: Sequence[Prompt], budget: int, *, packed_up_to: int) -> list[list[int]]:
    """Group prompts of similar length into minibatches of bounded size.

    The plan depends on the set of ids and lengths, not on their order, so that a resumed scoring run reads
    the same minibatches.

    Args:
        prompts: Prompts with distinct item ids.
        budget: Padded tokens of a minibatch, at most. A prompt that is longer goes alone.
        packed_up_to: All labels of a prompt of at most this length follow it in one sequence. It shares no
            minibatch with longer ones, which would unpack it.

    Returns:
        Positions in ``prompts``, one list for each minibatch, ascending by length and then by item id.
    """
    sizes = [_size(prompt, packed_up_to) for prompt in prompts]
    batches: list[list[int]] = []
    rows, chained = 0, False
    # Sorted by length, so that little of a minibatch is padding.
    for position in sorted(range(len(prompts)), key=lambda p: (*sizes[p][::2], prompts[p].item_id)):
        apart, more, width = sizes[position]
        if not batches or apart != chained or (rows + more) * width > budget:
            batches.append([])
            rows, chained = 0, apart
        batches[-1].append(position)
        rows += more
    return batches


def padded_tokens(prompts: Sequence[Prompt], *, packed_up_to: int) -> int:
    """Return what ``prompts`` count against the budget of ``plan_minibatches`` if they form one minibatch."""
    _, rows, widths = zip(*(_size(prompt, packed_up_to) for prompt in prompts), strict=True)
    return int(sum(rows) * max(widths))


def _size(prompt: Prompt, packed_up_to: int) -> tuple[bool, int, int]:
    """Return whether a prompt has a sequence for each chain, how many it has, and the length of the longest."""
    if len(prompt) <= packed_up_to:
        return False, 1, len(prompt)
    tree = label_tree(prompt.labels)
    return True, len(tree.chains()), len(prompt.tokens) + max(tree.depths)
