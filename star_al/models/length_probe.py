"""Find out how long a sequence may be for each token to see all that come before it, in every block.

Beyond that length (a window, a chunk, a sparse selection, under whatever name a configuration gives it), labels
packed into one sequence, a prefix that is read once, and joined sequences are not what plain sequences are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from star_al.models.float32_probe import computing_in_float32, parts_of

SHORTEST = 32
"""The shortest sequence that is probed, in tokens."""


class LengthProbe:
    """The lengths up to which attention is whole, found as they are asked for.

    A length is probed by one sequence that is up to a quarter longer, whose last token must see every other. It
    costs a forward and a backward pass of that sequence through one block at a time, about as much as three prompts
    of that length, and memory for one block. A longer length that passes covers all shorter ones.

    Args:
        body: The model's body.
        run: Runs the body on token ids (1, S).
        vocabulary: Number of token ids.
        context: The longest sequence that the model takes.
    """

    def __init__(
        self, body: nn.Module, run: Callable[[Tensor], Tensor], vocabulary: int, context: int
    ) -> None:
        self._body, self._run, self._vocabulary, self._context = body, run, vocabulary, context
        self._whole: dict[int, bool] = {}

    def is_whole(self, length: int) -> bool:
        """Return whether in a sequence of this length each token sees all that come before it, in every block."""
        known = [size for size, whole in self._whole.items() if whole]
        if length <= max(known, default=0):
            return True
        size = self._probed(length)
        if size not in self._whole:
            failed = [other for other, whole in self._whole.items() if not whole]
            self._whole[size] = size < min(failed, default=size + 1) and self._examine(size)
        return self._whole[size]

    def longest(self, length: int) -> int:
        """Return the longest that is whole among the lengths that have been or now are probed, up to ``length``.

        Ask before weights are changed or hooks are set: afterwards ``is_whole`` probes no more up to ``length``.
        """
        asked = length
        while length >= SHORTEST and not self.is_whole(length):
            length = 1 << (self._probed(length) - 1).bit_length() - 1  # the next lower power of two
        longest = length if self.is_whole(length) else 0
        if longest < asked:
            self._whole[longest + 1] = False  # what lies between is not looked for later
        return longest

    def _probed(self, length: int) -> int:
        """Return the length of the probe for a sequence: up to a quarter more, unless the context is shorter."""
        step = max(SHORTEST, 1 << (length - 1).bit_length() >> 3)
        return max(length, min(-(-length // step) * step, self._context))

    def _wide_enough(self) -> AbstractContextManager[None]:
        """Compute in float32 where small gradients would become zero; bfloat16 has float32's range, and is faster."""
        is_narrow = any(weight.dtype == torch.float16 for weight in self._body.parameters())
        return computing_in_float32(self._body) if is_narrow else nullcontext()

    def _examine(self, size: int) -> bool:
        ids = (torch.arange(size) * 7919 + 11) % self._vocabulary
        counts: list[int] = []
        training = self._body.training
        try:
            # Scoring runs in inference mode, in which nothing can be differentiated.
            with torch.inference_mode(False), torch.no_grad(), self._wide_enough():
                self._body.eval()
                with _counting_seen_tokens(parts_of(self._body), counts):
                    self._run(ids[None])
        except (TypeError, ValueError, RuntimeError, AttributeError, LookupError, MemoryError):
            return False  # a block that cannot be examined, or not in this memory, is not trusted
        finally:
            self._body.train(training)
        # A block that sees the last token alone mixes no tokens, such as a norm.
        return size in counts and set(counts) <= {1, size}


@contextmanager
def _counting_seen_tokens(blocks: list[nn.Module], counts: list[int]) -> Iterator[None]:
    """Within, note for each call of a block how many tokens its last token sees, itself included.

    It sees a token if its output has a gradient with respect to that token: exactly zero for one that is masked,
    and of some size for one that is not, whatever the dtype.
    """
    with ExitStack() as stack:
        for block in dict.fromkeys(blocks):
            inputs: list[Tensor] = []
            before = block.register_forward_pre_hook(_differentiable(inputs), with_kwargs=True)
            stack.callback(before.remove)
            stack.callback(block.register_forward_hook(_counter(inputs, counts)).remove)
        yield


def _differentiable(inputs: list[Tensor]) -> Callable[..., Any]:
    """Return a hook that makes a block's hidden states a leaf, which it keeps in ``inputs``."""

    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        hidden = args[0] if args else kwargs.get("hidden_states")
        if not isinstance(hidden, Tensor) or hidden.ndim < 3 or not hidden.is_floating_point():
            return None
        leaf = hidden.detach().requires_grad_()
        inputs.append(leaf)
        torch.set_grad_enabled(True)
        return ((leaf, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": leaf})

    return hook


def _counter(inputs: list[Tensor], counts: list[int]) -> Callable[..., Any]:
    """Return a hook that differentiates a block's last token, and lets the next block start afresh."""

    def hook(_: nn.Module, __: tuple[Any, ...], output: Any) -> Any:
        if not inputs:
            return None
        leaf, out = inputs.pop(), output[0] if isinstance(output, (tuple, list)) else output
        if out.requires_grad:  # unlike rotary embeddings, which take the hidden states for their dtype
            last = out.select(-2, -1)
            # Unequal weights: the plain sum of a normalised vector is constant.
            weights = torch.arange(last.shape[-1], device=last.device).remainder(7) - 2.6
            (gradient,) = torch.autograd.grad((last * weights).sum(), leaf)
            counts.append(int((gradient != 0).movedim(-2, 0).flatten(1).any(dim=1).sum()))
        torch.set_grad_enabled(False)
        return tree_map(lambda value: value.detach() if isinstance(value, Tensor) else value, output)

    return hook
