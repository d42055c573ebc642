"""``posterior``: how the model's uncertainty is sampled; one section per method."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, ValidationInfo, model_validator

from star_al.config.spec.base import FROM_FILE, Positive, Spec, choices

LINEARISED = "linearised"
"""A value that ``posterior.predictive`` had in version 0.1; see ``LaplaceSpec``."""

Samples = Annotated[
    int,
    Field(
        gt=0,
        description="Posterior samples (K). More of them take more time and make scores less noisy.",
    ),
]


class MapSpec(Spec):
    """The adapter as trained, without samples."""

    kind: Literal["map"] = Field(
        description="The adapter as trained, without samples (the maximum a posteriori estimate)."
    )

    @property
    def samples(self) -> int:
        """One: nothing is sampled."""
        return 1


class McDropoutSpec(Spec):
    """Monte-Carlo dropout (Gal and Ghahramani 2016) by coherent weight samples, as in STAR."""

    kind: Literal["mc_dropout"] = Field(
        default="mc_dropout",
        description=(
            "Monte-Carlo dropout: a sample is the adapter with one dropout mask, the same for every text. "
            "Costs no extra training (Gal and Ghahramani 2016; STAR)."
        ),
    )
    samples: Samples = 3
    dropout: Annotated[float, Field(gt=0.0, lt=1.0)] | None = Field(
        default=None,
        description=(
            "Dropout of the samples; by default that of training (`adapter.dropout`). A higher rate makes samples "
            "differ more."
        ),
        examples=[0.5],
    )


class EnsembleSpec(Spec):
    """LoRA ensemble (Wang et al. 2023; Balabanov and Linander 2024)."""

    kind: Literal["ensemble"] = Field(
        description=(
            "An ensemble: a sample is one of several adapters, each trained with its own seed and order. "
            "Training takes `members` times as long (Wang et al. 2023)."
        )
    )
    members: Annotated[int, Field(ge=2)] = Field(default=5, description="Adapters to train each round.")
    function_decay: Annotated[float, Field(ge=0)] = Field(
        default=0.0,
        description=(
            "Strength of a penalty that keeps members near the base model. "
            "It is the γ of γ·Σ‖s·B·A‖² in the training loss."
        ),
    )

    @property
    def samples(self) -> int:
        """A sample is a member."""
        return self.members


class LaplaceSpec(Spec):
    """Laplace-LoRA (Yang et al. 2024): a Gaussian around the trained adapter, its curvature by KFAC."""

    kind: Literal["laplace"] = Field(
        description=(
            "Laplace-LoRA: a Gaussian around the trained adapter, as wide as the curvature of the training "
            "loss allows. Costs one pass for the curvature after training (Yang et al. 2024)."
        )
    )
    samples: Samples = 10
    subset: Literal["all", "last_layer"] = Field(
        default="all",
        description="Which adapted matrices are uncertain.",
        json_schema_extra=choices(all="all of them", last_layer="those of the last block"),
    )
    n_kfac: Positive = Field(
        default=10, description="Rank of the low-rank approximation of the wide Kronecker factors."
    )
    prior_mean: Literal["start", "zero"] = Field(
        default="start",
        description=(
            "Mean of the Gaussian prior, from which the model evidence measures how far training moved the adapter."
        ),
        json_schema_extra=choices(
            start="the adapter before training: random A, zero B",
            zero="zero, as in campaigns that began with an earlier version",
        ),
    )
    prior_precision: Annotated[float, Field(gt=0, strict=True)] | Literal["evidence"] = Field(
        default=1000.0,
        description=(
            "Precision of the Gaussian prior (τ); higher values make the posterior narrower. "
            "The default was tested at a hidden size of 576; for wider models, start with three times the "
            "hidden size. `evidence` maximises the model evidence, which is often far too wide."
        ),
        examples=[1000.0, 12288.0, "evidence"],
    )

    @model_validator(mode="before")
    @classmethod
    def _earlier_priors_were_centred_on_zero(cls, section: Any, info: ValidationInfo) -> Any:
        """Without a file, a section that does not name the prior's mean is one of an earlier version."""
        if info.context == FROM_FILE or not isinstance(section, dict):
            return section
        return {"prior_mean": "zero"} | section

    @model_validator(mode="before")
    @classmethod
    def _predictive_was_a_setting(cls, section: Any, info: ValidationInfo) -> Any:
        """Drop a setting of version 0.1, which stored configs hold; refuse a file that asks for what was removed."""
        if not isinstance(section, dict) or section.get("predictive") not in ("sampling", LINEARISED):
            return section
        if section["predictive"] == LINEARISED and info.context == FROM_FILE:
            raise ValueError(
                "predictive: linearised was removed; samples, which are used instead, predict as well at a "
                "quarter of the cost. Delete predictive"
            )
        return {name: value for name, value in section.items() if name != "predictive"}


class CLoraSpec(Spec):
    """C-LoRA (Rahmati et al. 2025): a Gaussian between A and B whose mean and width depend on the text."""

    kind: Literal["clora"] = Field(
        description=(
            "C-LoRA: a random matrix between A and B whose mean and width depend on the text. "
            "Takes about four times the training time (Rahmati et al. 2025)."
        )
    )
    samples: Samples = 10
    context: Literal["sequence", "token"] = Field(
        default="sequence",
        description="What the random matrix depends on.",
        json_schema_extra=choices(sequence="the whole text", token="each token"),
    )
    prior_std: Annotated[float, Field(gt=0)] = Field(
        default=0.2, description="Prior standard deviation of the matrix's entries (β)."
    )
    hidden: Positive = Field(default=64, description="Hidden units of the context networks.")
    kl_weight: Literal["auto"] | Annotated[float, Field(ge=0, strict=True)] = Field(
        default="auto",
        description=(
            "Weight of the KL divergence in the training loss: a number, or `auto`. "
            "`auto` chooses it on labels that are held out of training."
        ),
        examples=["auto", 0.001],
    )
    learning_rate: Annotated[float, Field(gt=0)] = Field(
        default=0.01, description="Learning rate of the context networks, trained by SGD."
    )


class TfbSpec(Spec):
    """TFB (Shi et al. 2025): Bayesian without further training, by noise on the adapter."""

    kind: Literal["tfb"] = Field(
        description=(
            "TFB: noise on the trained adapter, as much as its predictions bear. "
            "Costs a search over noise levels after training (Shi et al. 2025)."
        )
    )
    samples: Samples = 10
    rule: Literal["predictions", "loss"] = Field(
        default="predictions",
        description="What limits the noise.",
        json_schema_extra=choices(
            predictions="the share of unlabelled texts that get another label; no label is needed",
            loss="the training loss, as in campaigns that began with an earlier version",
        ),
    )
    tolerance: Annotated[float, Field(gt=0)] = Field(
        default=0.01,
        description=(
            "Share of texts whose label the noise may change. With `rule: loss`, the relative increase of the "
            "training loss, for which 0.003 is usual."
        ),
    )
    texts: Positive = Field(
        default=100, description="Unlabelled texts of the pool that `rule: predictions` looks at."
    )

    @model_validator(mode="before")
    @classmethod
    def _earlier_noise_was_limited_by_the_loss(cls, section: Any, info: ValidationInfo) -> Any:
        """Without a file, a section that does not name the rule is one of an earlier version."""
        if info.context == FROM_FILE or not isinstance(section, dict) or "rule" in section:
            return section
        return {"tolerance": 0.003} | section | {"rule": "loss"}


PosteriorSpec: TypeAlias = Annotated[
    MapSpec | McDropoutSpec | EnsembleSpec | LaplaceSpec | CLoraSpec | TfbSpec, Field(discriminator="kind")
]
