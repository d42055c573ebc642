"""Labels of several tokens as a tree, so that labels that begin alike share their tokens.

Node 0 is the end of the prompt. A label is a path of edges; its log-likelihood is the sum over its edges of
log p(token | the path so far). A node is a token that the model has to read, so a label's last token is not
one. All nodes of a tree follow their prompt in one sequence, under a mask that lets each see the prompt and
its own path only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True)
class LabelTree:
    """The tree of a prompt's labels; node 0, the root, comes first everywhere.

    Attributes:
        tokens: Token of each node, −1 for the root.
        parents: Parent of each node, −1 for the root.
        depths: Distance of each node from the root.
        edges: For each label its edges, as pairs of a node and the token that follows it.
    """

    tokens: tuple[int, ...]
    parents: tuple[int, ...]
    depths: tuple[int, ...]
    edges: tuple[tuple[tuple[int, int], ...], ...]

    def __len__(self) -> int:
        """Return the number of tokens that follow the prompt."""
        return len(self.tokens) - 1

    def path(self, node: int) -> tuple[int, ...]:
        """Return the nodes from a child of the root down to ``node``; empty for the root."""
        found = []
        while node:
            found.append(node)
            node = self.parents[node]
        return tuple(reversed(found))

    def chains(self) -> list[tuple[int, ...]]:
        """Return the paths to the leaves, which together hold every node; one empty path if there is only the root."""
        inner = set(self.parents)
        return [self.path(node) for node in range(1, len(self.tokens)) if node not in inner] or [()]


@lru_cache(maxsize=1024)
def label_tree(labels: tuple[tuple[int, ...], ...]) -> LabelTree:
    """Build the tree of labels, each given by its token ids and none empty."""
    nodes: dict[tuple[int, ...], int] = {(): 0}  # a node is identified by the tokens that lead to it
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
    """Return whether no label begins another, different one."""
    distinct = set(labels)
    return not any(label[:length] in distinct for label in distinct for length in range(len(label)))
