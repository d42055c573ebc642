"""A language model that is asked yes or no for each label of a text (``kind: multi_label``).

The answers are the labels of a closed task, two for each label of the campaign: "billing: yes", "billing: no". All of
them follow the text, so that it is read once. Only pairs compete: the probability of a label is that of its yes
against its no (``Prompt.paired``), and what is trained is the mean of the labels' binary cross-entropies. A classifier
has two rows for each label in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from star_al.acquire.label_sets import base_predictions, set_predictions
from star_al.config.spec import CampaignSpec, ClassificationSpec
from star_al.config.spec.task.labels import LabelSpec
from star_al.models.adapter_trainer import AdapterTrainer
from star_al.models.classifier import Classifier
from star_al.models.learner import LoraLearner
from star_al.models.linear_probe import ProbeTexts, fit_probe
from star_al.models.prompt_template import WORDINGS
from star_al.models.prompts import Prompt, PromptFormat
from star_al.models.targets import Columns
from star_al.ports import Advance, Pool, Taught
from star_al.task import MultiLabel, closed, make_task
from star_al.types import BasePrediction, FloatArray, IntArray, Item, JsonValue, Predictions

ANSWERS = ("no", "yes")
"""In the order of a label's two columns."""

PSEUDO_TEXTS = 0.5
"""How much a text with a label, and one without, counts that is added to those of a classifier: a label that all
texts have, or none, stays possible to lack or to have."""


class PairedPrompts(PromptFormat):
    """Prompts whose labels are answers to questions of their own, two each."""

    paired = True

    def encode(self, item: Item) -> Prompt:
        """See ``PromptFormat.encode``."""
        return replace(super().encode(item), paired=True)

    @property
    def key(self) -> str:
        """See ``PromptFormat.key``."""
        return f"pairs/{super().key}"


class LabelSetTrainer(AdapterTrainer):
    """Trains adapters for the answers to all labels."""

    def fit_classifier(
        self, items: Sequence[Item], columns: Sequence[Columns], taught: Taught | None, seed: int
    ) -> Classifier:
        """Fit a classifier a label to the frozen model's states."""
        hidden_N_d = self._states(items)
        fitted = [
            fit_probe(ProbeTexts(hidden_N_d, _shares(has_N), np.ones(len(items)), len(items)), seed)
            for has_N in (np.array(columns) % 2).T
        ]
        return Classifier(
            torch.cat([each.weight_C_d for each in fitted]),
            torch.cat([each.bias_C for each in fitted]),
            self._reads_text,
        )


class LabelSetLearner(LoraLearner):
    """Implements ``star_al.ports.Learner`` for any number of labels; arguments as of ``LoraLearner``."""

    prompt_format = PairedPrompts

    def __init__(self, task: MultiLabel, spec: CampaignSpec, *args: Any, **kwargs: Any) -> None:
        output = "classifier" if spec.has_classifier else "label_names"
        adapter = spec.adapter.model_copy(update={"output": output})
        asked = spec.model_copy(update={"task": questions_of(task), "adapter": adapter})
        super().__init__(closed(make_task(asked.task)), asked, *args, **kwargs)
        self._sets, self._wanted = task, spec

    @cached_property
    def _trainer(self) -> LabelSetTrainer:
        n_labels = len(self._task.spec.label_names)
        return LabelSetTrainer(
            self.model, self._method, self._posteriors, self._frozen, n_labels, reads_text=self._reads_text
        )

    def _targets(self, examples: Sequence[tuple[Item, JsonValue]]) -> list[Columns]:
        """Return the columns of the right answers: one a label."""
        return [
            tuple(2 * place + int(has) for place, has in enumerate(row))
            for row in self._sets.matrix(examples)
        ]

    def base_predict(
        self, items: Sequence[Item], advance: Advance, pool: Pool | None = None
    ) -> list[BasePrediction]:
        """See ``Learner.base_predict``."""
        return base_predictions(self.predict(None, items, draws=None, seed=0, advance=advance))

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
        """See ``Learner.predict``; all labels are read whatever the tolerance."""
        found = super().predict(folder, items, draws=draws, seed=seed, advance=advance)
        pairs_N_K_P = found.log_probs_N_K_C
        names = self._sets.spec.label_names
        log_probs_N_K_L_2 = pairs_N_K_P.reshape(*pairs_N_K_P.shape[:2], len(names), 2)
        return set_predictions(found.item_ids, names, log_probs_N_K_L_2)

    @property
    def _asked_for(self) -> CampaignSpec:
        return self._wanted

    def _again(self, spec: CampaignSpec) -> Self:
        task = MultiLabel(self._sets.spec.model_copy(update={"chat_template": spec.task.chat_template}))
        return type(self)(task, spec, self.model.path, self._method, **self._given)


def questions_of(task: MultiLabel) -> ClassificationSpec:
    """Return the closed task of the answers to all labels; those of a label are neighbours, no before yes."""
    spec = task.spec
    wording = WORDINGS[spec.kind]
    listing = {"{labels}": task.listing}
    return ClassificationSpec(
        kind="classification",
        labels=tuple(
            LabelSpec(
                name=f"{label.name}: {answer}", verbaliser=f"{label.verbaliser or label.name}: {answer}"
            )
            for label in spec.labels
            for answer in ANSWERS
        ),
        instruction=_filled(spec.instruction or wording.instruction, listing),
        template=_filled(spec.template or wording.message, listing),
        template_columns=spec.template_columns,
        chat_template=spec.chat_template,
    )


def _filled(text: str, fills: dict[str, str]) -> str:
    for field, words in fills.items():
        text = text.replace(field, words)
    return text


def _shares(has_N: IntArray) -> FloatArray:
    """Return targets of a label's two rows, drawn a little towards each other."""
    n = len(has_N)
    yes_N = (has_N * n + PSEUDO_TEXTS) / (n + 2 * PSEUDO_TEXTS)
    return np.stack([1.0 - yes_N, yes_N], axis=1)
