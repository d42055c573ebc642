"""Types of sections: which ones an annotation of the specification allows, and which kind each one is."""

from __future__ import annotations

from typing import Any, get_args

from pydantic import BaseModel

from star_al.config.spec import Spec


def sections_in(annotation: Any) -> list[type[Spec]]:
    """Section types that occur in an annotation, alone or as list items."""
    if isinstance(annotation, type) and issubclass(annotation, Spec):
        return [annotation]
    return [found for part in get_args(annotation) for found in sections_in(part)]


def kind_of(section: type[BaseModel]) -> str | None:
    """The only value of the section's ``kind``; None for a section without ``kind`` or with several."""
    field = section.model_fields.get("kind")
    values = get_args(field.annotation) if field is not None else ()
    return values[0] if len(values) == 1 else None
