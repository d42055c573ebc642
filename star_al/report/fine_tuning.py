"""Is fine-tuning worth its cost: the language model beside the head, on the same texts, with the seconds of both."""

from __future__ import annotations

from star_al.common.wording import count
from star_al.report.formatting import duration, percent, signed
from star_al.report.snapshot import CampaignSnapshot, EvaluatedRound, find_evaluation
from star_al.stats.accuracy_difference import (
    Difference,
    paired_accuracy_difference,
    unpaired_accuracy_difference,
)
from star_al.stats.delivered_words import delivered_in_words
from star_al.types import Round


def fine_tuning_in_words(snapshot: CampaignSnapshot) -> str:
    """Compare both models in the newest round that measured them; empty without such a round."""
    both = [each for each in snapshot.evaluated if each.beside is not None and each.round.labels]
    if not both:
        return ""
    newest = both[-1]
    found = _difference(snapshot, newest)
    if found is None:
        return ""
    points = f"{signed(100 * found.low, 1)} to {signed(100 * found.high, 1)}"
    chance = ", so it may be chance" if found.may_be_chance else ""
    side = "better" if found.value >= 0 else "worse"
    words = (
        f"With {count(newest.round.labels, 'label')}, the fine-tuned language model is "
        f"{abs(100 * found.value):.1f} points {side} than the head on {count(newest.main.n, 'held-out text')} "
        f"(95 % interval {points}{chance})."
    )
    more = _taught(newest.round), _delivered(newest), _seconds(newest.round)
    return " ".join([words, *filter(None, more)])


def _taught(round_: Round) -> str:
    """What the language model learned beside what people answered; empty if nothing."""
    n = round_.fit.taught_texts if round_.fit else None
    if not n:
        return ""
    return (
        f"It was trained on these labels and on the head's answers to {count(n, 'unlabelled text')}, "
        "which do not count as labels."
    )


def _delivered(newest: EvaluatedRound) -> str:
    """What is delivered of both models, and how good it is; empty if that is not known."""
    found, weights = newest.delivered, newest.round.evaluation
    if found is None or weights is None:
        return ""
    head, adapted = weights.delivered_head_weight, weights.delivered_adapted_weight
    if head is None or adapted is None:
        return ""
    words = delivered_in_words(head, adapted)
    return f"Predictions come from {words}, {weights.delivered_note}: accuracy {percent(found.accuracy)}."


def _difference(snapshot: CampaignSnapshot, newest: EvaluatedRound) -> Difference | None:
    same = snapshot.on_same_texts
    if same is not None and same.round_index == newest.round.index and same.n:
        return paired_accuracy_difference(same.only_adapted, same.only_head, same.n)
    adapted, head = (find_evaluation(newest.evaluations, name, "raw") for name in ("adapted", "head"))
    if adapted is None or head is None:
        return None
    return unpaired_accuracy_difference(adapted.accuracy, head.accuracy, adapted.n)


def _seconds(round_: Round) -> str:
    """What both trainings took; empty if it is not known."""
    seconds = round_.seconds
    language_model, head = seconds.get("train", seconds.get("fit")), seconds.get("head")
    if language_model is None or head is None:
        return ""
    return f"Training took {duration(language_model)}, the head {duration(head)}."
