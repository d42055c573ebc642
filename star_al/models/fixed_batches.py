"""Batches whose shape depends on the length of their sequences alone, so that each gets the same bits in any of them.

Matrix products of other shapes add in another order. The last bits of a vector then differ from batch to batch, and
in bfloat16 these differences are a thousand times larger. So sequences are padded to one of a few lengths, and a
batch has as many rows as its length allows, empty places included.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

_BATCH_TOKENS = {"cpu": 1024, "cuda": 16_384}


@dataclass(frozen=True)
class FixedBatch:
    """Sequences of a batch.

    Attributes:
        positions: The positions of its sequences.
        width: Tokens that they are padded to.
        rows: Rows of the batch; there may be fewer sequences.
    """

    positions: npt.NDArray[np.intp]
    width: int
    rows: int

    @property
    def filled(self) -> list[int]:
        """A position for each row: empty places hold the last sequence once more."""
        return [*self.positions.tolist(), *[int(self.positions[-1])] * (self.rows - len(self.positions))]


def fixed_batches(lengths_M: npt.ArrayLike, longest: int, device: torch.device) -> Iterator[FixedBatch]:
    """Yield batches of sequences, the shortest first.

    Args:
        lengths_M: Tokens of each sequence.
        longest: The most tokens that a sequence is padded to; not below any length.
        device: Where they are computed; decides on the size of batches.
    """
    budget = _BATCH_TOKENS["cuda" if device.type == "cuda" else "cpu"]
    widths_M = np.array(
        [min(_padded(length), longest) for length in np.asarray(lengths_M).tolist()], dtype=np.intp
    )
    for width in np.unique(widths_M).tolist():
        positions, rows = np.flatnonzero(widths_M == width), max(1, budget // width)
        for start in range(0, len(positions), rows):
            yield FixedBatch(positions[start : start + rows], width, rows)


def _padded(length: int) -> int:
    """Return a multiple of 8 from ``length`` on; above 64 one of few, at most an eighth more."""
    step = max(8, 1 << max(0, length.bit_length() - 4))
    return max(step, -(-length // step) * step)
