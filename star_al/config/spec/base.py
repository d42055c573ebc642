"""What every section shares: the base class, common types, and how a choice is explained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field


class Spec(BaseModel):
    """Base of every section: immutable, no unknown keys, no NaN or infinity, no silent conversions."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, str_strip_whitespace=False)


FROM_FILE = "file"
"""The validation context of a campaign file. Without it, settings stored by older versions are accepted too."""

Positive = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


def choices(**meanings: str) -> Callable[[dict[str, Any]], None]:
    """Explain each value of a ``Literal`` field; pass the result as its ``json_schema_extra``.

    The meanings become ``enumDescriptions`` in the JSON schema, where editors look for them. Building the
    schema raises a ``ValueError`` unless exactly the field's values are explained.
    """

    def explain(schema: dict[str, Any]) -> None:
        if meanings.keys() != set(schema["enum"]):
            raise ValueError(f"choices {sorted(schema['enum'])} are explained as {sorted(meanings)}")
        schema["enumDescriptions"] = [meanings[value] for value in schema["enum"]]

    return explain
