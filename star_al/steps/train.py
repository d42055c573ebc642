"""When the language model is trained in a campaign whose pool the head ranks (``learner.train``).

The head has ranked the pool by then, and the round's questions are with the people who answer them. So nobody waits
for the training.
"""

from __future__ import annotations

from star_al.config.spec import LoraLearnerSpec
from star_al.parts import RoundParts, round_spec
from star_al.types import Round, RoundState


def is_training_due(parts: RoundParts) -> bool:
    """True if the language model must still be trained in this round."""
    if not _lacks_adapter(parts.round):
        return False
    return lacks_final_model(parts.round) or (parts.round.state is RoundState.PUSHED and _is_its_turn(parts))


def lacks_final_model(round_: Round) -> bool:
    """True if a campaign stopped at this round, and its language model has not been trained on all labels."""
    return round_.state is RoundState.STOPPED and _lacks_adapter(round_)


def _lacks_adapter(round_: Round) -> bool:
    ranking_model = round_spec(round_).ranking_model
    return ranking_model == "head" and round_.labels > 0 and round_.adapter_sha256 is None


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
