"""Read prompts with the base model or with samples of a posterior, in minibatches that fit into memory."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from star_al.errors import NotFiniteError, OutOfMemoryError
from star_al.models.backbone import Backbone
from star_al.models.batch_choice import BatchChoice, choose_batch
from star_al.models.collate import collate
from star_al.models.label_search import FEWEST_NODES, PROMPTS_TOGETHER, bare, collate_for_search
from star_al.models.label_tree import label_tree
from star_al.models.likelihood import (
    answer_log_likelihoods,
    answer_scorer,
    label_scorer,
    node_reader,
    prompt_embedder,
)
from star_al.models.minibatch import Minibatch
from star_al.models.minibatch_plan import padded_tokens, plan_minibatches
from star_al.models.out_of_memory import is_out_of_memory, translate_out_of_memory
from star_al.models.posterior import Posterior, Score
from star_al.models.prompts import Prompt
from star_al.models.quiet import quiet
from star_al.models.trunk import Trunk
from star_al.ports import Advance
from star_al.types import Categorical, Float32Array, FloatArray


class Inference:
    """Scores and embeddings of prompts.

    Args:
        backbone: The base model.
        trunk: Frozen blocks whose activations are used; ``None`` to run the whole model.
        prefix: Tokens that begin all prompts.
        minibatch_tokens: Padded tokens of a minibatch; ``None`` to measure which are best. Halved for good whenever a
            minibatch does not fit into memory.

    Attributes:
        batch: The size of minibatches before any was halved.
    """

    def __init__(
        self, backbone: Backbone, trunk: Trunk | None, prefix: tuple[int, ...], minibatch_tokens: int | None
    ) -> None:
        self._backbone, self.trunk, self._prefix = backbone, trunk, prefix
        self.batch = (
            choose_batch(backbone, self._read_whole)
            if minibatch_tokens is None
            else BatchChoice(minibatch_tokens, {})
        )
        self._minibatch_tokens = self.batch.tokens

    def _read_whole(self, prompts: Sequence[Prompt]) -> None:
        """Score prompts as one minibatch by the whole base model."""
        readout = self._backbone.readout
        self._probe_lengths(prompts)
        with torch.inference_mode():
            label_scorer(readout)(collate(prompts, readout)).cpu()

    def label_log_probs(
        self,
        prompts: Sequence[Prompt],
        posterior: Posterior | None,
        draws: Sequence[int | None],
        seed: int,
        advance: Advance,
        tolerance: float = 0.0,
    ) -> Categorical:
        """Predict labels with each sample.

        A sample is put into the model once, and all prompts are read with it, because merging weights costs
        more than a small minibatch.

        Args:
            prompts: The N prompts.
            posterior: A fitted posterior; ``None`` for the base model.
            draws: Numbers of the K samples; ``None`` stands for the posterior's mean or mode.
            seed: Seed of the samples.
            advance: Called with the number of prompts that all samples have read.
            tolerance: Total variation distance between a prediction of a sample and the exact one, at most. With 0
                every label is read; with more, a posterior's samples leave unlikely ones unread where the model
                can (docs/methods.md, "Many labels").

        Returns:
            Log-probabilities (N, K, C), normalised over the labels of each prompt.

        Raises:
            NotFiniteError: The model's answer is NaN.
            OutOfMemoryError: A sample or a single prompt does not fit into memory.
        """
        columns = max((len(prompt.labels) for prompt in prompts), default=0)
        log_probs_N_K_C = np.full((len(prompts), len(draws), columns), -np.inf)
        if not prompts:
            return Categorical((), log_probs_N_K_C)
        self._probe_lengths(prompts)
        progress = PassProgress(len(draws), advance)
        ways = self._ways(prompts, posterior, tolerance)
        for k, sample in enumerate(draws):
            # A new one: it keeps the prefix as this sample reads it.
            scorer = label_scorer(self._backbone.readout, tolerance)
            with quiet(), self.sampled(posterior, scorer, seed, sample) as score:
                for searches, own in ways.items():
                    chosen = [prompts[position] for position in own]
                    for places, rows in self._read(chosen, posterior, _normalised(score), searches=searches):
                        log_probs_N_K_C[[own[place] for place in places], k, : rows.shape[1]] = rows
                        progress.add(len(places))
        return Categorical(tuple(prompt.item_id for prompt in prompts), log_probs_N_K_C)

    def plan(self, prompts: Sequence[Prompt]) -> list[list[int]] | None:
        """Return the minibatches in which these prompts are read, as positions.

        Prompts of some whole minibatches, one after another, are read in the same minibatches without the others.

        Returns:
            The plan; ``None`` where how a prompt is read depends on the others.
        """
        longest, most = self._probe_lengths(prompts), max(map(len, prompts), default=0)
        searched = any(len(label_tree(prompt.labels)) >= FEWEST_NODES for prompt in prompts)
        if searched or 0 < longest < most:
            return None
        return plan_minibatches(prompts, self._minibatch_tokens, packed_up_to=longest)

    def answer_log_likelihoods(
        self,
        prompts: Sequence[Prompt],
        posterior: Posterior | None,
        draws: Sequence[int | None],
        seed: int,
        advance: Advance,
    ) -> FloatArray:
        """Return the log-likelihoods of whole answers by each sample, (N, K, A).

        Args:
            prompts: The N prompts, whose labels are the answers.
            posterior: A fitted posterior; ``None`` for the base model.
            draws: Numbers of the K samples; ``None`` stands for the posterior's mean or mode.
            seed: Seed of the samples.
            advance: Called with the number of prompts that all samples have read.

        Returns:
            Log-likelihoods of all tokens; −inf for answers that a prompt does not have.

        Raises:
            NotFiniteError: The model's answer is NaN.
            OutOfMemoryError: A sample or a single prompt does not fit into memory.
        """
        columns = max((len(prompt.labels) for prompt in prompts), default=0)
        found_N_K_A = np.full((len(prompts), len(draws), columns), -np.inf)
        self._probe_lengths(prompts)
        progress = PassProgress(len(draws), advance)
        for k, sample in enumerate(draws):
            scorer = answer_scorer(self._backbone.readout)
            with quiet(), self.sampled(posterior, scorer, seed, sample) as score:
                for positions, rows in self._read(prompts, posterior, score):
                    found_N_K_A[positions, k, : rows.shape[1]] = rows
                    progress.add(len(positions))
        return found_N_K_A

    def answer_states(
        self, prompts: Sequence[Prompt], posterior: Posterior | None, sample: int | None, seed: int
    ) -> list[Float32Array]:
        """Return the hidden states from which each token of an answer comes, (L, d) for each prompt.

        Args:
            prompts: Prompts with one label each, the answer.
            posterior: A fitted posterior; ``None`` for the base model.
            sample: Number of the sample; ``None`` for the mean or mode.
            seed: Seed of the samples.
        """
        found: list[Float32Array] = [np.empty((0, 0), dtype=np.float32)] * len(prompts)
        self._probe_lengths(prompts)
        read = node_reader(self._backbone.readout)

        def states(batch: Minibatch) -> Tensor:
            hidden_P_d = read(batch)
            # A prompt with one label has one chain of nodes, which begins at its end.
            starts = torch.nonzero(~batch.inner_P)[:, 0].tolist()
            parts = [hidden_P_d[a:b] for a, b in pairwise([*starts, len(hidden_P_d)])]
            return torch.nn.utils.rnn.pad_sequence(parts, batch_first=True)

        with quiet(), self.sampled(posterior, states, seed, sample) as drawn:
            for positions, rows in self._read(prompts, posterior, drawn):
                for position, row in zip(positions, rows, strict=True):
                    found[position] = row[: len(prompts[position].labels[0])].astype(np.float32)
        return found

    def reference(self, prompts: Sequence[Prompt]) -> FloatArray:
        """Return the base model's log p(all tokens of a label | prompt), (N, C), for prompts with equally many labels.

        Each prompt is read by itself, so that what is found depends on nothing else.

        Raises:
            NotFiniteError: The model's answer is NaN.
            OutOfMemoryError: A prompt does not fit into memory.
        """
        self._probe_lengths(prompts)
        read = partial(answer_log_likelihoods, self._backbone.readout)
        rows = [self._read_minibatch([prompt], read, (), searches=False, trunk=None) for prompt in prompts]
        return np.concatenate([row for row in rows if row is not None])

    def _ways(
        self, prompts: Sequence[Prompt], posterior: Posterior | None, tolerance: float
    ) -> dict[bool, list[int]]:
        """Return positions of prompts by whether their labels are searched."""
        if not tolerance or posterior is None or not posterior.shares_prefix or self.trunk is not None:
            return {False: list(range(len(prompts)))}
        longest = self._probe_lengths(prompts) if self._backbone.readout.supports_search else 0
        ways: dict[bool, list[int]] = {False: [], True: []}
        for position, prompt in enumerate(prompts):
            # The search bounds log-likelihoods, and not rewards.
            is_large = prompt.reward is None and len(label_tree(prompt.labels)) >= FEWEST_NODES
            searches = is_large and len(prompt) <= longest
            ways[searches].append(position)
        return ways

    def embeddings(
        self, prompts: Sequence[Prompt], posterior: Posterior | None, advance: Advance
    ) -> Float32Array:
        """Return the hidden states after the final norm at the ends of prompts, (N, d), of the mean or mode."""
        readout = self._backbone.readout
        embeddings_N_d = np.zeros((len(prompts), readout.head.weight.shape[1]), dtype=np.float32)
        self._probe_lengths(prompts)
        embedder = prompt_embedder(readout)
        with quiet(), self.sampled(posterior, embedder, 0, None) as embed:
            for positions, rows in self._read(prompts, posterior, embed):
                embeddings_N_d[positions] = rows
                advance(len(positions))
        return embeddings_N_d

    def _probe_lengths(self, prompts: Sequence[Prompt]) -> int:
        """Return up to which length labels are packed. The first call probes the bare model, so no sample is in it."""
        readout = self._backbone.readout
        with quiet():
            longest = readout.lengths.longest(max(map(len, prompts), default=0))
        return longest if readout.supports_packing else 0

    @contextmanager
    def sampled(
        self, posterior: Posterior | None, score: Score, seed: int, sample: int | None
    ) -> Iterator[Score]:
        """Within, the model is a sample of the posterior."""
        device = self._backbone.device
        message = (
            f"a sample of the adapter does not fit into the memory of {device}. "
            "Set another model.device; only a new campaign may adapt fewer layers."
        )
        draw = (
            nullcontext(score) if posterior is None else posterior.draw(self._backbone, score, seed, sample)
        )
        with translate_out_of_memory(message), draw as drawn:
            yield drawn

    def _read(
        self,
        prompts: Sequence[Prompt],
        posterior: Posterior | None,
        read: Callable[[Minibatch], Tensor],
        *,
        searches: bool = False,
    ) -> Iterator[tuple[list[int], FloatArray]]:
        """Yield positions in ``prompts``, minibatch by minibatch, and what ``read`` makes of them, (B, …).

        A minibatch that does not fit into memory is split, and so are all that follow. If ``read`` searches labels, a
        prompt counts without them: few are read at a time.
        """
        prefix = self._prefix if posterior is None or posterior.shares_prefix else ()
        packed_up_to = self._probe_lengths(prompts)
        sized = [bare(prompt) for prompt in prompts] if searches else prompts
        times = PROMPTS_TOGETHER if searches else 1
        left = deque(plan_minibatches(sized, times * self._minibatch_tokens, packed_up_to=packed_up_to))
        while left:
            batch = [prompts[position] for position in left[0]]
            rows = self._read_minibatch(batch, read, prefix, searches=searches, trunk=self.trunk)
            if rows is not None:
                yield left.popleft(), rows
                continue
            second_half = [sized[position] for position in left[0][len(batch) // 2 :]]
            self._minibatch_tokens = max(1, padded_tokens(second_half, packed_up_to=packed_up_to) // times)
            rest = list(itertools.chain.from_iterable(left))
            plan = plan_minibatches(
                [sized[position] for position in rest],
                times * self._minibatch_tokens,
                packed_up_to=packed_up_to,
            )
            left = deque([rest[index] for index in part] for part in plan)

    def _read_minibatch(
        self,
        prompts: Sequence[Prompt],
        read: Callable[[Minibatch], Tensor],
        prefix: tuple[int, ...],
        *,
        searches: bool,
        trunk: Trunk | None,
    ) -> FloatArray | None:
        """Return what ``read`` makes of some prompts, (B, …), or ``None`` if they do not fit into memory together."""
        try:
            readout = self._backbone.readout
            batch = (
                collate_for_search(prompts, readout, prefix)
                if searches
                else collate(prompts, readout, trunk, prefix)
            )
            with torch.inference_mode():
                rows: FloatArray = read(batch).double().cpu().numpy()
        except (RuntimeError, MemoryError) as exc:
            if not is_out_of_memory(exc):
                raise
            if len(prompts) == 1:
                raise OutOfMemoryError(
                    f"item {prompts[0].item_id} does not fit into the memory of {self._backbone.device}. "
                    "Set another model.device; only a new campaign may lower model.max_tokens."
                ) from exc
            # The caller tries again, rather than this handler: the traceback keeps the activations alive
            # until it ends.
            return None
        wrong = (np.isnan(rows) | np.isposinf(rows)).reshape(len(rows), -1).any(axis=1)
        if wrong.any():
            raise NotFiniteError(
                f"the model answers NaN for item {prompts[int(wrong.argmax())].item_id}. Check the model's "
                "weights; a new campaign may try model.dtype: float32."
            )
        return rows


def _normalised(score: Score) -> Callable[[Minibatch], Tensor]:
    """Return ``score`` as log-probabilities in float64."""
    return lambda batch: score(batch).double().log_softmax(dim=-1)


class PassProgress:
    """Report progress in prompts over several passes: a prompt is done when all passes have read it."""

    def __init__(self, passes: int, advance: Advance) -> None:
        self._passes, self._advance, self._read = passes, advance, 0

    def add(self, n: int) -> None:
        """Count n prompts of one pass."""
        before = self._read // self._passes
        self._read += n
        self._advance(self._read // self._passes - before)
