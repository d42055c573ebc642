"""What every section shares: the base class, common types, and how a choice is explained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema


class Spec(BaseModel):
    """Base of every section: immutable, no unknown keys, no NaN or infinity, no silent conversions."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, str_strip_whitespace=False)

    plain_form: ClassVar[str | None] = None
    """The field that a single text stands for, in a section that may be written as one."""

    @model_validator(mode="before")
    @classmethod
    def _read_plain_form(cls, value: Any) -> Any:
        if cls.plain_form is None or isinstance(value, (dict, cls)):
            return value
        return {cls.plain_form: scalar_text(value)}

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Allow a plain value too, in a section that may be written as one."""
        schema = handler(core_schema)
        if cls.plain_form is None:
            return schema
        section = handler.resolve_ref_schema(schema)
        return {"anyOf": [{"type": ["string", "number", "boolean"]}, section]}


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


def is_number(text: str) -> bool:
    """Return whether a text reads as a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def scalar_text(value: Any) -> Any:
    """A JSON scalar as text: 3 → "3", true → "true". Other values are unchanged."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else value
