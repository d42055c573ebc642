"""``evaluation``: what the model is measured on, and what its temperature is fitted on."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from star_al.config.spec.base import Positive, Spec, choices


class EvaluationSpec(Spec):
    """What the model is measured on, and what its temperature is fitted on."""

    kind: Literal["test", "audit", "none"] = Field(
        default="audit",
        description="Which labelled texts the model is measured on.",
        json_schema_extra=choices(
            test="those of a file with labels, `path`",
            audit="random texts of the data, which are labelled first and never trained on",
            none="nothing is measured; accuracy and calibration stay unknown",
        ),
    )
    path: str | None = Field(
        default=None,
        description="The test file, of the same kinds as `data.path`. Only for `kind: test`.",
        examples=["test.jsonl"],
    )
    split: str = Field(default="test", description="Split of a `datasets` name or folder in `path`.")
    label: str | None = Field(
        default=None,
        description=(
            "Column with the labels of the test file. By default `data.label`, or else `annotator.gold`. "
            "Only for `kind: test`."
        ),
        examples=["label"],
    )
    size: Positive = Field(default=100, description="Audit texts to label in the first round.")
    grow: Annotated[int, Field(ge=0)] = Field(
        default=0, description="Further audit texts to label each round, until there are `max_size`."
    )
    max_size: Positive | None = Field(
        default=None,
        description="Audit texts in all. They are set aside at import. Needed for `grow`.",
        examples=[200],
    )
    calibration: Annotated[int, Field(ge=0)] = Field(
        default=30,
        description=(
            "Random texts to fit the temperature on; they are labelled first and never trained on. "
            "They are drawn with every `kind`. With 0, the temperature is 1; a head calibrates itself by "
            "cross-validation all the same. Where `task.metric` grades answers, 20 or more also fit how probable "
            "a right answer is."
        ),
    )
    stop_set: Annotated[int, Field(ge=0)] = Field(
        default=200,
        description="Texts of the pool whose predictions are compared from round to round.",
    )

    @model_validator(mode="after")
    def _a_test_needs_a_file(self) -> EvaluationSpec:
        if self.kind == "test" and self.path is None:
            raise ValueError("kind: test needs a path")
        if self.kind != "test" and self.path is not None:
            raise ValueError(f"path belongs to kind: test, not to kind: {self.kind}")
        return self

    @model_validator(mode="after")
    def _a_growing_audit_set_has_an_end(self) -> EvaluationSpec:
        if self.grow and self.kind != "audit":
            raise ValueError(f"grow belongs to kind: audit, not to kind: {self.kind}")
        if self.grow and (self.max_size is None or self.max_size <= self.size):
            raise ValueError(
                f"grow needs a max_size above size ({self.size}): these items are kept from the pool"
            )
        if self.max_size is not None and not self.grow:
            raise ValueError("max_size belongs to grow, which is 0")
        return self

    @property
    def reserved(self) -> int:
        """Number of audit items drawn at import."""
        return (self.max_size or self.size) if self.kind == "audit" else 0
