"""``acquisition.shortlist``: which texts of a large pool are scored again."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from star_al.config.spec.base import Positive, Spec, choices

OPEN_MEASURES = ("nll", "token_entropy")
"""Values of ``by`` that need a model which writes answers; each is a measure of its likeliest answer."""


class ShortlistSpec(Spec):
    """Which texts of the pool a round scores; a share alone may stand for it, as in ``shortlist: 10%``."""

    plain_form: ClassVar[str | None] = "share"

    @model_validator(mode="before")
    @classmethod
    def _read_amounts(cls, section: Any) -> Any:
        """Read a section that is written as an amount: 10%, 0.1, or a number of texts."""
        if isinstance(section, (cls, dict)) or section is None or isinstance(section, bool):
            return section
        amount = _amount(section)
        return {"size": amount} if isinstance(amount, int) and amount > 1 else {"share": amount}

    share: Annotated[float, Field(gt=0, le=1)] = Field(
        default=1.0,
        description=(
            "Share of the pool that is scored in a round; with 1, all of it. Texts that have no score yet are scored "
            "besides. The shortlist is never shorter than what the batch is chosen from. "
            "`shortlist: 10%` and `shortlist: 5000` are short for `share` and `size`."
        ),
        examples=[0.1],
    )
    size: Positive | None = Field(
        default=None,
        description="How many texts are scored in a round. It takes the place of `share`.",
        examples=[5000],
    )
    by: Literal["last_round", "head", "mean", "nll", "token_entropy"] = Field(
        default="last_round",
        description="What puts a text on the shortlist.",
        json_schema_extra=choices(
            last_round="its newest score of an earlier round; the first trained round scores all texts",
            head="the uncertainty of the head that is trained beside the language model",
            mean=(
                "the same measure by the mean or mode of the posterior, in one pass over the pool; `bald` and `epig` "
                "by entropy"
            ),
            nll="how improbable the model's likeliest answer is, in one pass over the pool; for written answers",
            token_entropy=(
                "the entropy along the model's likeliest answer, in one pass over the pool; for written answers"
            ),
        ),
    )
    random_share: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.1,
        description=(
            "Share of the shortlist that is drawn at random from the other texts. They tell how many texts the "
            "shortlist misses, and may be asked like the others. With 0, that stays unknown."
        ),
    )

    @field_validator("share", mode="before")
    @classmethod
    def _read_percentages(cls, share: Any) -> Any:
        return _amount(share)

    @model_validator(mode="after")
    def _has_an_amount(self) -> ShortlistSpec:
        """Refuse settings that would have no effect, as all texts are scored without an amount."""
        given = self.model_fields_set
        if given & {"by", "random_share"} and not given & {"share", "size"}:
            raise ValueError("needs share or size, such as share: 10%; without them all texts are scored")
        return self

    @property
    def is_on(self) -> bool:
        """True if a round scores only a part of the pool."""
        return self.size is not None or self.share < 1.0


def _amount(written: Any) -> Any:
    """Return the number that a text such as ``10%`` stands for; anything else as it is."""
    if not isinstance(written, str):
        return written
    text = written.strip()
    try:
        return float(text.removesuffix("%")) / 100 if text.endswith("%") else _number(text)
    except ValueError:
        return written


def _number(text: str) -> int | float:
    return int(text) if text.isdecimal() else float(text)
