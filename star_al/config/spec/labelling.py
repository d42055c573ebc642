"""``labelling``: how answers become labels, and when a round has enough of them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from star_al.config.spec.base import Positive, Spec, choices


class LabellingSpec(Spec):
    """How answers become labels, and when a round has enough of them.

    An answer that is no label of the task is told and not used. Audit and calibration sets do not close at a
    share of their answers, since the texts answered first are not a random sample.
    """

    overlap: Positive = Field(default=1, description="People who answer each text.")
    settle: Literal["majority", "dawid_skene", "median", "majority_by_label"] = Field(
        default="majority",
        description="How several answers to a text become one label.",
        json_schema_extra=choices(
            majority="the label with the most votes; a tie is disputed. Written answers that count as one are added up",
            dawid_skene=(
                "by a model of how reliable each person is (Dawid and Skene 1979); "
                "a label below 60 % probability is disputed"
            ),
            median=(
                "the level in the middle, for `task.kind: rating`; disputed if an even number of people answered and "
                "the two in the middle differ"
            ),
            majority_by_label=(
                "for `task.kind: multi_label`: the labels that more than half of the people gave; disputed if a label "
                "was given by just half"
            ),
        ),
    )
    skipped: Literal["drop", "ask_again", "ask_another"] = Field(
        default="drop",
        description="What happens to a text that everyone skipped.",
        json_schema_extra=choices(
            drop="it leaves the pool without a label",
            ask_again="it becomes a new task",
            ask_another="the task stays open until another person answers",
        ),
    )
    disputed: Literal["drop", "ask_again", "ask_another"] = Field(
        default="ask_another",
        description="What happens to a text whose answers give no clear label.",
        json_schema_extra=choices(
            drop="it leaves the pool without a label",
            ask_again="it becomes a new task, and only the new answers count",
            ask_another="another person is asked, and all answers count",
        ),
    )
    max_attempts: Positive = Field(
        default=3, description="Tasks per text, at most; after that it is dropped without a label."
    )
    close_share: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
        default=1.0,
        description=(
            "A round closes when this share of its texts is answered. "
            "Late answers count in the next round. Audit and calibration texts are always awaited."
        ),
    )
    close_after_hours: Annotated[float, Field(gt=0)] | None = Field(
        default=None,
        description="A round also closes after this many hours; by default it waits.",
        examples=[48.0],
    )
    buffer: Annotated[int, Field(ge=0)] = Field(
        default=0,
        description=(
            "Further texts that stay open while the model trains, so that nobody has to wait. "
            "They are the next ones of the ranking."
        ),
        examples=[10],
    )
