"""The arms of ``study_labels.py``: what is compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Arm:
    """A way to choose texts and to learn from them; the names are those of ``CHOOSERS`` and ``LEARNERS``.

    Attributes:
        start: How the first texts are chosen.
        then: How all later ones are chosen.
        learner: What learns from the answers.
        wrong: The share of answers that are wrong.
    """

    start: str
    then: str
    learner: str = "head"
    wrong: float = 0.0


HEAD_REVISION = 4
"""Raise this when a change of the head or of the rules changes results. Cells of an earlier one count as missing."""

NOISE = 0.1

RANDOM = Arm("random", "random")
RECOMMENDED = Arm("herding", "facility_location")
"""What ``acquisition.preset: recommended`` does, except that near-duplicates are not skipped."""

_BY_HAND = {
    f"by hand C={strength}": replace(RANDOM, learner=f"logistic C={strength}") for strength in (10, 100, 1000)
}
BY_HAND = tuple(_BY_HAND)
"""Random texts and scikit-learn's logistic regression, in several strengths."""

_VARIANTS = {
    f"{name}, {words}": replace(arm, **changes)
    for words, changes in (
        ("plain head", {"learner": "plain head"}),
        ("without names", {"learner": "head without names"}),
        ("without neighbours", {"learner": "head without neighbours"}),
        ("noise", {"wrong": NOISE}),
    )
    for name, arm in (("random", RANDOM), ("recommended", RECOMMENDED))
}

PARTS_LEFT_OUT = (
    ("recommended", "random"),
    ("recommended, plain head", "random, plain head"),
    ("recommended, without names", "random, without names"),
    ("recommended, without neighbours", "random, without neighbours"),
)
"""The recommended choice with parts of the head left out, and random choice with the same head."""

WRONG = (("recommended, noise", "random, noise"),)

_THEN = (
    "random",
    "entropy",
    "margin",
    "facility_location",
    "cluster_margin",
    "uncertainty_herding",
    "herding",
)
_STARTS = ("random", "typical", "herding")
_RULES = {
    **{f"{start}, {then}": Arm(start, then) for start in _STARTS for then in _THEN},
    "plain herding, facility_location": Arm("plain herding", "facility_location"),
}
RULES = ("recommended", *(name for name, arm in _RULES.items() if arm not in (RANDOM, RECOMMENDED)))
"""Starts and rules with the same head."""

_RIVALS = {
    "skactiveml TypiClust": ("skactiveml TypiClust", "skactiveml TypiClust"),
    "skactiveml MaxHerding": ("skactiveml MaxHerding", "skactiveml MaxHerding"),
    "skactiveml ProbCover": ("skactiveml ProbCover", "skactiveml ProbCover"),
    "skactiveml TypiClust, BADGE": ("skactiveml TypiClust", "skactiveml BADGE"),
    "skactiveml TypiClust, Falcun": ("skactiveml TypiClust", "skactiveml Falcun"),
    "skactiveml TypiClust, DropQuery": ("skactiveml TypiClust", "skactiveml DropQuery"),
    "skactiveml MaxHerding, Falcun": ("skactiveml MaxHerding", "skactiveml Falcun"),
    "small-text BreakingTies": ("random", "small-text BreakingTies"),
    "small-text EmbeddingKMeans": ("random", "small-text EmbeddingKMeans"),
    "small-text ContrastiveActiveLearning": ("random", "small-text ContrastiveActiveLearning"),
    "small-text LightweightCoreset": ("random", "small-text LightweightCoreset"),
}
RIVALS = tuple(_RIVALS)
"""Strategies of other packages with scikit-learn's logistic regression on the same embeddings."""

RIVALS_STRENGTH = 1000
"""C of the logistic regression that other packages' strategies are measured with."""

ARMS: Mapping[str, Arm] = {
    **_BY_HAND,
    "random": RANDOM,
    "recommended": RECOMMENDED,
    **_VARIANTS,
    **{name: _RULES[name] for name in RULES if name in _RULES},
    "recommended, logistic": replace(RECOMMENDED, learner=f"logistic C={RIVALS_STRENGTH}"),
    **{name: Arm(*how, f"logistic C={RIVALS_STRENGTH}") for name, how in _RIVALS.items()},
}
"""All arms by name."""
