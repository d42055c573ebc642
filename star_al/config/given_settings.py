"""Settings given beside a campaign file, as ``NAME=VALUE``: they replace what the file says."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode

from star_al.errors import ConfigError

_TAG = "tag:yaml.org,2002:"

Location = tuple[str, ...]
"""The parts of a dotted name."""


def put_settings(
    root: MappingNode, settings: Sequence[str], compose: Callable[[str], Node | None]
) -> frozenset[Location]:
    """Put settings into the nodes of a campaign file.

    Args:
        root: The file's top level; changed in place.
        settings: Each ``NAME=VALUE``, with a dotted name and a value as in the file.
        compose: Reads a value.

    Returns:
        What was set.

    Raises:
        ConfigError: One of them is not written so, or names a part of something that is no section.
    """
    given = []
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or not re.fullmatch(r"\w+(\.\w+)*", name.strip()):
            raise ConfigError(
                f"--set {setting}: not NAME=VALUE. Write, for example, --set acquisition.batch_size=10."
            )
        location = tuple(name.strip().split("."))
        try:
            value = compose(text) or ScalarNode(_TAG + "null", "")
        except (YAMLError, RecursionError) as exc:
            raise ConfigError(f"--set {setting}: the value is not valid YAML. Quote it.") from exc
        _put(root, location, value, setting)
        given.append(location)
    return frozenset(given)


def _put(root: MappingNode, location: Location, value: Node, setting: str) -> None:
    *sections, key = location
    section = root
    for part in sections:
        inner = _child(section, part)
        if inner is not None and not isinstance(inner, MappingNode):
            raise ConfigError(f"--set {setting}: {part} is not a section of the campaign file.")
        # A copy, as an alias may have put the same section elsewhere, too.
        inner = MappingNode(_TAG + "map", [] if inner is None else list(inner.value))
        _replace(section, part, inner)
        section = inner
    _replace(section, key, value)


def _child(section: MappingNode, key: str) -> Node | None:
    return next((value for name, value in section.value if name.value == key), None)


def _replace(section: MappingNode, key: str, value: Node) -> None:
    name = next((name for name, _ in section.value if name.value == key), ScalarNode(_TAG + "str", key))
    rest = [(other, old) for other, old in section.value if other.value != key]
    section.value = [*rest, (name, value)]
