"""When and how the language model is trained in a campaign whose pool the head ranks (``learner.train``).

The head has ranked the pool by then, and the round's questions are with the people who answer them. So nobody waits
for the training.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from star_al.config.spec import CampaignSpec, LoraLearnerSpec
from star_al.config.spec.task import LabelSpec
from star_al.parts import Parts, round_spec
from star_al.steps.evaluate import measure_beside
from star_al.steps.fit import train_artefact
from star_al.types import Round, RoundState, TrainingResult


def due_rounds(rounds: Sequence[Round], labels: Sequence[LabelSpec]) -> list[Round]:
    """The rounds whose language model must still be trained or measured.

    It does not matter which of them have been trained by now: the same rounds are trained in the end.

    Args:
        rounds: All rounds of the campaign, in order.
        labels: The task's labels. A round that had other labels is left out; a later one is trained on the new ones.
    """
    due: list[Round] = []
    most = 0  # labels of a round that has been trained, or will be
    for round_ in rounds:
        spec = round_spec(round_)
        is_current = spec.ranking_model == "head" and tuple(spec.task.labels) == tuple(labels)
        lacks_adapter = is_current and _is_to_be_trained(round_, spec, most)
        if lacks_adapter or (is_current and _is_to_be_measured(round_)):
            due.append(round_)
        if lacks_adapter or round_.adapter_sha256 is not None:
            most = max(most, round_.labels)
    return due


def train_and_measure(parts: Parts, round_: Round) -> Iterator[TrainingResult]:
    """Train the language model on a round's snapshot of labels, unless it has been, and then measure it.

    Args:
        parts: The campaign.
        round_: The round, with the settings to train with.

    Raises:
        ModelError: The loss is not finite, or the model cannot be loaded.
    """
    if round_.adapter_sha256 is None:
        start = time.monotonic()
        training = parts.store.training_labels(parts.campaign.campaign_id, round_.index)
        adapter = train_artefact(parts.for_round(round_), parts.learner, training)
        tokens = parts.learner.versions().get("batch_tokens")
        yield TrainingResult(
            adapter, time.monotonic() - start, batch_tokens=tokens if isinstance(tokens, int) else None
        )
        assert round_.fit is not None
        round_ = replace(round_, fit=replace(round_.fit, adapter_sha256=adapter.sha256))
    start = time.monotonic()
    found = measure_beside(parts.for_round(round_))
    yield TrainingResult(found, time.monotonic() - start)


def _is_to_be_trained(round_: Round, spec: CampaignSpec, most: int) -> bool:
    if round_.adapter_sha256 is not None or round_.labels == 0:
        return False
    if round_.state is RoundState.STOPPED:
        return True
    return round_.state in (RoundState.PUSHED, RoundState.COLLECTED) and _is_its_turn(round_, spec, most)


def _is_to_be_measured(round_: Round) -> bool:
    evaluation = round_.evaluation
    is_trained = round_.adapter_sha256 is not None and evaluation is not None
    return is_trained and evaluation is not None and evaluation.adapted_temperature is None


def _is_its_turn(round_: Round, spec: CampaignSpec, most: int) -> bool:
    """True if each round trains it, or if the round is the first with a number of labels that ``train`` names."""
    learner = spec.learner
    if not isinstance(learner, LoraLearnerSpec) or learner.train == "at_end":
        return False
    if learner.train == "each_round":
        return True
    return any(most < n <= round_.labels for n in learner.train)
