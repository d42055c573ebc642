"""The scores by which a pool is ranked: the uncertainties of its models, blended."""

from __future__ import annotations

from star_al.acquire.blend import blend, blend_ranks
from star_al.acquire.measured_blend_weight import BlendWeight
from star_al.artefacts.score_page import Scores
from star_al.config.spec.acquisition import BlendSpec
from star_al.steps.graded_answers import MODELS
from star_al.types import FloatArray


def blended(columns: Scores, weight: BlendWeight | None, settings: BlendSpec) -> FloatArray:
    """Blend the uncertainties of a pool, (N,); ``weight`` is None in a round without a trained model."""
    if weight is None or settings.kind != "prequential":
        value = weight.value if weight else None
        return blend(columns.adapted_uncertainty, columns.base_uncertainty, value, settings.normalise)
    head = weight.head or 0.0
    weights = {"adapted": weight.value, "base": 1.0 - weight.value - head, "head": head}
    scored = by_model(columns)
    return blend_ranks(list(scored.values()), [weights[name] for name in scored], settings.normalise)


def by_model(columns: Scores) -> dict[str, FloatArray]:
    """Uncertainties of the pool by model, in the order of ``MODELS``."""
    named = {name: getattr(columns, f"{name}_uncertainty") for name in MODELS}
    return {name: scores_N for name, scores_N in named.items() if scores_N is not None}
