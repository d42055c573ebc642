"""Plain values → YAML 1.2, written so that a reader of YAML 1.1 sees the same."""

from __future__ import annotations

import re
from collections.abc import Mapping
from io import StringIO
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import SafeRepresenter

from star_al.config.dotted_names import set_value
from star_al.config.spec import LabelSpec
from star_al.types import JsonValue

_READ_DIFFERENTLY = re.compile(
    r"(?i)(y|n|yes|no|on|off|true|false|null|~|=|<<)"  # words and marks
    r"|[-+]?\.?[0-9].*|[-+]?\.(inf|nan)"  # numbers, dates
    r"|[:?].*"  # marks of keys; ruamel.yaml writes them plain and cannot read them back in braces
    r"|.*[\n\x85\u2028\u2029].*",  # several lines
    re.DOTALL,
)
"""Text that a reader of YAML 1.1 or 1.2 may take for something else if it has no quotes."""

_ENDLESS = 10**9


class _Representer(SafeRepresenter):
    def represent_str(self, data: str) -> ScalarNode:
        style = '"' if _READ_DIFFERENTLY.fullmatch(data) else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Representer.add_representer(str, _Representer.represent_str)
_Representer.add_representer(tuple, _Representer.represent_list)


def _dump(value: Any, *, flow: bool, width: int) -> str:
    yaml = YAML(typ="safe", pure=True)
    yaml.Representer = _Representer
    yaml.default_flow_style = flow
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.brace_single_entry_mapping_in_flow_sequence = True
    yaml.width = width
    out = StringIO()
    yaml.dump(value, out)
    return out.getvalue()


def to_yaml(tree: Mapping[str, JsonValue], *, width: int = 100) -> str:
    """A tree of plain values as YAML, one setting per line; ``load_campaign`` reads it back."""
    return _dump(dict(tree), flow=False, width=width)


def to_one_line(value: Any) -> str:
    """A value as YAML on one line, quoted where it must be."""
    return _dump([value], flow=True, width=_ENDLESS).strip()[1:-1]


def plain_label(value: object) -> object:
    """A label that has no wording of its own as its plain name, other values as they are."""
    if not isinstance(value, Mapping):
        return value
    chosen = {key: part for key, part in value.items() if part is not None}
    return chosen[LabelSpec.plain_form] if chosen.keys() == {LabelSpec.plain_form} else chosen


def with_values(text: str, values: Mapping[str, JsonValue]) -> str:
    """A YAML text with other values for some settings, by dotted name. Comments and layout stay."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = _ENDLESS
    yaml.indent(mapping=2, sequence=4, offset=2)
    tree = yaml.load(text)
    for name, value in values.items():
        set_value(tree, name, value)
    out = StringIO()
    yaml.dump(tree, out)
    return out.getvalue()
