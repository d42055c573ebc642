"""Train an adapter and its posterior to write the answers that people gave."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from star_al.errors import NotFiniteError
from star_al.models.adapter_trainer import FEW_PROMPTS, fit_artefact, of_no_use
from star_al.models.fitted_posteriors import FittedPosteriors
from star_al.models.parallel.launch import processes_for
from star_al.models.posterior import Method, Training
from star_al.models.prompted_model import PromptedModel
from star_al.models.prompts import Prompt
from star_al.models.trial import choose_prompts, try_out
from star_al.ports import Advance, ignore


class TextTrainer:
    """Trains adapters on prompts with one label each, the answer with its end.

    The loss is the mean of −log p over the tokens of a minibatch's answers. A posterior's likelihood is their sum.

    Args:
        model: The language model.
        method: The posterior method of ``spec.posterior``.
        posteriors: Reads what was fitted.
    """

    def __init__(self, model: PromptedModel, method: Method, posteriors: FittedPosteriors) -> None:
        self._model = model
        self._method = method
        self._posteriors = posteriors

    def try_out(self, prompts: Sequence[Prompt]) -> None:
        """Train one step on some of these prompts, and score them by it.

        Raises:
            ModelError: Something fails, a layer gets no gradient, or an answer is not finite.
        """
        backbone, spec = self._model.backbone, self._model.spec
        chosen = choose_prompts(prompts, spec.adapter.batch_size, backbone.device)
        try_out(self._method, self._training(chosen, 0, None, ignore), self._model.inference)

    def fit(
        self, prompts: Sequence[Prompt], *, seed: int, folder: Path, parent: Path | None, advance: Advance
    ) -> str:
        """Train on answered prompts, as ``Learner.fit`` says.

        Returns:
            The posterior's kind.

        Raises:
            ModelError: Training fails, or what it gives is of no use.
        """
        kind = fit_artefact(self._model, self._method, self._training(prompts, seed, parent, advance), folder)
        self._require_answers(folder, prompts[:FEW_PROMPTS])
        return kind

    def _training(
        self, prompts: Sequence[Prompt], seed: int, parent: Path | None, advance: Advance
    ) -> Training:
        spec, inference = self._model.spec, self._model.inference
        return Training(
            backbone=self._model.backbone,
            examples=[(prompt, 0) for prompt in prompts],
            adapter=spec.adapter.model_copy(update={"loss": "answer"}),
            base=spec.model.given_name,
            seed=seed,
            parent=parent,
            advance=advance,
            trunk=inference.trunk,
            processes=processes_for(self._model.backbone, spec.adapter.training),
            writes=True,
        )

    def _require_answers(self, folder: Path, prompts: Sequence[Prompt]) -> None:
        """Check that a fitted posterior can score what it was trained on.

        Raises:
            ModelError: Its answer is NaN, or it cannot be sampled.
        """
        posterior = self._posteriors.load(folder).posterior
        try:
            # A sample is farther from the base model than the mean, so it may overflow where the mean does not.
            self._model.inference.answer_log_likelihoods(prompts, posterior, [None, 0], 0, ignore)
        except NotFiniteError as exc:
            raise of_no_use(exc, self._model.spec.adapter.learning_rate) from exc
