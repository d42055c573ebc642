"""``adapter.training``: how the work of training is divided."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from star_al.config.spec.base import Positive, Spec, choices


class TrainingSpec(Spec):
    """How a training step is divided among processes and in time.

    ``adapter.batch_size`` is that of the whole step, so none of these changes what is learnt by more than rounding
    and, with several processes, other masks of dropout.
    """

    processes: Positive = Field(
        default=1,
        description=(
            "Train in this many processes, each with a part of a minibatch. Each has a GPU of its own, from that of "
            "`model.device` on; without GPUs they share the CPU."
        ),
        examples=[4],
    )
    strategy: Literal["ddp", "fsdp"] = Field(
        default="ddp",
        description="What each of several processes holds of the base model.",
        json_schema_extra=choices(
            ddp="all of it (data parallel)",
            fsdp="a share of each block, which the others send when it computes; saves memory and takes longer",
        ),
    )
    gradient_accumulation: Positive = Field(
        default=1,
        description="Read a minibatch in this many parts, one after another. Takes less memory.",
        examples=[4],
    )
    gradient_checkpointing: bool = Field(
        default=False,
        description=(
            "Keep only the inputs of blocks, and compute the rest again for the gradient. Takes less memory and about "
            "a third longer."
        ),
    )

    @model_validator(mode="after")
    def _shares_need_processes(self) -> TrainingSpec:
        if self.strategy == "fsdp" and self.processes == 1:
            raise ValueError("strategy: fsdp needs processes of at least 2, which share the base model")
        return self

    @property
    def parts(self) -> int:
        """Into how many parts a minibatch is cut."""
        return self.processes * self.gradient_accumulation
