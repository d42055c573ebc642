"""What a comparison of strategies shows, in sentences, and the reasons to read it with care."""

from __future__ import annotations

from star_al.common.wording import count
from star_al.stats.learning_curves import (
    FEW_SEEDS,
    HEADLINE_SEEDS,
    REFERENCE,
    Comparison,
    StrategyCurve,
    is_random,
)
from star_al.stats.over_seeds import Saving


def in_words(comparison: Comparison) -> list[str]:
    """The results as sentences: one line for each strategy, then the cautions."""
    lines = [_strategy_in_words(each) for each in comparison.strategies if not each.is_reference]
    if any(is_random(each.strategy) and each.reference for each in comparison.strategies):
        lines.append(f"Every {REFERENCE} asks for the same texts; only the posterior differs.")
    return [*lines, *cautions(comparison)]


def cautions(comparison: Comparison) -> list[str]:
    """Reasons to read the figures with care."""
    found = []
    if comparison.strategies and not any(is_random(each.strategy) for each in comparison.strategies):
        found.append(f"No run of {REFERENCE} has finished, so there is nothing to compare with.")
    if comparison.strategies and comparison.rough:
        found.append(f"Fewer than {FEW_SEEDS} seeds: the intervals are rough.")
    elif comparison.strategies and not comparison.headline:
        found.append(f"{count(comparison.seeds, 'seed')}: a claim needs at least {HEADLINE_SEEDS}.")
    compared = sum(each.aulc_difference is not None for each in comparison.strategies)
    if compared > 1:
        found.append(f"{compared} strategies are compared; p is not corrected for that.")
    if comparison.above_majority is False:
        found.append("No model is above the majority class: this data set cannot tell strategies apart.")
    return found


def _strategy_in_words(curve: StrategyCurve) -> str:
    difference, reference = curve.aulc_difference, curve.reference or REFERENCE
    if difference is None:
        return f"{curve.strategy}: no seed in common with {reference} has finished."
    seeds = count(difference.seeds, "seed")
    if difference.mean == 0 and difference.p is None:
        verdict = f"the same area under the curve as {reference} ({seeds})"
    elif difference.p is None:
        verdict = f"AULC {difference.mean:+.4f} against {reference}, which cannot be tested ({seeds})"
    elif difference.p >= 0.05:
        figures = f"AULC {difference.mean:+.4f}, p = {difference.p:.2g}, {seeds}"
        verdict = f"no clear difference to {reference} ({figures})"
    else:
        side = "better" if difference.mean > 0 else "worse"
        verdict = f"{side} than {reference} (AULC {difference.mean:+.4f}, p = {difference.p:.2g}, {seeds})"
    saving = curve.saving_at(0.95)
    saved = f"; {saving_in_words(saving, reference)}" if saving else ""
    return f"{curve.strategy}: {verdict}{saved}.{_beside_in_words(curve)}"


def _beside_in_words(curve: StrategyCurve) -> str:
    """What the other model reached, beside the one that ranked the texts; empty without one."""
    if curve.beside_final is None:
        return ""
    main = "head" if curve.beside == "language model" else "language model"
    both = curve.delivered_final
    together = "" if both is None else f", and what is delivered of both {both.mean:.1%}"
    other = f"the {curve.beside} {curve.beside_final.mean:.1%}"
    return f" At the end the {main} has {curve.final.mean:.1%}, {other}{together}."


def saving_in_words(saving: Saving, reference: str) -> str:
    """How many labels are saved compared with the reference, in words."""
    share = f"{saving.share:.0%} of {reference}'s gain"
    if saving.reference_labels is None:
        return f"{reference} gains nothing that could be reached"
    if saving.saving is None or saving.labels is None:
        return f"{share} is not reached"
    counts = f"{saving.labels:.0f} instead of {saving.reference_labels:.0f}"
    if round(saving.saving, 2) == 0:
        return f"{share} with as many labels ({counts})"
    more = "fewer" if saving.saving > 0 else "more"
    return f"{share} with {abs(saving.saving):.0%} {more} labels ({counts})"
