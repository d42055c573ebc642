"""Each setting is described once, in the specification; schema, page and commented YAML are made from that."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

import jsonschema
import pytest
from pydantic import BaseModel, Field

from star_al.config.schema import DIALECT, campaign_schema
from star_al.config.sections import sections_in
from star_al.config.setting_tree import all_settings
from star_al.config.settings_page import settings_page
from star_al.config.spec import CampaignSpec, Spec
from star_al.config.spec.base import choices
from star_al.config.value_words import value_words

ROOT = Path(__file__).parents[2]
SCHEMA = campaign_schema()
SETTINGS = [setting for top in all_settings() for setting in top.walk()]


def sections(section: type[Spec] = CampaignSpec) -> set[type[Spec]]:
    found = {section}
    for field in section.model_fields.values():
        for inner in sections_in(field.annotation):
            found |= sections(inner)
    return found


def test_every_field_of_every_section_is_described() -> None:
    fields = {
        f"{section.__name__}.{name}": field
        for section in sections()
        for name, field in section.model_fields.items()
    }
    assert [name for name, field in fields.items() if not field.description] == []


def test_a_description_is_a_sentence_that_fits_a_comment() -> None:
    for setting in SETTINGS:
        assert re.fullmatch(r"[A-Z].*\.", setting.description), setting.path
        assert len(setting.summary) <= 110, setting.path
        assert "null" not in setting.description, setting.path


def test_every_choice_is_explained() -> None:
    for setting in SETTINGS:
        assert list(setting.choices) == setting.schema.get("enum", []), setting.path
        assert all(setting.choices.values()), setting.path


def test_examples_and_defaults_are_allowed() -> None:
    for setting in SETTINGS:
        values = [*setting.examples, *([] if setting.required else [setting.default])]
        validator = jsonschema.Draft202012Validator({**setting.schema, "$defs": SCHEMA["$defs"]})
        assert all(map(validator.is_valid, values)), setting.path
        assert values or setting.is_section or "const" in setting.schema, (
            f"{setting.path} has nothing to show"
        )


def test_the_schema_is_one_of_draft_2020_12() -> None:
    assert SCHEMA["$schema"] == DIALECT
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def minimal(**changes: Any) -> dict[str, Any]:
    return {
        "name": "news",
        "data": {"path": "rows.jsonl"},
        "task": {"kind": "classification", "labels": ["yes", True, 7, {"name": "x", "verbaliser": "y"}]},
        "model": {"name": "m"},
        "annotator": {"kind": "oracle", "gold": "topic"},
        **changes,
    }


@pytest.mark.parametrize("changes", [{}, {"posterior": {"samples": 5}}, {"posterior": {"kind": "map"}}])
def test_the_schema_takes_what_the_specification_takes(changes: dict[str, Any]) -> None:
    jsonschema.validate(minimal(**changes), SCHEMA)
    CampaignSpec.model_validate(minimal(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"sed": 1},
        {"seed": -1},
        {"data": {}},
        {"acquisition": {"batch": {"kind": "topk"}}},
        {"posterior": {"kind": "map", "samples": 3}},
        {"adapter": {"dropout": 1.0}},
        {"task": {"kind": "classification", "labels": [["x"], "y"]}},
    ],
)
def test_the_schema_refuses_what_the_specification_refuses(changes: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(minimal(**changes), SCHEMA)
    with pytest.raises(ValueError):
        CampaignSpec.model_validate(minimal(**changes))


def test_the_settings_page_is_made_from_the_specification() -> None:
    page = settings_page()
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == page, "run `make settings`"
    for setting in SETTINGS:
        assert setting.description in page, setting.path
        assert f"# `{setting.path}`" in page or "const" in setting.schema


def test_no_setting_is_described_a_second_time() -> None:
    """Neither word for word, nor in a table that has a row for each setting."""
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "configs").glob("*.yaml")]
    generated = {ROOT / "docs" / "settings.md", ROOT / "configs" / "classification.yaml"}
    names = "|".join(re.escape(setting.path) for setting in SETTINGS if not setting.is_section)
    two_rows = re.compile(rf"^\| *`(?:{names})`.*\n\| *`(?:{names})`", re.MULTILINE)
    for page in set(pages) - generated:
        text = page.read_text(encoding="utf-8")
        assert not two_rows.search(text), page
        repeated = [each.path for each in SETTINGS if len(each.summary) > 30 and each.summary in text]
        assert repeated == [], page


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "integer", "exclusiveMinimum": 0}, "whole number above 0"),
        ({"type": "number", "minimum": 0, "maximum": 1.0}, "number from 0 to 1"),
        ({"type": "number", "minimum": 0, "exclusiveMaximum": 1}, "number of at least 0 and below 1"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "text or `null`"),
        (
            {"anyOf": [{"enum": ["a", "no"]}, {"items": {"type": "string"}, "type": "array"}]},
            '`a`, `"no"` or list of texts',
        ),
        ({"type": "boolean"}, "`true` or `false`"),
    ],
)
def test_values_in_words(schema: dict[str, Any], words: str) -> None:
    assert value_words(schema) == words


def test_a_choice_without_meaning_is_an_error() -> None:
    class Model(BaseModel):
        x: Literal["a", "b"] = Field(json_schema_extra=choices(a="one"))

    with pytest.raises(ValueError, match="are explained as"):
        Model.model_json_schema()
