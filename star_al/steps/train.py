"""When the language model is trained in a campaign whose pool the head ranks (``learner.train``).

The head has ranked the pool by then, and the round's questions are with the people who answer them. So nobody waits
for the training.
"""

from __future__ import annotations

from star_al.config.spec import LoraLearnerSpec
from star_al.parts import RoundParts
from star_al.types import RoundState


def is_training_due(parts: RoundParts) -> bool:
    """True if the language model must still be trained in this round."""
    round_ = parts.round
    if parts.spec.ranking_model != "head" or not round_.labels or round_.adapter_sha256 is not None:
        return False
    if round_.state is RoundState.STOPPED:
        return True
    return round_.state is RoundState.PUSHED and _is_its_turn(parts)


def is_measuring_due(parts: RoundParts) -> bool:
    """True if the language model was trained after the head had ranked the pool, and is not measured yet."""
    round_ = parts.round
    is_beside = parts.spec.ranking_model == "head" and round_.adapter_sha256 is not None
    return is_beside and round_.evaluation is not None and round_.evaluation.adapted_temperature is None


def _is_its_turn(parts: RoundParts) -> bool:
    """True if each round trains it, or if the round is the first with a number of labels that ``train`` names."""
    learner = parts.spec.learner
    if not isinstance(learner, LoraLearnerSpec) or learner.train == "at_end":
        return False
    if learner.train == "each_round":
        return True
    earlier = parts.store.rounds(parts.campaign.campaign_id)[: parts.round.index]
    most = max((one.labels for one in earlier if one.adapter_sha256 is not None), default=0)
    return any(most < n <= parts.round.labels for n in learner.train)
