"""``learner``: what a campaign trains; ``head``: how its head reads texts."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, field_validator

from star_al.config.defaults import DEFAULT_ENCODER
from star_al.config.spec.base import Positive, Spec, choices


class LoraLearnerSpec(Spec):
    """A language model with a LoRA adapter."""

    kind: Literal["lora"] = Field(
        description=(
            "A language model, fine-tuned with LoRA (`model`, `adapter`, `posterior`). On a CPU, a round takes "
            "from seconds to many minutes, by the size of the model and the length of the texts."
        )
    )
    train: Literal["each_round", "at_end"] | tuple[Positive, ...] = Field(
        default="each_round",
        description=(
            "When the language model is trained: `each_round`, `at_end`, or a list of label counts. "
            "With a list, it is trained in the first round that has at least as many labels, and at the end. "
            "`at_end` and a list need `acquisition.scorer: head`, which chooses the texts in the other rounds."
        ),
        examples=["each_round", "at_end", [100, 300]],
    )
    head: bool = Field(
        default=False,
        description=(
            "Train a head beside the language model each round and measure it too, to see what fine-tuning adds. "
            "With `acquisition.scorer: head` this is always so."
        ),
    )

    taught: Literal["auto"] | bool = Field(
        default="auto",
        description=(
            "Train the language model on the head's answers to unlabelled texts too, beside what people answered. "
            "`auto` does so where a head is trained beside it and each text gets one of the labels of "
            "`task`; `true` needs the head, `false` trains on the labels alone."
        ),
    )

    @field_validator("train")
    @classmethod
    def _counts_rise(cls, train: str | tuple[int, ...]) -> str | tuple[int, ...]:
        if isinstance(train, tuple) and (not train or list(train) != sorted(set(train))):
            raise ValueError("a list of label counts rises from each count to the next")
        return train


class HeadLearnerSpec(Spec):
    """A linear model on a frozen sentence encoder."""

    kind: Literal["head"] = Field(
        description=(
            "A head: a linear model on the frozen features of a sentence encoder (`head`). It is trained in "
            "about a second and needs no language model."
        )
    )


LearnerSpec: TypeAlias = Annotated[LoraLearnerSpec | HeadLearnerSpec, Field(discriminator="kind")]


def lora_by_default(section: Any) -> Any:
    """A learner that names no kind is a language model with LoRA."""
    return {"kind": "lora", **section} if isinstance(section, dict) and "kind" not in section else section


class HeadSpec(Spec):
    """The head: multinomial ridge regression on frozen features."""

    encoder: str = Field(
        default=DEFAULT_ENCODER,
        description=(
            "A sentence encoder: its name on the Hugging Face hub, or a folder. "
            "Any model of sentence-transformers works, and any encoder of transformers. A relative folder starts "
            "at the campaign file's folder. For texts that are not English, choose a multilingual one."
        ),
        examples=["sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2"],
    )
    revision: str | None = Field(
        default=None, description="Branch, tag or commit of the encoder's hub name.", examples=["main"]
    )
    features: Literal["auto", "encoder", "model", "both"] = Field(
        default="auto",
        description="What the head reads of a text.",
        json_schema_extra=choices(
            auto=(
                "what predicts the labels best in cross-validation: the encoder's sentence vector or, with "
                "`learner.kind: lora`, the language model's states or both"
            ),
            encoder="the encoder's sentence vector",
            model="the frozen language model's hidden states",
            both="both, side by side",
        ),
    )
    label_names: bool = Field(
        default=True,
        description=(
            "Let the names of the labels, or their descriptions, guide the head while few texts are labelled. "
            "How much they count is found by cross-validation."
        ),
    )
    neighbours: Literal["auto"] | Annotated[int, Field(ge=0, strict=True)] = Field(
        default="auto",
        description=(
            "How many of the nearest texts of the pool a prediction is smoothed over; 0 for no smoothing. "
            "`auto` finds the number by cross-validation."
        ),
    )
    samples: Positive = Field(
        default=64, description="Posterior samples of the head; they cost next to nothing."
    )
    max_tokens: Annotated[int, Field(ge=16)] | None = Field(
        default=None,
        description="Tokens of a text that the encoder reads at once; by default as many as it was made for.",
    )
    cache_gb: Annotated[float, Field(ge=0)] = Field(
        default=4.0,
        description="Disk limit (GB) for features and embeddings of texts, which are computed once and kept.",
    )
