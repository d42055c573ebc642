"""``acquisition``: which texts are labelled next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, model_validator

from star_al.config.spec.base import FROM_FILE, Fraction, Positive, Spec, choices
from star_al.config.spec.shortlist import ShortlistSpec

ADAPTIVE_SAMPLES = 16
"""Adaptive sampling needs at least this many posterior samples to pay off."""

FACILITY_TOP = 30
"""Texts that facility location chooses from, for each text of the batch; with few it is a mere margin rule."""

CLUSTER_TOP = 10
"""Texts that cluster-margin chooses from, for each text of the batch, as in the paper."""

DEFAULT_TOP = 500
"""Texts that other diverse batches are chosen from, at least."""

EARLIER_DEFAULTS: Mapping[str, Any] = {
    "preset": "none",
    "measure": "entropy",
    "blend": {"kind": "schedule"},
    "batch": {"kind": "top_k"},
    "cold_start": "random",
    "min_cluster": 1,
}
"""What settings without a preset meant, which is how earlier versions stored them."""

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "recommended": {},
    "star": {
        name: value for name, value in EARLIER_DEFAULTS.items() if name not in ("preset", "min_cluster")
    },
}
"""What each preset changes in the defaults of the settings."""

JOINT_SAMPLES = 16
"""Joint scores of several texts need at least this many posterior samples: their information is at most log K."""


class BlendSpec(Spec):
    """How base and adapted uncertainty are combined (STAR's dynamic uncertainty)."""

    kind: Literal["schedule", "constant", "off", "prequential", "measured"] = Field(
        default="off",
        description="How much the adapted model's uncertainty counts beside the base model's.",
        json_schema_extra=choices(
            schedule="0.1 in the first trained round, 0.1 more in each later one, at most 0.9 (STAR)",
            constant="`weight` in every round",
            off="only the adapted model counts",
            prequential=(
                "learned from the answers: each model counts by how well its uncertainty has foretold the errors on "
                "the texts that were asked"
            ),
            measured=(
                "the weight that best predicts errors on held-out labels, shrunk towards another one (`towards`) "
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
    towards: Literal["prequential", "schedule"] = Field(
        default="prequential",
        description="The weight that a measured one is shrunk towards. Only for `kind: measured`.",
        json_schema_extra=choices(
            prequential="the one learned from the answers, as by `kind: prequential`",
            schedule="STAR's, as in campaigns that began with an earlier version",
        ),
    )
    calibrate_base: bool | None = Field(
        default=None,
        description=(
            "Take the base model's label bias out of its uncertainty. Its probabilities are divided by "
            "their mean over the pool (batch calibration, Zhou et al. 2023), corrected by the labels bought "
            "so far. By default with `kind: prequential`."
        ),
        examples=[True],
    )

    @model_validator(mode="before")
    @classmethod
    def _earlier_blends_shrink_towards_the_schedule(cls, section: Any, info: ValidationInfo) -> Any:
        """Read settings stored before ``towards`` existed as they were meant."""
        stored = (
            info.context != FROM_FILE and isinstance(section, dict) and {"kind", "weight"} <= section.keys()
        )
        return {"towards": "schedule", **section} if stored else section

    @property
    def takes_bias_out(self) -> bool:
        """True if the base model's label bias is taken out of its uncertainty."""
        return self.kind == "prequential" if self.calibrate_base is None else self.calibrate_base

    @property
    def learns_from_answers(self) -> bool:
        """True if the weight, or the one that it is shrunk towards, is learned from the answers."""
        return self.kind == "prequential" or (self.kind == "measured" and self.towards == "prequential")


class BatchSpec(Spec):
    """How the batch is taken from the ranking. The kinds after ``random`` diversify within its top."""

    kind: Literal[
        "top_k",
        "power",
        "random",
        "batchbald",
        "badge",
        "k_centre",
        "facility_location",
        "cluster_margin",
        "uncertainty_herding",
        "idds",
    ] = Field(
        default="facility_location",
        description="Which texts of the ranking make up the batch.",
        json_schema_extra=choices(
            top_k="the most uncertain texts",
            power="drawn at random, with odds by uncertainty (Kirsch et al. 2023)",
            random="drawn at random, with equal odds",
            batchbald=f"those with the most joint information; needs {JOINT_SAMPLES} posterior samples or more",
            badge="diverse and uncertain, by k-means++ on gradient embeddings",
            k_centre="diverse: each one as far as possible from those already chosen",
            facility_location="representative: together they are similar to all of the top",
            cluster_margin="the most uncertain texts of many clusters of the pool (Citovsky et al. 2021)",
            uncertainty_herding="representative of the whole pool, weighted by uncertainty (Bae et al. 2024)",
            idds="like the rest of the pool and unlike what is labelled, whatever the model says (Tsvigun et al. 2022)",
        ),
    )
    beta: Annotated[float, Field(gt=0)] = Field(
        default=1.0, description="How strongly uncertainty sets the odds. Only for `kind: power`."
    )
    top: Positive | None = Field(
        default=None,
        description=(
            "Texts at the top of the ranking that a diverse batch is chosen from. "
            f"By default {FACILITY_TOP} for each text of the batch with `facility_location`, so that they cover the "
            f"pool, {CLUSTER_TOP} with `cluster_margin`, the whole pool with `uncertainty_herding` and `idds`, and "
            f"{DEFAULT_TOP} texts with the other kinds."
        ),
        examples=[DEFAULT_TOP],
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
        return self.kind not in ("top_k", "power", "random")

    @property
    def covers_pool(self) -> bool:
        """True if the batch is chosen from the whole pool, not only from the top of the ranking."""
        return self.kind in ("uncertainty_herding", "idds") and self.top is None

    def top_of(self, batch_size: int) -> int:
        """Texts at the top of the ranking that a batch of this size is chosen from."""
        if self.top is not None:
            return self.top
        per_text = {"facility_location": FACILITY_TOP, "cluster_margin": CLUSTER_TOP}.get(self.kind)
        return DEFAULT_TOP if per_text is None else per_text * batch_size


class AcquisitionSpec(Spec):
    """Which texts are labelled next."""

    @model_validator(mode="before")
    @classmethod
    def _presets_fill_in(cls, section: Any, info: ValidationInfo) -> Any:
        """Fill in what a preset sets and the section does not; read a section without one as it was stored."""
        if not isinstance(section, dict):
            return section
        if info.context != FROM_FILE and "preset" not in section:
            return _filled(section, EARLIER_DEFAULTS)
        preset = section.get("preset")
        return _filled(section, PRESETS.get(preset, {}) if isinstance(preset, str) else {})

    preset: Literal["recommended", "star", "none"] = Field(
        default="recommended",
        description="A strategy as a whole. Settings that are given beside it replace its own.",
        json_schema_extra=choices(
            recommended=(
                "first texts that cover the pool; then, of the most uncertain ones by margin, those that stand "
                "for many others"
            ),
            star="entropy, blended with the base model's by STAR's schedule, highest first, after a random start",
            none="each setting for itself; campaigns that earlier versions began have it",
        ),
    )
    scorer: Literal["learner", "head"] = Field(
        default="learner",
        description="Which model ranks the pool.",
        json_schema_extra=choices(
            learner="the one that is trained (`learner`)",
            head="a head on frozen features (`head`), in about a second a round; see `learner.train`",
        ),
    )

    @model_validator(mode="before")
    @classmethod
    def _adaptive_sampling_takes_the_top(cls, section: Any) -> Any:
        """Take the top of the ranking without constraints, unless more is asked for, which is refused later."""
        if not isinstance(section, dict) or section.get("adaptive_samples") is None:
            return section
        batch = section.get("batch", {})
        if not isinstance(batch, dict):
            return section
        return {**section, "batch": {"kind": "top_k", "near_duplicates": None, **batch}}

    measure: Literal[
        "entropy",
        "margin",
        "least_confidence",
        "bald",
        "epig",
        "label_probability",
        "nll",
        "token_entropy",
        "token_bald",
        "sequence_entropy",
        "label_margin_mean",
        "label_margin_max",
    ] = Field(
        default="margin",
        description="How the uncertainty of a text is measured. With `task.kind: text`, the default is `nll`.",
        json_schema_extra=choices(
            entropy="entropy of the mean prediction",
            margin="how close the two most probable labels are",
            least_confidence="one minus the highest probability",
            bald="how much the posterior samples disagree; needs 2 of them or more",
            epig=(
                "how much its label would tell about other texts; needs "
                f"{JOINT_SAMPLES} posterior samples or more"
            ),
            label_probability="the probability of `target_label`, to find the texts of a rare label",
            nll="how improbable the model's own answer is, a token; for written answers",
            token_entropy="the entropy of the answer's tokens, in the mean; for written answers",
            token_bald=(
                "how much the posterior samples disagree about the answer's tokens, in the mean; needs 2 of them or "
                "more; for written answers"
            ),
            sequence_entropy="how improbable the drawn answers are, a token, in the mean; for written answers",
            label_margin_mean=(
                "how close labels are to being as likely as not, in the mean over labels; for `task.kind: multi_label`"
            ),
            label_margin_max="the same of the least certain label; for `task.kind: multi_label`",
        ),
    )
    target_label: str | None = Field(
        default=None,
        description="The label to look for. Only for `measure: label_probability`.",
        examples=["urgent"],
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
    cold_start: Literal["random", "base_uncertainty", "typical", "herding", "search"] = Field(
        default="herding",
        description="How the first batch is chosen while there is no label to train on.",
        json_schema_extra=choices(
            random="at random",
            base_uncertainty="the texts that the base model is most uncertain about; measured worse than `random`",
            typical="a typical text of each cluster of the pool (TypiClust)",
            herding="texts that together resemble all of the pool (MaxHerding)",
            search="the texts that resemble `search`, for rare labels",
        ),
    )
    min_cluster: Positive = Field(
        default=5,
        description=(
            "Texts that a cluster must have to give a typical one; smaller clusters are mostly outliers. "
            "Only for `cold_start: typical`; 1 in campaigns that began with an earlier version."
        ),
    )
    search: str | None = Field(
        default=None,
        description="Words or a sentence that the first texts should resemble. Only for `cold_start: search`.",
        examples=["the delivery never arrived"],
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
    shortlist: ShortlistSpec = Field(
        default=ShortlistSpec(),
        description="Which texts of a large pool are scored again in a round, so that it costs less.",
    )
    adaptive_samples: Annotated[int, Field(ge=2)] | None = Field(
        default=None,
        description=(
            "Posterior samples to draw for every text; more only where they can change the batch. "
            "By default all are drawn for every text. The batch is then the top of the ranking "
            "(`batch.kind: top_k` or `power`). "
            f"4 works well; needs {ADAPTIVE_SAMPLES} posterior "
            "samples or more."
        ),
        examples=[4],
    )

    @property
    def batch_top(self) -> int:
        """Texts at the top of the ranking that a batch is chosen from."""
        return self.batch.top_of(self.batch_size)

    @property
    def batch_depth(self) -> int:
        """How far down the ranking a full batch reaches."""
        return self.depth_of(self.batch_size)

    def depth_of(self, size: int) -> int:
        """How far down the ranking ``size`` texts are chosen: to the end of its top if diversified, else so many."""
        reaches_down = size > 0 and (self.batch.diversifies or self.batch.balance)
        return max(size, self.batch_top if reaches_down else 0)

    @model_validator(mode="after")
    def _a_shortlist_is_of_the_top(self) -> AcquisitionSpec:
        if not self.shortlist.is_on:
            return self
        needs_all = {
            f"batch.kind: {self.batch.kind}": self.batch.kind in ("random", "power"),
            f"batch.kind: {self.batch.kind} without batch.top": self.batch.covers_pool,
            "candidates": self.candidates is not None,
        }
        for setting, holds in needs_all.items():
            if holds:
                raise ValueError(
                    f"acquisition.shortlist does not go with acquisition.{setting}, which takes texts of the whole pool"
                )
        return self

    @model_validator(mode="after")
    def _a_search_has_words(self) -> AcquisitionSpec:
        if self.cold_start == "search" and not (self.search and self.search.strip()):
            raise ValueError("cold_start: search needs acquisition.search, the words to look for")
        return self


def _filled(section: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """A section with what it does not say taken from ``defaults``, level by level."""
    filled = dict(section)
    for name, value in defaults.items():
        if name not in filled:
            filled[name] = value
        elif isinstance(value, Mapping) and isinstance(filled[name], Mapping):
            filled[name] = _filled(filled[name], value)
    return filled
