"""The engine that reads with the model in this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from star_al.models.backbone import Backbone
from star_al.models.engines import Writing
from star_al.models.inference import Inference
from star_al.models.posterior import Posterior, scores_nothing
from star_al.models.prompts import Prompt
from star_al.models.quiet import quiet
from star_al.models.writing.tokens import Uniform, keyed_uniforms
from star_al.models.writing.writer import Writer, Written
from star_al.ports import Advance
from star_al.types import Categorical, FloatArray


class TransformersEngine:
    """Implements ``Engine``.

    Args:
        backbone: The base model.
        open_inference: Returns what reads with it; called when it is first needed.
        prefix: Returns tokens that begin all prompts.
    """

    def __init__(
        self,
        backbone: Backbone,
        open_inference: Callable[[], Inference],
        prefix: Callable[[], tuple[int, ...]],
    ) -> None:
        self._backbone, self._inference, self._prefix = backbone, open_inference, prefix
        self._writer: tuple[Writing, Writer] | None = None

    def label_log_probs(
        self,
        prompts: Sequence[Prompt],
        posterior: Posterior | None,
        draws: Sequence[int | None],
        seed: int,
        advance: Advance,
        tolerance: float = 0.0,
    ) -> Categorical:
        """See ``Engine.label_log_probs``."""
        return self._inference().label_log_probs(prompts, posterior, draws, seed, advance, tolerance)

    def answer_log_likelihoods(
        self,
        prompts: Sequence[Prompt],
        posterior: Posterior | None,
        draws: Sequence[int | None],
        seed: int,
        advance: Advance,
    ) -> FloatArray:
        """See ``Engine.answer_log_likelihoods``."""
        return self._inference().answer_log_likelihoods(prompts, posterior, draws, seed, advance)

    def draw_answers(
        self,
        prompts: Sequence[Prompt],
        posterior: Posterior | None,
        sample: int | None,
        seed: int,
        writing: Writing,
        advance: Advance,
    ) -> list[list[Written]]:
        """See ``Engine.draw_answers``; the random numbers of a draw do not depend on its batch."""
        return self.write(prompts, posterior, sample, seed, writing, keyed_uniforms(seed, sample), advance)

    def write(
        self,
        prompts: Sequence[Prompt],
        posterior: Posterior | None,
        sample: int | None,
        seed: int,
        writing: Writing,
        uniform: Uniform | None,
        advance: Advance,
    ) -> list[list[Written]]:
        """Write answers by one sample: one by its likeliest tokens, or several by random numbers."""
        if not prompts:
            return []
        inference, writer = self._inference(), self._writer_for(writing)
        draws = 1 if uniform is None else writing.draws
        with quiet():
            writer.prepare(prompts)
            with inference.sampled(posterior, scores_nothing, seed, sample):
                return writer.write(prompts, uniform, advance, draws=draws, with_entropy=uniform is None)

    def _writer_for(self, writing: Writing) -> Writer:
        """Return the last writer if it writes so: it knows which batches do not fit into memory."""
        if self._writer is None or self._writer[0] is not writing:
            self._writer = (
                writing,
                Writer(self._backbone, writing.ending, writing.longest, self._prefix()),
            )
        return self._writer[1]

    def rest(self) -> None:
        """See ``Engine.rest``; what trains is the same model."""
