"""Whether posterior samples differ enough for a measure that lives on their differences."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from star_al.artefacts.score_file import read_scores
from star_al.parts import RoundParts
from star_al.steps.pool import SAMPLED_MEASURES

LEAST_SPREAD = 0.01
"""Share of the entropy below which differences between samples are taken for noise."""


def spread_warning(parts: RoundParts, scores: Path) -> str | None:
    """Warn that the samples hardly differ; None if they do, or if the measure does not need them to.

    What samples disagree about is the epistemic part of the entropy (BALD). If its mean is under 1 % of that of the
    entropy, two sets of samples rank the texts differently.

    Args:
        parts: The round.
        scores: Its score file.
    """
    if parts.spec.acquisition.measure not in SAMPLED_MEASURES:
        return None
    _, columns = read_scores(scores)
    if columns.epistemic is None or columns.aleatoric is None or not len(columns.epistemic):
        return None
    epistemic = float(np.mean(columns.epistemic))
    entropy = epistemic + float(np.mean(columns.aleatoric))
    if entropy <= 0 or epistemic >= LEAST_SPREAD * entropy:
        return None
    measure = parts.spec.acquisition.measure
    return (
        f"the posterior samples hardly differ (mean BALD {100 * epistemic / entropy:.2f} % of the entropy, under "
        f"{100 * LEAST_SPREAD:g} %), so that acquisition.measure: {measure} ranks mostly by noise; in a new "
        "campaign, use acquisition.measure: margin, or a wider posterior"
    )
