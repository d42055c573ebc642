"""What the learners share that adapt a language model which reads a campaign's prompts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Self

from star_al.config.spec import CampaignSpec
from star_al.models.backbone import Backbone
from star_al.models.batch_choice import BatchChoice
from star_al.models.fitted_posteriors import FittedPosteriors
from star_al.models.posterior import Method
from star_al.models.prompted_model import PromptedModel
from star_al.models.prompts import PromptFormat


class PromptedLearner(ABC):
    """Says what its language model and its prompts are. Nothing is loaded before it is needed.

    Args:
        model: The language model with the campaign's prompts.
        spec: The campaign's settings.
        method: The posterior method of ``spec.posterior``.
        given: ``dtype`` and ``batches`` as ``model`` got them.

    Attributes:
        model: The language model with the campaign's prompts.
    """

    def __init__(
        self, model: PromptedModel, spec: CampaignSpec, method: Method, given: Mapping[str, Any]
    ) -> None:
        self.model = model
        self._spec = spec
        self._method = method
        self._given = given

    @property
    def truncated(self) -> int:
        """Number of distinct items so far whose text or options were cut to fit the model."""
        return self.model.truncated

    @property
    def backbone(self) -> Backbone:
        """The base model, see ``PromptedModel.backbone``."""
        return self.model.backbone

    @property
    def prompts(self) -> PromptFormat:
        """How items are shown to the model, see ``PromptedModel.prompts``."""
        return self.model.prompts

    @property
    def model_key(self) -> str:
        """See ``PromptedModel.key``."""
        return self.model.key

    @property
    def base_reads_pool(self) -> bool:
        """Return False: a language model reads each text by itself."""
        return False

    @cached_property
    def _posteriors(self) -> FittedPosteriors:
        return FittedPosteriors(self._method, self._spec.posterior.kind, self.model_key)

    def training_steps(self, n_examples: int, n_taught: int = 0) -> int:
        """See ``Learner.training_steps``."""
        return self._method.steps(n_examples, self._spec.adapter, n_taught)

    def scoring_batch(self) -> BatchChoice:
        """Return the size of scoring batches, and what was measured; loads the model."""
        return self.model.inference.batch

    def with_other_prompt(self) -> Self | None:
        """See ``Learner.with_other_prompt``; the weights are loaded once for both."""
        if not self.backbone.tokenizer.chat_template:
            return None
        asked = self._asked_for
        task = asked.task.model_copy(update={"chat_template": not asked.task.chat_template})
        model = asked.model.model_copy(update={"engine": "transformers"})  # vLLM is started once
        other = self._again(asked.model_copy(update={"task": task, "model": model}))
        other.model.backbone = self.backbone
        return other

    @property
    def _asked_for(self) -> CampaignSpec:
        """The settings of which a learner like this one is made."""
        return self._spec

    @abstractmethod
    def _again(self, spec: CampaignSpec) -> Self:
        """Return a learner like this one for other settings."""
