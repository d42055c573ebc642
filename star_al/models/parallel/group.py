"""Divide a minibatch into parts, and add up their gradients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from accelerate.utils import broadcast, reduce
from torch import Tensor, nn

from star_al.models.targets import Target


@dataclass(frozen=True)
class Group:
    """The processes that train an adapter together. Each has all of it, and takes the same steps.

    Attributes:
        rank: The number of this process.
        size: How many there are.
        in_step: True if all of them must read equally many parts, because each block is shared by them.
    """

    rank: int = 0
    size: int = 1
    in_step: bool = False

    def own_parts(
        self, targets: Sequence[Target], accumulated: int
    ) -> Iterator[tuple[Sequence[Target], float]]:
        """Yield this process's parts of a minibatch, and the share of its weight that each has.

        Args:
            targets: The minibatch.
            accumulated: How many parts each process reads one after another. Of a small minibatch some are empty,
                and left out; where the processes go in step, they are a text of no weight.
        """
        whole = sum(target.weight for target in targets)
        parts = _cut(targets, self.size * accumulated)
        for part in parts[self.rank * accumulated : (self.rank + 1) * accumulated]:
            if part:
                yield part, sum(target.weight for target in part) / whole
            elif self.in_step:
                yield targets[:1], 0.0

    def add_up(self, losses: Sequence[Tensor], parameters: Sequence[nn.Parameter]) -> Tensor:
        """Give each process the gradient of the whole minibatch, and return its loss.

        Args:
            losses: Those of this process's parts.
            parameters: What is trained.
        """
        if self.size == 1:
            return torch.stack(list(losses)).sum()
        loss = sum(losses, torch.zeros((), device=parameters[0].device))
        # Without a gradient in any process, of experts that no text reached, the optimiser leaves a parameter alone.
        has_one = torch.tensor([float(p.grad is not None) for p in parameters], device=loss.device)
        gradients = [(torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in parameters]
        # One tensor: a message for each of some hundred small ones would take far longer.
        flat = reduce(torch.cat([loss.reshape(1), has_one, *gradients]), "sum")
        sizes = [1, len(parameters), *map(len, gradients)]
        (total,), had, *summed = torch.split(flat, sizes)
        for parameter, one, gradient in zip(parameters, had.tolist(), summed, strict=True):
            parameter.grad = gradient.view_as(parameter).clone() if one else None
        found: Tensor = total
        return found

    @torch.no_grad()
    def start_alike(self, parameters: Sequence[nn.Parameter]) -> None:
        """Give each process the parameters of the first one."""
        if self.size > 1:
            for parameter in parameters:
                parameter.copy_(broadcast(parameter.data))


def _cut(targets: Sequence[Target], n: int) -> list[Sequence[Target]]:
    """Return ``n`` parts that follow one another, whose sizes differ by one at most; the first ones are larger."""
    size, larger = divmod(len(targets), n)
    ends = [place * size + min(place, larger) for place in range(n + 1)]
    return [targets[start:end] for start, end in pairwise(ends)]
