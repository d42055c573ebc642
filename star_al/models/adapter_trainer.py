"""Train an adapter and its posterior on items that people, or another model, labelled."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np

from star_al import rng
from star_al.errors import ModelError, NotFiniteError
from star_al.models.adapter_record import save_record
from star_al.models.classifier import Classifier, blank_classifier, prompts_for
from star_al.models.fitted_posteriors import FORMAT, FittedPosteriors
from star_al.models.frozen_features import FrozenFeatures
from star_al.models.linear_probe import ProbeTexts, fit_probe
from star_al.models.out_of_memory import translate_out_of_memory
from star_al.models.parallel.launch import processes_for
from star_al.models.posterior import Method, Training
from star_al.models.posterior.ensemble import Ensemble
from star_al.models.prompted_model import PromptedModel
from star_al.models.prompts import Prompt
from star_al.models.targets import Columns, TaughtPrompts, some_answers
from star_al.models.trial import choose_prompts, try_out
from star_al.ports import Advance, FitMember, MemberFiles, Pool, Taught, ignore
from star_al.types import Float32Array, Item, JsonObject

MembersElsewhere: TypeAlias = Callable[[Classifier | None], Callable[[int], Iterator[MemberFiles]]]
"""Given a classifier, what trains so many members of an ensemble elsewhere."""

FEW_PROMPTS = 8
"""How many of the training prompts a fitted posterior must answer before it is kept."""


def fit_artefact(
    model: PromptedModel,
    method: Method,
    training: Training,
    folder: Path,
    classifier: Classifier | None = None,
) -> str:
    """Fit a posterior and write it with its record.

    Args:
        model: The language model.
        method: The posterior method.
        training: What it is fitted from.
        folder: An empty folder for the artefact.
        classifier: What is read in place of the labels' words, if there is one.

    Returns:
        The posterior's kind.

    Raises:
        ModelError: Training fails.
    """
    model.engine.rest()
    with (
        translate_out_of_memory(_out_of_memory(model)),
        model.backbone.readout.classifying(classifier),
        training.processes or nullcontext(),
    ):
        fitted = method.fit(training, folder)
    kind = model.spec.posterior.kind
    record: JsonObject = {
        "format": FORMAT,
        "kind": kind,
        "model_key": model.key,
        "dtype": model.backbone.dtype,
    }
    if classifier is not None:
        classifier.save(folder)
        record = {**record, "classifier": classifier.record}
    save_record(folder, {**fitted, **record})
    return kind


def _out_of_memory(model: PromptedModel) -> str:
    return (
        f"training ran out of memory on {model.backbone.device}. "
        "Lower adapter.batch_size, or set another model.device."
    )


def of_no_use(exc: NotFiniteError, learning_rate: float) -> ModelError:
    """Return the error for a trained model whose answer is NaN."""
    return ModelError(
        f"the trained model is of no use: {exc} Was adapter.learning_rate (now {learning_rate:g}) too high?"
    )


class AdapterTrainer:
    """Trains adapters for labels that all items have.

    Args:
        model: The language model.
        method: The posterior method of ``spec.posterior``.
        posteriors: Reads what was fitted.
        features: The frozen model's states, for a classifier.
        n_labels: Number of the labels.
        reads_text: Whether a classifier reads the text's mean state beside that of the prompt's end.
    """

    def __init__(
        self,
        model: PromptedModel,
        method: Method,
        posteriors: FittedPosteriors,
        features: FrozenFeatures,
        n_labels: int,
        *,
        reads_text: bool,
    ) -> None:
        self._model = model
        self._spec = model.spec
        self._method = method
        self._posteriors = posteriors
        self._features = features
        self._n_labels = n_labels
        self._reads_text = reads_text

    def try_out(self, prompts: Sequence[Prompt]) -> None:
        """Train one step on some of these prompts, and predict by it.

        Raises:
            ModelError: Something fails, a layer gets no gradient, or an answer is not finite.
        """
        backbone = self._model.backbone
        chosen = choose_prompts(prompts, self._spec.adapter.batch_size, backbone.device)
        classifier = None
        if self._spec.has_classifier:
            size = backbone.readout.head.weight.shape[1]
            classifier = blank_classifier(self._n_labels, size, reads_text=self._reads_text)
        if self._model.compares:
            chosen = [self._model.prompts.rewarded(each, [0.0] * len(each.labels)) for each in chosen]
        examples = [
            (prompt, some_answers(prompt, index))
            for index, prompt in enumerate(prompts_for(classifier, chosen))
        ]
        with backbone.readout.classifying(classifier):
            training = self._training(examples, seed=0, parent=None, advance=ignore)
            try_out(self._method, training, self._model.inference)

    def fit(
        self,
        items: Sequence[Item],
        columns: Sequence[Columns],
        *,
        pool: Pool | None,
        seed: int,
        folder: Path,
        parent: Path | None,
        advance: Advance,
        taught: Taught | None,
        members: MembersElsewhere | None = None,
    ) -> str:
        """Train on labelled items, as ``Learner.fit`` says.

        Args:
            items: The items that people labelled.
            columns: Their labels' columns.
            pool: The pool, of which a posterior may look at some texts.
            seed: Determines everything random.
            folder: An empty folder for the artefact.
            parent: The last artefact, for a warm start.
            advance: Called with 1 after each step.
            taught: Further items with another model's answers.
            members: What trains the members of an ensemble elsewhere, given the classifier.

        Returns:
            The posterior's kind.

        Raises:
            ModelError: Training fails, or what it gives is of no use.
        """
        model = self._model
        classifier = self.fit_classifier(items, columns, taught, seed) if self._spec.has_classifier else None
        training = self._training_on(items, columns, classifier, seed, parent, advance, taught)
        if members is not None and self._trains_the_same_elsewhere(training):
            training = replace(training, members=members(classifier))
        if pool is not None:
            labelled = {item.item_id for item in items}
            training = replace(
                training, unlabelled=partial(self._draw_prompts, classifier, pool, labelled, seed)
            )
        kind = fit_artefact(model, self._method, training, folder, classifier)
        self._require_answers(folder, [prompt for prompt, _ in training.examples[:FEW_PROMPTS]])
        return kind

    def fit_member(
        self,
        items: Sequence[Item],
        columns: Sequence[Columns],
        classifier: Classifier | None,
        folder: Path,
        job: FitMember,
        advance: Advance,
    ) -> None:
        """Train one member of an ensemble, see ``TrainsMembers.fit_member``; what reads the labels is given."""
        assert isinstance(self._method, Ensemble)
        training = self._training_on(items, columns, classifier, job.seed, job.folder, advance, job.taught)
        with (
            translate_out_of_memory(_out_of_memory(self._model)),
            self._model.backbone.readout.classifying(classifier),
        ):
            self._method.fit_member(training, job.member, folder)

    def _trains_the_same_elsewhere(self, training: Training) -> bool:
        """Return whether another process makes the same of a training, and takes no longer.

        Frozen blocks have their activations here, and what the base model makes of completions may be rounded by
        those that it read with them. Several processes already train together.
        """
        return training.trunk is None and training.processes is None and not self._model.compares

    def _training_on(
        self,
        items: Sequence[Item],
        columns: Sequence[Columns],
        classifier: Classifier | None,
        seed: int,
        parent: Path | None,
        advance: Advance,
        taught: Taught | None,
    ) -> Training:
        model = self._model
        prompts = prompts_for(classifier, model.encode_to_compare(items))
        training = self._training(
            list(zip(prompts, columns, strict=True)), seed=seed, parent=parent, advance=advance
        )
        if taught is None:
            return training
        taught_prompts = prompts_for(classifier, model.encode_to_compare(taught.items))
        lessons = TaughtPrompts(taught_prompts, taught.probs_M_C, taught.weight)
        return replace(training, taught=lessons)

    def _training(
        self, examples: Sequence[tuple[Prompt, Columns]], *, seed: int, parent: Path | None, advance: Advance
    ) -> Training:
        adapter = self._spec.adapter
        if self._spec.has_classifier:
            adapter = adapter.model_copy(update={"loss": "labels"})  # a classifier has no other
        return Training(
            backbone=self._model.backbone,
            examples=examples,
            adapter=adapter,
            base=self._spec.model.given_name,
            seed=seed,
            parent=parent,
            advance=advance,
            trunk=self._model.inference.trunk,
            processes=processes_for(self._model.backbone, adapter.training),
        )

    def fit_classifier(
        self, items: Sequence[Item], columns: Sequence[Columns], taught: Taught | None, seed: int
    ) -> Classifier:
        """Fit a classifier to the frozen model's states of what people answered, and of what is taught."""
        shares_N_C = np.eye(self._n_labels)[np.array(columns)]
        weights_N = np.ones(len(items))
        texts = list(items)
        if taught is not None:
            texts += taught.items
            shares_N_C = np.concatenate([shares_N_C, taught.probs_M_C])
            weights_N = np.concatenate([weights_N, np.full(len(taught.items), taught.weight)])
        found = ProbeTexts(
            self._states(texts), shares_N_C, weights_N, len(items), reads_text=self._reads_text
        )
        return fit_probe(found, seed)

    def _states(self, items: Sequence[Item]) -> Float32Array:
        """Return the frozen model's states that a classifier reads."""
        return (self._features.embed_texts if self._reads_text else self._features.embed)(items, ignore)

    def _draw_prompts(
        self, classifier: Classifier | None, pool: Pool, labelled: Collection[str], seed: int, n: int
    ) -> list[Prompt]:
        """Return the prompts of n random texts of a pool that are not labelled."""
        others = [item_id for item_id in pool.item_ids if item_id not in labelled]
        chosen = sorted(rng.draw(others, n, rng.derive_seed(seed, 0, "adapter/unlabelled")))
        return prompts_for(classifier, self._model.encode_to_compare(pool.load(chosen)))

    def _require_answers(self, folder: Path, prompts: Sequence[Prompt]) -> None:
        """Check that a fitted posterior answers what it was trained on.

        Raises:
            ModelError: Its answer is NaN, or it cannot be sampled.
        """
        inference, fitted = self._model.inference, self._posteriors.load(folder)
        with self._model.backbone.readout.classifying(fitted.classifier):
            try:
                inference.label_log_probs(prompts, fitted.posterior, [None], 0, ignore)
            except NotFiniteError as exc:
                raise of_no_use(exc, self._spec.adapter.learning_rate) from exc
            # A sample is farther from the base model than the mean, so it may overflow where the mean does not.
            inference.label_log_probs(prompts, fitted.posterior, [0], 0, ignore)
