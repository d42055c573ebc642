"""The tensors of prompts that go through the model together."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from star_al.models.label_tree import LabelTree
from star_al.models.masks import no_mask


@dataclass(frozen=True)
class TrunkActivations:
    """Activations above the frozen blocks, and the context in which a model starts from them (see ``Trunk``)."""

    values_R_S_d: Tensor
    skipping: Callable[[Tensor], AbstractContextManager[None]]


@dataclass(frozen=True)
class Rewards:
    """What turns log-likelihoods of labels into rewards, see ``star_al.models.prompts.Reward``."""

    beta: float
    reference_B_C: Tensor

    def of(self, log_likelihoods_B_C: Tensor) -> Tensor:
        """Return the rewards (B, C); −inf where a prompt does not have a label."""
        return self.beta * (log_likelihoods_B_C - self.reference_B_C)


@dataclass(frozen=True)
class TextTokens:
    """Where the M tokens of B prompts' texts are; of an empty text, the prompt's last token.

    Attributes:
        rows_M: Sequence of each token.
        columns_M: Place of each token in its sequence.
        prompts_M: The prompt that it belongs to.
        sizes_B: Number of each prompt's tokens.
    """

    rows_M: Tensor
    columns_M: Tensor
    prompts_M: Tensor
    sizes_B: Tensor

    def mean(self, states_R_S_d: Tensor) -> Tensor:
        """Return the mean of the states of each text's tokens, (B, d) float32."""
        found_M_d = states_R_S_d[self.rows_M, self.columns_M].float()
        sums_B_d = found_M_d.new_zeros(len(self.sizes_B), found_M_d.shape[1])
        return sums_B_d.index_add(0, self.prompts_M, found_M_d) / self.sizes_B[:, None]


@dataclass(frozen=True)
class Minibatch:
    """B prompts and their label trees, as R sequences of S tokens.

    A *node* is a position whose hidden state is needed: the end of a prompt, or a token of a label that
    another token follows. An *edge* adds log p(token | node) to one label.

    Attributes:
        ids_R_S: Token ids, padded with 0 on the right.
        positions_R_S: Position ids; ``None`` if they simply count from 0.
        mask_R_1_S_T: Additive attention mask; ``None`` for causal attention. T includes the prefix.
        prompt_rows_R: The prompt that each sequence belongs to.
        lengths_R: Tokens of each sequence, without padding.
        node_rows_P: Sequence of each of the P nodes.
        node_columns_P: Token of each node in its sequence.
        inner_P: True for a node inside a label, False for one at the end of a prompt.
        edge_nodes_E: Node of each of the E edges.
        edge_tokens_E: Token that each edge predicts.
        edge_labels_E: Label that each edge adds to, counted row-major over (B, C).
        exists_B_C: True where a prompt has a label in this column.
        prefix: Tokens that begin every sequence and are left out of all tensors but the mask.
        trunk: What the frozen blocks make of the sequences; ``None`` if the whole model runs.
        trees: Label trees of prompts whose labels are left to ``search_labels``; empty if the sequences hold them.
        paired: True if only the labels of a pair compete with each other (``Prompt``).
        texts: Where the texts are, if a classifier reads them; else ``None``.
        joined: True if the sequences lie one after another in a single row, see ``join``.
        rewards: What turns log-likelihoods of labels into rewards; None to compare them as they are.
    """

    ids_R_S: Tensor
    positions_R_S: Tensor | None
    mask_R_1_S_T: Tensor | None
    prompt_rows_R: Tensor
    lengths_R: tuple[int, ...]
    node_rows_P: Tensor
    node_columns_P: Tensor
    inner_P: Tensor
    edge_nodes_E: Tensor
    edge_tokens_E: Tensor
    edge_labels_E: Tensor
    exists_B_C: Tensor
    prefix: tuple[int, ...] = ()
    trunk: TrunkActivations | None = None
    trees: tuple[LabelTree, ...] = ()
    paired: bool = False
    texts: TextTokens | None = None
    joined: bool = False
    rewards: Rewards | None = None

    def skipping_trunk(self) -> AbstractContextManager[None]:
        """Within, the model starts from the activations of the frozen blocks, if the minibatch has any."""
        return nullcontext() if self.trunk is None else self.trunk.skipping(self.trunk.values_R_S_d)


def join(batch: Minibatch, dtype: torch.dtype) -> Minibatch:
    """Put the sequences one after another in a single row, without padding and with nothing masked.

    The model must run within ``SequenceAttention``, which keeps the sequences apart (see
    ``Readout.supports_joining``).

    Args:
        batch: A minibatch that is not joined.
        dtype: Data type of the attention mask.

    Returns:
        The same prompts, nodes and edges, with R = 1 row of all tokens.
    """
    widths_R = torch.tensor(batch.lengths_R, device=batch.ids_R_S.device)
    columns_S = torch.arange(batch.ids_R_S.shape[1], device=batch.ids_R_S.device)
    kept_R_S = columns_S < widths_R[:, None]
    # Positions start again with each sequence: the model must not take them for one text.
    positions = columns_S.expand(kept_R_S.shape) if batch.positions_R_S is None else batch.positions_R_S
    starts_R = widths_R.cumsum(0) - widths_R  # a sequence starts where those before it end
    trunk, texts = batch.trunk, batch.texts
    return replace(
        batch,
        ids_R_S=batch.ids_R_S[kept_R_S][None],
        positions_R_S=positions[kept_R_S][None],
        mask_R_1_S_T=no_mask(sum(batch.lengths_R), dtype),
        node_rows_P=torch.zeros_like(batch.node_rows_P),
        node_columns_P=starts_R[batch.node_rows_P] + batch.node_columns_P,
        trunk=None if trunk is None else replace(trunk, values_R_S_d=trunk.values_R_S_d[kept_R_S][None]),
        texts=texts
        and replace(
            texts,
            rows_M=torch.zeros_like(texts.rows_M),
            columns_M=starts_R[texts.rows_M] + texts.columns_M,
        ),
        joined=True,
    )
