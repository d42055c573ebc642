"""``adapter``: LoRA and its training."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, model_validator

from star_al.config.spec.base import Fraction, Positive, Spec, choices
from star_al.config.spec.training import TrainingSpec

Loss: TypeAlias = Literal["labels", "answer"]
"""What training moves up, see ``AdapterSpec.loss``."""


class AdapterSpec(Spec):
    """LoRA (Hu et al. 2021) and its training. The defaults suit a few hundred labels."""

    rank: Positive = Field(default=8, description="Rank of the adapter's two matrices, A and B.")
    alpha: Annotated[float, Field(gt=0)] = Field(
        default=16.0, description="The adapter's output is multiplied by alpha / rank."
    )
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(
        default=0.1,
        description=(
            "Dropout on the adapter's input, one mask per text. The samples of `posterior.kind: mc_dropout` "
            "differ by it."
        ),
    )
    target_modules: Literal["auto", "all-linear"] | tuple[str, ...] = Field(
        default="all-linear",
        description=(
            "Linear layers of the language model to adapt: `all-linear`, `auto`, or a list of names. "
            "`auto` is peft's choice for the model's architecture, usually the query and value projections. "
            "Both leave out what peft cannot adapt, such as experts that are kept in one tensor."
        ),
        examples=["auto", "all-linear", ["q_proj", "v_proj"]],
    )
    layers: Positive | None = Field(
        default=None,
        description=(
            "Adapt only this many blocks, counted from the last; by default all. "
            "The blocks below them are computed once per text and cached, which makes training and scoring "
            "much faster."
        ),
        examples=[6],
    )
    output: Literal["auto", "label_names", "classifier"] = Field(
        default="auto",
        description="What predicts the labels.",
        json_schema_extra=choices(
            auto=(
                "a classifier where a head teaches ten labels or more when the campaign begins, and with "
                "`task.kind: multi_label`; else the words of the labels"
            ),
            label_names=(
                "the probability of the labels' own words after the prompt, as the base model has it too; with "
                "`task.kind: multi_label`, that of yes or no for each label"
            ),
            classifier=(
                "a linear layer on the last hidden states, fitted to the frozen model before LoRA is trained; each "
                "text is read without the labels"
            ),
        ),
    )
    loss: Loss = Field(
        default="labels",
        description="What training moves up, where the words of the labels predict.",
        json_schema_extra=choices(
            labels="the right label's probability among all labels; each label is read, so many labels are slow",
            answer="the probability of the right label's own words; takes as long with many labels as with few",
        ),
    )
    average: Fraction = Field(
        default=0.0,
        description=(
            "Average the adapter's weights over this share of the steps, the last ones. Two trainings on the same "
            "labels then differ less."
        ),
        examples=[0.5],
    )
    taught_share: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.5,
        description=(
            "Share of a training minibatch that are texts with the head's answers, where the head teaches. "
            "There is at least one of them, and one labelled text."
        ),
    )
    learning_rate: Annotated[float, Field(gt=0)] = Field(
        default=1e-3,
        description=(
            "Highest learning rate of AdamW; it falls linearly towards 0. Measured with small models; 2e-4 is usual "
            "with several billion parameters."
        ),
    )
    epochs: Positive = Field(default=4, description="Passes over all labels each round.")
    min_steps: Annotated[int, Field(ge=0)] = Field(
        default=0,
        description="Train at least this many steps per round. Useful while few labels make few steps.",
        examples=[20],
    )
    batch_size: Positive = Field(default=8, description="Labelled texts in a training minibatch.")
    warmup_ratio: Fraction = Field(
        default=0.1, description="Share of the steps in which the learning rate rises."
    )
    weight_decay_b: Annotated[float, Field(ge=0)] = Field(
        default=0.5,
        description="Decoupled weight decay, on matrix B only (the hybrid regularisation of STAR).",
    )
    max_grad_norm: Annotated[float, Field(gt=0)] = Field(
        default=1.0, description="Norm to which gradients are clipped."
    )
    warm_start: bool = Field(
        default=False, description="Start from the previous round's adapter instead of a new one."
    )
    training: TrainingSpec = Field(
        default=TrainingSpec(), description="How a training step is divided among processes and in time."
    )

    @model_validator(mode="after")
    def _steps_can_be_divided(self) -> AdapterSpec:
        if self.training.strategy == "fsdp" and self.layers is not None:
            raise ValueError("training.strategy: fsdp shares all blocks, so it does not go with layers")
        if self.training.parts > self.batch_size:
            raise ValueError(
                f"batch_size: {self.batch_size} is too small for {self.training.parts} parts (training.processes times "
                "training.gradient_accumulation); each needs a text"
            )
        return self
