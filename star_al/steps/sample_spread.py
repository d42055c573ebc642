"""Whether posterior samples differ enough for a measure that lives on their differences."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from star_al.artefacts.score_file import read_scores, read_signals
from star_al.parts import RoundParts
from star_al.steps.pool import SAMPLED_MEASURES
from star_al.types import FloatArray

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
    measure = parts.spec.acquisition.measure
    if measure not in SAMPLED_MEASURES:
        return None
    signals = read_signals(scores)
    epistemic_N, entropy_N = _along_answers(signals) if "token_bald" in signals else _of_labels(scores)
    if not len(epistemic_N):
        return None
    epistemic, entropy = float(np.mean(epistemic_N)), float(np.mean(entropy_N))
    if entropy <= 0 or epistemic >= LEAST_SPREAD * entropy:
        return None
    other = "nll" if "token_bald" in signals else "margin"
    return (
        f"the posterior samples hardly differ (mean BALD {100 * epistemic / entropy:.2f} % of the entropy, under "
        f"{100 * LEAST_SPREAD:g} %), so that acquisition.measure: {measure} ranks mostly by noise; in a new "
        f"campaign, use acquisition.measure: {other}, or a wider posterior"
    )


def _along_answers(signals: Mapping[str, FloatArray]) -> tuple[FloatArray, FloatArray]:
    """BALD and entropy of a token, (N,) each: those of whole answers cannot be told where these are long."""
    return signals["token_bald"], signals["token_entropy"]


def _of_labels(scores: Path) -> tuple[FloatArray, FloatArray]:
    """BALD and entropy, (N,) each; empty if the file has no samples."""
    _, columns = read_scores(scores)
    if columns.epistemic is None or columns.aleatoric is None:
        return np.zeros(0), np.zeros(0)
    return columns.epistemic, columns.epistemic + columns.aleatoric
