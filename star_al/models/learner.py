"""The learner: a frozen language model, a LoRA adapter each round, and samples of its posterior."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from itertools import chain, pairwise
from pathlib import Path
from typing import ClassVar, Self

from star_al.config.spec import CampaignSpec
from star_al.models.adapter_trainer import AdapterTrainer
from star_al.models.base_embeddings import KEPT
from star_al.models.classifier import TEXT_AND_END, Classifier, for_classifier, prompts_for
from star_al.models.encoded import Encoded
from star_al.models.frozen_features import FrozenFeatures
from star_al.models.label_search import bare
from star_al.models.model_check import check_model
from star_al.models.model_export import export_model
from star_al.models.posterior import Method
from star_al.models.prompted_learner import PromptedLearner
from star_al.models.prompted_model import PromptedModel, discard
from star_al.models.prompts import Prompt, PromptFormat
from star_al.models.targets import Columns
from star_al.ports import Advance, FitMember, MemberFiles, Pool, Taught, ids_of, ignore
from star_al.task import ClosedTask, closed, make_task
from star_al.types import (
    BasePrediction,
    Float32Array,
    FloatArray,
    Item,
    JsonObject,
    JsonValue,
    Predictions,
)


class LoraLearner(PromptedLearner):
    """Implements ``star_al.ports.Learner`` for closed labels. Nothing is loaded before it is needed.

    Args:
        task: The task.
        spec: The campaign's settings.
        model_path: A folder or hub name, already resolved against the campaign file.
        method: The posterior method of ``spec.posterior``.
        dtype: As ``PromptedModel`` has it, and so are ``batches`` and ``cache``.
        batches: Scoring batches of earlier rounds.
        cache: Folder for activations.
        features: Folder for embeddings by the base model; ``None`` to keep none.
        packs_base_embeddings: True in a campaign that began when the base model embedded texts each time, in
            minibatches of several lengths.
        classifier_reads_text: False in a campaign that began when a classifier read the state of the prompt's end
            alone.
        say: Called with messages for the user.

    Attributes:
        prompt_format: How items are shown to the model.
        model: The language model with the campaign's prompts.
        elsewhere: Trains members of an ensemble in other processes; None to train them in this one.
    """

    prompt_format: ClassVar[type[PromptFormat]] = PromptFormat
    elsewhere: Callable[[Iterable[FitMember], Advance], Iterator[MemberFiles]] | None = None

    def __init__(
        self,
        task: ClosedTask,
        spec: CampaignSpec,
        model_path: str,
        method: Method,
        *,
        dtype: str | None = None,
        batches: Mapping[str, int] | None = None,
        cache: Path | None = None,
        features: Path | None = None,
        packs_base_embeddings: bool = False,
        classifier_reads_text: bool = True,
        say: Callable[[str], None] = discard,
    ) -> None:
        model = PromptedModel(
            spec,
            model_path,
            dtype=dtype,
            batches=batches,
            cache=cache,
            prompt_format=self.prompt_format,
            features=features,
            say=say,
        )
        super().__init__(model, spec, method, {"dtype": dtype, "batches": batches})
        self._task = task
        self._packs_base_embeddings = packs_base_embeddings
        self._reads_text = classifier_reads_text
        self._frozen = FrozenFeatures(self.model, task, features)
        self._checked = False

    @cached_property
    def base_key(self) -> str:
        """Hash of everything that base predictions depend on: ``model_key``, dtype, and whether there is a prior."""
        parts = [self.model_key, self.backbone.dtype, self._task.spec.contextual_calibration]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    @cached_property
    def _trainer(self) -> AdapterTrainer:
        n_labels = len(self._task.spec.label_names)
        return AdapterTrainer(
            self.model, self._method, self._posteriors, self._frozen, n_labels, reads_text=self._reads_text
        )

    def check(self, items: Sequence[Item] = ()) -> None:
        """See ``Learner.check``."""
        if self._checked:
            return
        _ = self.base_key  # files, prompt and labels: this takes seconds, so it comes before the weights
        prompts = [self.prompts.encode(item) for item in items] or [self._content_free_prompt()]
        check_model(self.model, prompts)
        self._trainer.try_out(prompts)
        self._checked = True

    def _content_free_prompt(self) -> Prompt:
        blank = Item(item_id="content-free", text="", options=self._task.sample_options)
        return self.prompts.encode_content_free(blank)

    def versions(self) -> JsonObject:
        """See ``Learner.versions`` and ``PromptedModel.versions``."""
        kept: JsonObject = {} if self._packs_base_embeddings else {"base_embeddings": KEPT}
        reads: JsonObject = (
            {"classifier": TEXT_AND_END} if self._reads_text and self._spec.has_classifier else {}
        )
        return {**self.model.versions(), **kept, **reads}

    def _again(self, spec: CampaignSpec) -> Self:
        task = closed(make_task(spec.task))
        return type(self)(task, spec, self.model.path, self._method, **self._given)

    # -- base model ----------------------------------------------------------------------------------------

    def base_predict(
        self, items: Sequence[Item], advance: Advance, pool: Pool | None = None
    ) -> list[BasePrediction]:
        """See ``Learner.base_predict``."""
        log_probs = self._base_log_probs(items, advance)
        priors = self._priors(items) if self._task.spec.contextual_calibration else [None] * len(items)
        counts = [len(self._task.choices(item)) for item in items]
        return [
            BasePrediction(item.item_id, row[:count].copy(), prior)
            for item, row, count, prior in zip(items, log_probs, counts, priors, strict=True)
        ]

    def _base_log_probs(self, items: Sequence[Item], advance: Advance) -> FloatArray:
        """Return the base model's log-probabilities (N, C)."""
        if self.model.compares:
            return self.model.base_preferences(items, advance)
        return self._predict_by_base(self.model.encode(items), advance)

    def _priors(self, items: Sequence[Item]) -> list[FloatArray | None]:
        """Return predictions for a content-free text: one for all items, or one for each if they have options."""
        if not self._task.has_options:
            return [self._class_prior] * len(items)
        blank = [self.prompts.encode_content_free(item) for item in items]
        log_probs = self._predict_by_base(blank)
        return [row[: len(prompt.labels)].copy() for row, prompt in zip(log_probs, blank, strict=True)]

    @cached_property
    def _class_prior(self) -> FloatArray:
        blank = self.prompts.encode_content_free(Item(item_id="content-free", text=""))
        prior: FloatArray = self._predict_by_base([blank])[0]
        return prior

    def _predict_by_base(self, prompts: Sequence[Prompt], advance: Advance | None = None) -> FloatArray:
        """Return log-probabilities (N, C)."""
        scored = self.model.engine.label_log_probs(prompts, None, [None], 0, advance or ignore)
        log_probs_N_C: FloatArray = scored.log_probs_N_K_C[:, 0]
        return log_probs_N_C

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
        """See ``Learner.fit``."""
        examples = [
            (item, value)
            for item, value in examples
            if not self._task.has_no_column(value) or self._task.shared_columns(item, value)
        ]
        return self._trainer.fit(
            [item for item, _ in examples],
            self._targets(examples),
            pool=pool,
            seed=seed,
            folder=folder,
            parent=parent,
            advance=advance,
            taught=taught,
            members=None
            if self.elsewhere is None
            else partial(self._members_elsewhere, examples, seed, parent, taught, advance),
        )

    def _members_elsewhere(
        self,
        examples: Sequence[tuple[Item, JsonValue]],
        seed: int,
        parent: Path | None,
        taught: Taught | None,
        advance: Advance,
        classifier: Classifier | None,
    ) -> Callable[[int], Iterator[MemberFiles]]:
        """Return what trains so many members of an ensemble elsewhere."""

        def train(members: int) -> Iterator[MemberFiles]:
            assert self.elsewhere is not None
            steps = self.training_steps(len(examples), 0 if taught is None else len(taught)) // members
            plain = None if classifier is None else classifier.plain
            jobs = (
                FitMember(member, examples, seed, parent, steps, taught, plain) for member in range(members)
            )
            return self.elsewhere(jobs, advance)

        return train

    def fit_member(self, job: FitMember, folder: Path, advance: Advance) -> None:
        """See ``TrainsMembers.fit_member``."""
        classifier = None if job.classifier is None else Classifier.of_plain(*job.classifier)
        items, columns = [item for item, _ in job.examples], self._targets(job.examples)
        self._trainer.fit_member(items, columns, classifier, folder, job, advance)

    def _targets(self, examples: Sequence[tuple[Item, JsonValue]]) -> list[Columns]:
        """Return the columns of the right labels; several share a tie."""
        return [
            self._task.shared_columns(item, value)
            if self._task.has_no_column(value)
            else self._task.column(item, value)
            for item, value in examples
        ]

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
        """See ``Learner.predict``."""
        if folder is None and self.model.compares:
            log_probs_N_C = self._base_log_probs(items, advance)
            return Predictions(ids_of(items), log_probs_N_C[:, None], (self._task.columns(items),))
        engine, fitted = self.model.engine, self._posteriors.load(folder)
        samples = [None] if fitted.posterior is None or draws is None else list(draws)
        with self.backbone.readout.classifying(fitted.classifier):
            prompts = prompts_for(fitted.classifier, self.model.encode_to_compare(items))
            found = engine.label_log_probs(prompts, fitted.posterior, samples, seed, advance, tolerance)
        return Predictions(found.item_ids, found.log_probs_N_K_C, (self._task.columns(items),))

    def divide(self, items: Sequence[Item], n: int, *, adapted: bool) -> list[list[int]]:
        """Divide items so that other processes may read the parts, each as it is read among all, to the last bit.

        Args:
            items: The items.
            n: Parts, at most.
            adapted: True if an adapter reads them.

        Returns:
            The positions of each part; a single part where the items cannot be divided.
        """
        has_priors = self._task.spec.contextual_calibration and self._task.has_options
        plan = None
        if not self.model.compares and not has_priors:
            prompts = self.model.encode(items)
            if adapted and self._spec.has_classifier:
                prompts = for_classifier(prompts)
            plan = self.model.inference.plan(prompts)
        if not plan:
            return [list(range(len(items)))]
        bounds = [len(plan) * part // n for part in range(n + 1)]
        parts = (list(chain.from_iterable(plan[first:end])) for first, end in pairwise(bounds))
        return [part for part in parts if part]

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
        """See ``Learner.export``."""
        fitted = self._posteriors.load(folder)
        return export_model(
            self.model, fitted, folder, out, draws=draws, seed=seed, merged=merged, examples=examples
        )

    def embed(self, folder: Path | None, items: Sequence[Item], advance: Advance) -> Float32Array:
        """See ``Learner.embed``; the hidden state is the one after the final norm."""
        if folder is None and not self._packs_base_embeddings:
            return self._frozen.embed(items, advance)
        fitted = self._posteriors.load(folder)
        prompts = prompts_for(fitted.classifier, self.model.encode(items))
        if self.model.compares:  # the prompts alone are read
            prompts = list(map(bare, prompts))
        return self.model.inference.embeddings(prompts, fitted.posterior, advance)

    @property
    def states_key(self) -> str:
        """See ``FrozenFeatures.states_key``."""
        return self._frozen.states_key

    def states(self, items: Sequence[Item], advance: Advance) -> Encoded:
        """See ``FrozenFeatures.states``."""
        return self._frozen.states(items, advance)
