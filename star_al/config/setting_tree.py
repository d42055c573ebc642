"""All settings as a tree, read from the JSON schema; the settings page and the commented YAML are made from it.

The descriptions are in ``star_al.config.spec``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from star_al.config.schema import campaign_schema
from star_al.types import JsonValue


@dataclass(frozen=True)
class Setting:
    """One setting, or a section of settings.

    Attributes:
        path: Its dotted name.
        description: What it means; the first sentence says it in short.
        schema: The JSON schema of its values.
        required: True if it has no default.
        default: Its default; None if it is required.
        examples: Values that show how it is written.
        choices: The meaning of each value, where the values are a closed set.
        settings: The settings of a section, or of sections that its value may hold.
        kinds: The settings of each kind, where a section comes in several kinds.
    """

    path: str
    description: str
    schema: Mapping[str, Any]
    required: bool
    default: JsonValue = None
    examples: tuple[JsonValue, ...] = ()
    choices: Mapping[str, str] = field(default_factory=dict)
    settings: tuple[Setting, ...] = ()
    kinds: Mapping[str, tuple[Setting, ...]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The last part of its dotted name."""
        return self.path.rpartition(".")[2]

    @property
    def is_section(self) -> bool:
        """True if it is a section, rather than a value; also one that a single value may stand for."""
        has_plain_form = bool(self.settings) and isinstance(self.default, dict)
        return bool(self.kinds) or "properties" in self.schema or has_plain_form

    @property
    def needs_a_value(self) -> bool:
        """True if the user must choose its value: it has no default, and is not the name of a kind."""
        return self.required and not self.is_section and "const" not in self.schema

    @property
    def summary(self) -> str:
        """The first sentence of the description, without its full stop."""
        return self.description.split(". ")[0].removesuffix(".")

    @property
    def default_kind(self) -> str:
        """The kind of a section that holds when none is named, or the first one."""
        named = self.default.get("kind") if isinstance(self.default, dict) else None
        return str(named) if named in self.kinds else next(iter(self.kinds))

    @property
    def shared(self) -> tuple[Setting, ...]:
        """The settings that all its kinds have alike."""
        first, *others = self.kinds.values() if self.kinds else [()]
        return tuple(each for each in first if others and all(each in settings for settings in others))

    def walk(self) -> Iterator[Setting]:
        """This setting and all within it."""
        yield self
        for settings in (self.settings, *self.kinds.values()):
            for setting in settings:
                yield from setting.walk()


def all_settings() -> tuple[Setting, ...]:
    """The settings and sections at the top of a campaign file, in order."""
    schema: dict[str, Any] = dict(campaign_schema())
    return _Reader(schema["$defs"]).settings(schema, "")


class _Reader:
    def __init__(self, definitions: Mapping[str, Any]) -> None:
        self._definitions = definitions

    def settings(self, section: Mapping[str, Any], prefix: str) -> tuple[Setting, ...]:
        required = section.get("required", ())
        return tuple(
            self._setting(prefix + name, schema, name in required)
            for name, schema in section["properties"].items()
        )

    def _setting(self, path: str, written: Mapping[str, Any], required: bool) -> Setting:
        schema = self._resolved(written)
        kinds = [self._resolved(kind) for kind in schema.get("oneOf", ())]
        return Setting(
            path=path,
            description=schema.get("description", ""),
            schema=schema,
            required=required,
            default=schema.get("default"),
            examples=tuple(schema.get("examples", ())),
            choices=dict(zip(schema.get("enum", ()), schema.get("enumDescriptions", ()), strict=False)),
            settings=tuple(
                setting
                for section in self._sections_in(schema)
                for setting in self.settings(section, f"{path}.")
            ),
            kinds={kind["properties"]["kind"]["const"]: self.settings(kind, f"{path}.") for kind in kinds},
        )

    def _resolved(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        """The schema with what it refers to, its own keywords first."""
        name = schema.get("$ref", "").rpartition("/")[2]
        return {**(self._definitions[name] if name else {}), **schema}

    def _sections_in(self, schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        """The section that a value is, or those that it may hold."""
        if "properties" in schema:
            yield schema
        for part in (*schema.get("anyOf", ()), *([schema["items"]] if "items" in schema else ())):
            yield from self._sections_in(self._resolved(part))
