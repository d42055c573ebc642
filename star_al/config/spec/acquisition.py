"""``acquisition``: which texts are labelled next."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, model_validator

from star_al.config.spec.base import FROM_FILE, Fraction, Positive, Spec, choices

ADAPTIVE_SAMPLES = 16
"""Adaptive sampling needs at least this many posterior samples to pay off."""

JOINT_SAMPLES = 16
"""Joint scores of several texts need at least this many posterior samples: their information is at most log K."""


class BlendSpec(Spec):
    """How base and adapted uncertainty are combined (STAR's dynamic uncertainty)."""

    kind: Literal["schedule", "constant", "off", "measured"] = Field(
        default="schedule",
        description="How much the adapted model's uncertainty counts beside the base model's.",
        json_schema_extra=choices(
            schedule="0.1 in the first trained round, 0.1 more in each later one, at most 0.9 (STAR)",
            constant="`weight` in every round",
            off="only the adapted model counts",
            measured=(
                "the weight that best predicts errors on held-out labels, shrunk towards the schedule "
                "while there are few"
            ),
        ),
    )
    weight: Fraction = Field(
        default=0.5, description="The adapted model's weight. Only for `kind: constant`."
    )
    normalise: Literal["minmax", "rank"] = Field(
        default="minmax",
        description="How both uncertainties are brought to the range from 0 to 1 before they are added.",
        json_schema_extra=choices(
            minmax="linearly, from the lowest score in the pool to the highest",
            rank="by rank in the pool, which outliers do not affect",
        ),
    )


class BatchSpec(Spec):
    """How the batch is taken from the ranking. The kinds after ``random`` diversify within its top."""

    kind: Literal["top_k", "power", "random", "batchbald", "badge", "k_centre", "facility_location"] = Field(
        default="top_k",
        description="Which texts of the ranking make up the batch.",
        json_schema_extra=choices(
            top_k="the most uncertain texts",
            power="drawn at random, with odds by uncertainty (Kirsch et al. 2023)",
            random="drawn at random, with equal odds",
            batchbald=f"those with the most joint information; needs {JOINT_SAMPLES} posterior samples or more",
            badge="diverse and uncertain, by k-means++ on gradient embeddings",
            k_centre="diverse: each one as far as possible from those already chosen",
            facility_location="representative: together they are similar to all of the top",
        ),
    )
    beta: Annotated[float, Field(gt=0)] = Field(
        default=1.0, description="How strongly uncertainty sets the odds. Only for `kind: power`."
    )
    top: Positive = Field(
        default=500,
        description="Texts at the top of the ranking that a diverse batch is chosen from.",
    )
    near_duplicates: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=0.8,
        description=(
            "Skip texts that are this similar to each other or to one already chosen, from 0 to 1. "
            "At 0.8, about four words in five are the same. It is off with `kind: random`, with "
            "`acquisition.adaptive_samples`, and in campaigns that began with an earlier version."
        ),
        examples=[0.8],
    )
    balance: bool = Field(
        default=False, description="Prefer texts whose predicted label has the fewest labels so far."
    )

    @model_validator(mode="before")
    @classmethod
    def _near_duplicates_are_off_where_they_were(cls, section: Any, info: ValidationInfo) -> Any:
        """Leave the constraint out where it cannot be, and in settings stored before it existed."""
        if not isinstance(section, dict) or "near_duplicates" in section:
            return section
        stored = info.context != FROM_FILE and {"kind", "beta"} <= section.keys()
        return {**section, "near_duplicates": None} if stored or section.get("kind") == "random" else section

    @model_validator(mode="after")
    def _chance_takes_no_constraints(self) -> BatchSpec:
        if self.kind == "random" and (self.balance or self.near_duplicates is not None):
            raise ValueError("kind: random takes neither balance nor near_duplicates")
        return self

    @property
    def diversifies(self) -> bool:
        """True if the items of a batch are chosen with a view to each other."""
        return self.kind in ("batchbald", "badge", "k_centre", "facility_location")


class AcquisitionSpec(Spec):
    """Which texts are labelled next."""

    @model_validator(mode="before")
    @classmethod
    def _adaptive_sampling_takes_no_near_duplicates(cls, section: Any) -> Any:
        """Leave the constraint out, unless it is asked for, which is refused later."""
        if not isinstance(section, dict) or section.get("adaptive_samples") is None:
            return section
        batch = section.get("batch", {})
        if not isinstance(batch, dict) or "near_duplicates" in batch:
            return section
        return {**section, "batch": {**batch, "near_duplicates": None}}

    measure: Literal["entropy", "margin", "least_confidence", "bald", "epig"] = Field(
        default="entropy",
        description="How the uncertainty of a text is measured.",
        json_schema_extra=choices(
            entropy="entropy of the mean prediction",
            margin="how close the two most probable labels are",
            least_confidence="one minus the highest probability",
            bald="how much the posterior samples disagree; needs 2 of them or more",
            epig=(
                "how much its label would tell about other texts; needs "
                f"{JOINT_SAMPLES} posterior samples or more"
            ),
        ),
    )
    epig_targets: Positive = Field(
        default=200,
        description="Random texts of the first pool that a label should help with. Only for `measure: epig`.",
    )
    blend: BlendSpec = Field(
        default=BlendSpec(), description="How base and adapted uncertainty are combined (STAR)."
    )
    batch: BatchSpec = Field(default=BatchSpec(), description="How the batch is taken from the ranking.")
    batch_size: Positive = Field(default=25, description="Texts to label each round.")
    cold_start: Literal["random", "base_uncertainty", "typical"] = Field(
        default="random",
        description="How the first batch is chosen while there is no label to train on.",
        json_schema_extra=choices(
            random="at random",
            base_uncertainty="the texts that the base model is most uncertain about",
            typical="a typical text of each cluster of the pool (TypiClust)",
        ),
    )
    control_share: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0,
        description=(
            "Share of each batch that is drawn at random, as a control arm. "
            "A second adapter, the shadow adapter, is trained on these labels only, so that you see what "
            "active learning gains. "
            "It needs a second training each round."
        ),
        examples=[0.2],
    )
    candidates: Positive | None = Field(
        default=None,
        description="Score only this many random texts of the pool each round; by default all of it.",
        examples=[10_000],
    )
    adaptive_samples: Annotated[int, Field(ge=2)] | None = Field(
        default=None,
        description=(
            "Posterior samples to draw for every text; more only where they can change the batch. "
            f"By default all are drawn for every text. 4 works well; needs {ADAPTIVE_SAMPLES} posterior "
            "samples or more."
        ),
        examples=[4],
    )
