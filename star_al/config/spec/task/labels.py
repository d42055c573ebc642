"""A label as the settings give it, and how labels are compared."""

from __future__ import annotations

import unicodedata
from typing import ClassVar

from pydantic import Field

from star_al.config.spec.base import Spec


class LabelSpec(Spec):
    """A label, and its wording for the model where that differs. A plain text is its name."""

    plain_form: ClassVar[str | None] = "name"

    name: str = Field(description="The label as the data spells it and annotators see it.", examples=["bug"])
    verbaliser: str | None = Field(
        default=None,
        description="The wording that the model is scored on; without it, the name.",
        examples=["a bug report"],
    )
    description: str | None = Field(
        default=None,
        description="What the label means, in a few words. A head reads it in place of the name.",
        examples=["something does not work as it should"],
    )


def refuse_equal(names: list[str], what: str) -> None:
    """Refuse names that are empty, or equal when they are compared as labels.

    Raises:
        ValueError: A name is empty, or two are equal; the message names them.
    """
    seen: dict[str, str] = {}
    for name in names:
        key = normalise_label(name)
        if not key:
            raise ValueError(f"one of the {what} is empty")
        if key in seen:
            if seen[key] == name:
                raise ValueError(f"the {what} hold {name!r} twice")
            raise ValueError(
                f"the {what} {seen[key]!r} and {name!r} are equal: letter case and white space do not count"
            )
        seen[key] = name


def normalise_label(name: str) -> str:
    """The form in which labels are compared: white space collapsed, case folded, Unicode composed (NFC)."""
    return unicodedata.normalize("NFC", " ".join(name.split()).casefold())
