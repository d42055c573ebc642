"""Labels of several tokens as a tree, so that labels which begin alike share their tokens.

Node 0 is the end of the prompt. A label is a path of edges; its log-likelihood is the sum over its edges of
log p(token | the path so far). A node is a token that the model has to read, so a label's last token is
none. All nodes follow one prompt in one sequence; a mask lets each see the prompt and its own path only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True)
class LabelTree:
    """``tokens``, ``parents`` and ``depths`` by node, the root (token −1) first; ``edges`` by label."""

    tokens: tuple[int, ...]
    parents: tuple[int, ...]
    depths: tuple[int, ...]
    edges: tuple[tuple[tuple[int, int], ...], ...]  # per label: (node, next token)

    def __len__(self) -> int:
        """Tokens that follow the prompt."""
        return len(self.tokens) - 1

    def path(self, node: int) -> tuple[int, ...]:
        """The nodes from the root's child down to ``node``; empty for the root."""
        return () if node == 0 else (*self.path(self.parents[node]), node)

    def chains(self) -> list[tuple[int, ...]]:
        """Paths to the deepest nodes: together they hold every node. The root alone gives one empty path."""
        inner = set(self.parents)
        return [self.path(node) for node in range(1, len(self.tokens)) if node not in inner] or [()]


@lru_cache(maxsize=1024)
def label_tree(labels: tuple[tuple[int, ...], ...]) -> LabelTree:
    """The tree of labels given by their token ids, none empty."""
    nodes: dict[tuple[int, ...], int] = {(): 0}
    edges = []
    for label in labels:
        prefixes = [label[:depth] for depth in range(len(label))]
        path = [(nodes.setdefault(prefix, len(nodes)), label[len(prefix)]) for prefix in prefixes]
        edges.append(tuple(path))
    prefixes = list(nodes)
    return LabelTree(
        tokens=(-1, *(prefix[-1] for prefix in prefixes[1:])),
        parents=(-1, *(nodes[prefix[:-1]] for prefix in prefixes[1:])),
        depths=tuple(map(len, prefixes)),
        edges=tuple(edges),
    )


def is_prefix_free(labels: Sequence[tuple[int, ...]]) -> bool:
    """Whether no label begins another, different one."""
    kinds = set(labels)
    return not any(label[:length] in kinds for label in kinds for length in range(len(label)))
