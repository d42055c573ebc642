"""The learner of answers in free words: a language model that writes them, and samples of its posterior."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np

from star_al.acquire.measures import GREEDY_MEASURES
from star_al.common.wording import count
from star_al.config.spec import CampaignSpec
from star_al.models.base_embeddings import KEPT
from star_al.models.drawn_answers import (
    Draws,
    Greedy,
    drawn_predictions,
    greedy_predictions,
    read_greedy,
    share_by_classes,
)
from star_al.models.engines import Writing
from star_al.models.frozen_features import FrozenFeatures
from star_al.models.inference import PassProgress
from star_al.models.model_check import check_model
from star_al.models.model_export import export_model
from star_al.models.posterior import Method, Posterior
from star_al.models.prompted_learner import PromptedLearner
from star_al.models.prompted_model import PromptedModel, discard
from star_al.models.prompts import Prompt
from star_al.models.text_trainer import TextTrainer
from star_al.models.writing.ending import Ending
from star_al.models.writing.information import token_information
from star_al.ports import Advance, Pool, Taught
from star_al.task import Text
from star_al.types import BasePrediction, Float32Array, FloatArray, Item, JsonObject, JsonValue, Predictions

TOKEN_MEASURES = frozenset({"token_bald", "bald"})
"""Measures that compare samples token by token."""

_STATES_BYTES = 2**27
"""What the hidden states along answers may take while samples are compared."""


class TextLearner(PromptedLearner):
    """Implements ``star_al.ports.Learner`` for answers that the model writes. Nothing is loaded before it is needed.

    Args:
        task: The task.
        spec: The campaign's settings.
        model_path: A folder or hub name, already resolved against the campaign file.
        method: The posterior method of ``spec.posterior``.
        dtype: As ``PromptedModel`` has it, and so are ``batches`` and ``cache``.
        batches: Scoring batches of earlier rounds.
        cache: Folder for activations.
        features: Folder for embeddings by the base model; ``None`` to keep none.
        say: Called with messages for the user.

    Attributes:
        model: The language model with the campaign's prompts.
    """

    def __init__(
        self,
        task: Text,
        spec: CampaignSpec,
        model_path: str,
        method: Method,
        *,
        dtype: str | None = None,
        batches: Mapping[str, int] | None = None,
        cache: Path | None = None,
        features: Path | None = None,
        say: Callable[[str], None] = discard,
    ) -> None:
        model = PromptedModel(spec, model_path, dtype=dtype, batches=batches, cache=cache, say=say)
        super().__init__(model, spec, method, {"dtype": dtype, "batches": batches})
        self._task = task
        self._frozen = FrozenFeatures(self.model, task, features)
        self._checked = False

    @cached_property
    def base_key(self) -> str:
        """Hash of everything that base predictions depend on: ``model_key``, dtype, and how answers are read."""
        answer = self._spec.task.model_dump(mode="json", exclude={"draws"})
        parts = [self.model_key, self.backbone.dtype, answer]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    @cached_property
    def _trainer(self) -> TextTrainer:
        return TextTrainer(self.model, self._method, self._posteriors)

    @cached_property
    def _ending(self) -> Ending:
        return self.prompts.ending(self.backbone.model)

    @cached_property
    def _writing(self) -> Writing:
        spec = self._task.spec
        return Writing(self._ending, spec.longest_answer, spec.draws)

    def check(self, items: Sequence[Item] = ()) -> None:
        """See ``Learner.check``."""
        if self._checked:
            return
        _ = self.base_key  # files and prompt: this takes seconds, so it comes before the weights
        longest = self._spec.task.longest_answer
        sample = (self.prompts.written("A sample answer.") * longest)[:longest]
        shown = [self.prompts.encode(item) for item in items] or [self.prompts.encode(Item("", "N/A"))]
        prompts = [replace(prompt, labels=(sample,)) for prompt in shown]
        check_model(self.model, prompts)
        self._trainer.try_out(prompts)
        self._checked = True

    def versions(self) -> JsonObject:
        """See ``Learner.versions`` and ``PromptedModel.versions``."""
        return {**self.model.versions(), "base_embeddings": KEPT}

    def _again(self, spec: CampaignSpec) -> Self:
        task = Text(self._task.spec.model_copy(update={"chat_template": spec.task.chat_template}))
        return type(self)(task, spec, self.model.path, self._method, **self._given)

    # -- base model ----------------------------------------------------------------------------------------

    def base_predict(
        self, items: Sequence[Item], advance: Advance, pool: Pool | None = None
    ) -> list[BasePrediction]:
        """See ``Learner.base_predict``: the model's own likeliest answer, and the entropy along it."""
        greedy = self._greedy(items, self.model.encode(items), None, 0, advance)
        return [
            BasePrediction(
                item.item_id,
                one.log_probs_C,
                answers=(one.value, None),
                uncertainty=one.signals()["token_entropy"],
            )
            for item, one in zip(items, greedy, strict=True)
        ]

    # -- adapters ------------------------------------------------------------------------------------------

    def fit(
        self,
        examples: Sequence[tuple[Item, JsonValue]],
        *,
        pool: Pool | None = None,
        seed: int,
        folder: Path,
        parent: Path | None,
        advance: Advance,
        taught: Taught | None = None,
    ) -> str:
        """See ``Learner.fit``; nothing is taught."""
        prompts = self.model.encode([item for item, _ in examples])
        labels = [self.prompts.written(self._task.spell(item, value)) for item, value in examples]
        longest, end = self._spec.task.longest_answer, self._ending.taught
        cut = sum(len(label) == longest and label[-len(end) :] != end for label in labels)
        if cut:
            self.model.say(
                f"{count(cut, 'label')} of more than task.max_answer_tokens ({longest}): the model learns to write "
                "only the beginning"
            )
        answered = [replace(prompt, labels=(label,)) for prompt, label in zip(prompts, labels, strict=True)]
        return self._trainer.fit(answered, seed=seed, folder=folder, parent=parent, advance=advance)

    def predict(
        self,
        folder: Path | None,
        items: Sequence[Item],
        *,
        draws: range | None,
        seed: int,
        advance: Advance,
        tolerance: float = 0.0,
    ) -> Predictions:
        """See ``Learner.predict``; without samples, a measure of the likeliest answer needs that alone."""
        posterior = self._posteriors.load(folder).posterior
        samples = [None] if posterior is None or draws is None else list(draws)
        measure, prompts = self._spec.acquisition.measure, self.model.encode(items)
        if not samples or (samples == [None] and measure in GREEDY_MEASURES):
            return greedy_predictions(
                self._task, items, self._greedy(items, prompts, posterior, seed, advance)
            )
        compares = len(samples) > 1 and measure in TOKEN_MEASURES
        progress = PassProgress(1 + 2 * len(samples) + compares, advance)
        greedy = self._greedy(items, prompts, posterior, seed, progress.add)
        drawn = self._draw(prompts, posterior, samples, seed, progress.add)
        log_likelihoods = self._score(prompts, drawn, posterior, samples, seed, progress.add)
        information = None
        if compares:
            information = self._information(prompts, greedy, posterior, samples, seed)
            progress.add(len(items))
        found = drawn_predictions(
            self._task, self._ending, items, greedy, drawn, log_likelihoods, information
        )
        if measure == "bald" and compares and items:
            share = share_by_classes(found, self._task.spec.draws)
            self.model.say(
                f"bald compares classes of answers for {share:.0%} of {count(len(items), 'text')}, and tokens for the "
                "others, whose answers are too long to be drawn twice"
            )
        return found

    def export(
        self,
        folder: Path,
        out: Path,
        *,
        draws: range | None,
        seed: int,
        merged: bool,
        examples: Sequence[Item],
    ) -> JsonObject:
        """See ``Learner.export``; the posterior's mean or mode alone, which writes its likeliest answer.

        How sure it is of that answer can be told if predictions are by likeliest answers too, without a draw.
        """
        fitted, ending = self._posteriors.load(folder), self._ending
        record = export_model(
            self.model, fitted, folder, out, draws=None, seed=seed, merged=merged, examples=examples
        )
        writes: JsonObject = {
            "longest": self._spec.task.longest_answer,
            "ends": sorted(ending.tokens),
            "end": ending.text,
            "sure": draws is None and self._spec.acquisition.measure in GREEDY_MEASURES,
        }
        return {**record, "writes": writes}

    def embed(self, folder: Path | None, items: Sequence[Item], advance: Advance) -> Float32Array:
        """See ``Learner.embed``; the hidden state is the one after the final norm."""
        if folder is None:
            return self._frozen.embed(items, advance)
        end = self._ending.taught[-1:]  # behind a label of one token nothing is read
        prompts = [replace(prompt, labels=(end,)) for prompt in self.model.encode(items)]
        return self.model.inference.embeddings(prompts, self._posteriors.load(folder).posterior, advance)

    # -- answers -------------------------------------------------------------------------------------------

    def _greedy(
        self,
        items: Sequence[Item],
        prompts: Sequence[Prompt],
        posterior: Posterior | None,
        seed: int,
        advance: Advance,
    ) -> list[Greedy]:
        """Return the likeliest answers by the posterior's mean or mode."""
        written = self.model.local.write(prompts, posterior, None, seed, self._writing, None, advance)
        return read_greedy(self._task, self._ending, items, [one for (one,) in written])

    def _draw(
        self,
        prompts: Sequence[Prompt],
        posterior: Posterior | None,
        samples: Sequence[int | None],
        seed: int,
        advance: Advance,
    ) -> list[Draws]:
        """Return what each sample draws."""
        by_sample = [
            self.model.engine.draw_answers(prompts, posterior, sample, seed, self._writing, advance)
            for sample in samples
        ]
        return [Draws.of(drawn_K) for drawn_K in zip(*by_sample, strict=True)]

    def _score(
        self,
        prompts: Sequence[Prompt],
        drawn: Sequence[Draws],
        posterior: Posterior | None,
        samples: Sequence[int | None],
        seed: int,
        advance: Advance,
    ) -> list[FloatArray]:
        """Return the log-likelihoods of each item's answers by each sample, (K, A) an item."""
        if not prompts:
            return []
        given = [replace(prompt, labels=own.tokens) for prompt, own in zip(prompts, drawn, strict=True)]
        found_N_K_A = self.model.engine.answer_log_likelihoods(
            given, posterior, samples, seed, lambda n: advance(n * len(samples))
        )
        return [rows[:, : len(own.tokens)] for rows, own in zip(found_N_K_A, drawn, strict=True)]

    def _information(
        self,
        prompts: Sequence[Prompt],
        greedy: Sequence[Greedy],
        posterior: Posterior | None,
        samples: Sequence[int | None],
        seed: int,
    ) -> FloatArray:
        """Return the mean mutual information of token and sample along the likeliest answers, (N,)."""
        inference, head = self.model.inference, self.backbone.readout.head.weight
        answered = [
            replace(prompt, labels=(tuple(one.written.tokens),))
            for prompt, one in zip(prompts, greedy, strict=True)
        ]
        bytes_of_one = 4 * len(samples) * self._spec.task.longest_answer * head.shape[1]
        size = max(1, _STATES_BYTES // bytes_of_one)
        found: list[float] = []
        for start in range(0, len(answered), size):
            part = answered[start : start + size]
            states = [
                np.concatenate(inference.answer_states(part, posterior, sample, seed)) for sample in samples
            ]
            information_P = token_information(self.backbone.readout, states)
            lengths = [len(prompt.labels[0]) for prompt in part]
            parts = np.split(information_P, np.cumsum(lengths)[:-1])
            found += [float(along.mean()) for along in parts]
        return np.array(found, dtype=np.float64)
