"""The JSON schema of campaign files, for editors and other programs."""

from __future__ import annotations

import json

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from star_al.config.spec import CampaignSpec
from star_al.types import JsonObject

DIALECT = "https://json-schema.org/draft/2020-12/schema"


class _Settings(GenerateJsonSchema):
    """Describes settings by their fields alone: no titles made from names, no docstrings of classes."""

    def field_title_should_be_set(self, schema: object) -> bool:
        return False

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        section = super().model_schema(schema)
        return {key: value for key, value in section.items() if key not in ("title", "description")}

    def tagged_union_schema(self, schema: core_schema.TaggedUnionSchema) -> JsonSchemaValue:
        union = super().tagged_union_schema(schema)
        union.pop("discriminator", None)  # a keyword of OpenAPI, which validators may refuse
        return union


def schema_text() -> str:
    """The schema as the text of a JSON file."""
    return json.dumps(campaign_schema(), indent=2, ensure_ascii=False) + "\n"


def campaign_schema() -> JsonObject:
    """The JSON schema (draft 2020-12) of a campaign file, with the description of every setting."""
    schema = CampaignSpec.model_json_schema(schema_generator=_Settings)
    return {"$schema": DIALECT, "title": "A star_al campaign", **schema}
