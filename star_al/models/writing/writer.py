"""Write answers to prompts with the model as it is at the time, greedily or by keyed uniforms.

A draw depends on (seed, item, sample, number of the draw, step) and not on its batch: prompts are read in batches whose
shape depends on their own lengths alone, and steps have shapes of which a row gets the same bits (``tokens.ROWS``). A
model that has to read everything again at each step does so up to the rounding of probabilities.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch

from star_al.errors import NotFiniteError, OutOfMemoryError
from star_al.models.backbone import Backbone
from star_al.models.collate import PREFIX_SHARE
from star_al.models.out_of_memory import is_out_of_memory
from star_al.models.prompts import Prompt
from star_al.models.readout import PrefixCache
from star_al.models.writing.ending import Ending
from star_al.models.writing.rows import CachedRows, RereadRows, Rows
from star_al.models.writing.tokens import Chosen, Uniform, choose_tokens, padded_rows
from star_al.ports import Advance

_STEP_TOKENS = {"cpu": 128, "cuda": 512}
"""Tokens of a step, at most: answers that are written together."""

_CACHE_BYTES = {"cpu": 2**30, "cuda": 2**32}
"""What the keys and values of prompts and answers that are written together may take."""

_WORTH_DROPPING = 0.75
"""Finished rows are dropped once so small a share is left: the rest of the cache is copied for it."""


@dataclass
class Written:
    """An answer.

    Attributes:
        tokens: Its ids, the end included if it came.
        log_prob: The logarithm of their probability.
        entropy: Mean entropy of the distributions that they were taken from, in nats; NaN unless it was asked for.
        is_over: True if the answer ended by itself; False if it was cut at the longest length.
    """

    tokens: list[int] = field(default_factory=list)
    log_prob: float = 0.0
    entropy: float = 0.0
    is_over: bool = False


class Writer:
    """Writes answers.

    Args:
        backbone: The model.
        ending: When an answer is over.
        longest: Tokens of an answer, at most, the end included.
        prefix: Tokens that begin prompts; they are read once where that pays.
    """

    def __init__(
        self, backbone: Backbone, ending: Ending, longest: int, prefix: tuple[int, ...] = ()
    ) -> None:
        self._backbone, self._ending, self._longest = backbone, ending, longest
        self._prefix = prefix if backbone.readout.supports_prefix else ()
        self._split = 1

    def prepare(self, prompts: Sequence[Prompt]) -> None:
        """Find out what the bare model can do with such prompts; must come before a sample is put into it."""
        self._backbone.readout.lengths.longest(max((self._whole(prompt) for prompt in prompts), default=0))

    @torch.inference_mode()
    def write(
        self,
        prompts: Sequence[Prompt],
        uniform: Uniform | None,
        advance: Advance,
        *,
        draws: int = 1,
        with_entropy: bool = False,
    ) -> list[list[Written]]:
        """Write answers with the weights that the model has now.

        Args:
            prompts: N prompts with distinct item ids, for which ``prepare`` was called.
            uniform: The random numbers of each draw; ``None`` to take the likeliest token each time.
            advance: Counts prompts.
            draws: Answers to each prompt.
            with_entropy: Compute ``Written.entropy``.

        Returns:
            The answers to each prompt, in their order.

        Raises:
            NotFiniteError: The model's answer is NaN.
            OutOfMemoryError: A single prompt does not fit into memory.
        """
        readout = self._backbone.readout
        answers: list[list[Written]] = [[] for _ in prompts]
        kept: PrefixCache | None = None
        groups = deque(self._groups(prompts, draws))
        while groups:
            places = groups.popleft()
            own = [prompts[place] for place in places]
            if kept is None and self._shares_prefix(own):
                kept = readout.read_prefix(self._prefix)
            found = self._try(own, kept, uniform, draws, with_entropy=with_entropy)
            if found is None:  # out of memory: in halves, and no larger ones from now on
                self._split *= 2
                half = -(-len(places) // 2)
                groups.extendleft([places[half:], places[:half]])
                continue
            for place, written in zip(places, found, strict=True):
                answers[place] = written
            advance(len(places))
        return answers

    # -- groups ----------------------------------------------------------------------------------------------

    def _groups(self, prompts: Sequence[Prompt], draws: int) -> Iterator[list[int]]:
        """Yield positions of prompts that have rows of the same width, shortest first."""
        by_width: dict[int, list[int]] = {}
        order = sorted(range(len(prompts)), key=lambda p: (len(prompts[p].tokens), prompts[p].item_id))
        for place in order:
            by_width.setdefault(_columns(len(prompts[place].tokens)), []).append(place)
        for width, places in by_width.items():
            size = self._size(width, draws)
            yield from (places[start : start + size] for start in range(0, len(places), size))

    def _size(self, width: int, draws: int) -> int:
        """Return how many prompts of a width are answered together."""
        kind = "cuda" if self._backbone.device.type == "cuda" else "cpu"
        config = self._backbone.config.get_text_config()
        heads = config.num_attention_heads
        head_size = getattr(config, "head_dim", None) or config.hidden_size // heads
        kept_heads = getattr(config, "num_key_value_heads", None) or heads
        bytes_of_token: int = (
            2 * config.num_hidden_layers * kept_heads * head_size * self._backbone.readout.dtype.itemsize
        )
        by_memory = _CACHE_BYTES[kind] // (bytes_of_token * (width + draws * self._longest))
        return max(1, min(by_memory, _STEP_TOKENS[kind] // draws) // self._split)

    def _whole(self, prompt: Prompt) -> int:
        return len(prompt.tokens) + self._longest

    def _shares_prefix(self, prompts: Sequence[Prompt]) -> bool:
        """Return whether the prefix is read once for prompts of one width; depends on that width alone."""
        size = len(self._prefix)
        if not size or size < PREFIX_SHARE * _columns(len(prompts[0].tokens)):
            return False
        return all(
            len(prompt.tokens) > size
            and prompt.tokens[:size] == self._prefix
            and self._backbone.readout.lengths.is_whole(self._whole(prompt))
            for prompt in prompts
        )

    # -- one group -------------------------------------------------------------------------------------------

    def _try(
        self,
        prompts: Sequence[Prompt],
        kept: PrefixCache | None,
        uniform: Uniform | None,
        draws: int,
        *,
        with_entropy: bool,
    ) -> list[list[Written]] | None:
        """Return the answers to some prompts, or ``None`` if they do not fit into memory together."""
        try:
            return self._write(prompts, kept, uniform, draws, with_entropy=with_entropy)
        except (RuntimeError, MemoryError) as exc:
            if not is_out_of_memory(exc):
                raise
            if len(prompts) == 1:
                raise OutOfMemoryError(
                    f"item {prompts[0].item_id} does not fit into the memory of {self._backbone.device}. "
                    "Set another model.device; only a new campaign may lower model.max_tokens."
                ) from exc
        return None

    def _write(
        self,
        prompts: Sequence[Prompt],
        kept: PrefixCache | None,
        uniform: Uniform | None,
        draws: int,
        *,
        with_entropy: bool,
    ) -> list[list[Written]]:
        answers = [[Written() for _ in range(draws)] for _ in prompts]
        rows, active = self._open(prompts, kept, draws), list(range(len(prompts)))
        hidden_B_m_d = rows.begin()[:, None].expand(-1, draws, -1)
        size = _rows_of(len(active), draws, rows)
        for step in range(self._longest):
            slots = [
                (row, draw)
                for row, place in enumerate(active)
                for draw in range(draws)
                if not answers[place][draw].is_over
            ]
            owners = [(prompts[active[row]].item_id, draw) for row, draw in slots]
            uniforms = None if uniform is None else [uniform(item_id, draw, step) for item_id, draw in owners]
            rows_S, draws_S = (list(part) for part in zip(*slots, strict=True))
            chosen = choose_tokens(
                self._backbone.readout, hidden_B_m_d[rows_S, draws_S], uniforms, with_entropy=with_entropy
            )
            _require_finite(chosen, [item_id for item_id, _ in owners])
            tokens_B_m = torch.zeros((size, draws), dtype=torch.long)
            for (row, draw), token, log_prob, entropy in zip(
                slots, chosen.tokens_S, chosen.log_probs_S, chosen.entropies_S, strict=True
            ):
                self._add(answers[active[row]][draw], token, log_prob, entropy)
                tokens_B_m[row, draw] = token
            left = [row for row, place in enumerate(active) if not all(one.is_over for one in answers[place])]
            if not left or step + 1 == self._longest:
                break
            if step == 0 or _rows_of(len(left), draws, rows) <= _WORTH_DROPPING * size:
                size = _rows_of(len(left), draws, rows)
                filled = [*left, *[left[-1]] * (size - len(left))]
                rows.keep(filled)
                tokens_B_m, active = tokens_B_m[filled], [active[row] for row in left]
            hidden_B_m_d = rows.extend(tokens_B_m.to(self._backbone.device))
        return answers

    def _open(self, prompts: Sequence[Prompt], kept: PrefixCache | None, draws: int) -> Rows:
        readout, tokens = self._backbone.readout, [prompt.tokens for prompt in prompts]
        whole = max(map(self._whole, prompts))
        if not (readout.supports_packing and readout.supports_prefix and readout.lengths.is_whole(whole)):
            return RereadRows(readout, tokens, answers=draws)
        prefix = (self._prefix, kept) if kept is not None and self._shares_prefix(prompts) else None
        return CachedRows(
            readout,
            tokens,
            prefix,
            width=_columns(len(tokens[0])),
            context=self._backbone.context,
            answers=draws,
        )

    def _add(self, written: Written, token: int, log_prob: float, entropy: float) -> None:
        """Append a token to an answer."""
        n = len(written.tokens)
        written.tokens.append(token)
        written.log_prob += log_prob
        written.entropy += (entropy - written.entropy) / (n + 1)
        written.is_over = self._ending.is_over(written.tokens)


def _columns(length: int) -> int:
    """Return the width of a prompt's row: a multiple of 64; above 512 one of few, at most a quarter more.

    Prompts of one width are answered together, and attention is a small part of a step: few widths, which fill
    steps, are faster than narrow rows.
    """
    step = max(64, 1 << max(0, length.bit_length() - 3))
    return -(-length // step) * step


def _rows_of(n: int, draws: int, kept: Rows) -> int:
    """Return how many rows a step of n prompts has, so that its tokens make a shape of ``padded_rows``."""
    rows = n
    while kept.fixes_bits and padded_rows(rows * draws) != rows * draws:
        rows += 1
    return rows


def _require_finite(chosen: Chosen, item_ids: Sequence[str]) -> None:
    for log_prob, item_id in zip(chosen.log_probs_S, item_ids, strict=True):
        if not log_prob > -torch.inf:
            raise NotFiniteError(
                f"the model answers NaN for item {item_id}. Check the model's weights; a new campaign may try "
                "model.dtype: float32."
            )
