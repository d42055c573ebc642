"""Every setting as commented YAML: the text of ``configs/classification.yaml``."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator

from star_al.config.setting_tree import Setting, all_settings
from star_al.config.writing import to_one_line
from star_al.types import JsonValue

WIDTH = 100
"""Columns that a comment takes, at most."""

_SHOWN_BY_EXAMPLE = frozenset({"model.name"})
"""Settings without a default that works for the kinds that are shown."""

_HEAD = """\
# Every setting of a campaign, with its default and what it means. A campaign file needs only the settings
# marked "Required"; `star-al init` writes a short one. Relative paths start at the campaign file's folder.
# Made from star_al/config/spec by `make settings`.
"""


def reference() -> str:
    """All settings with their defaults; required ones have an example's value."""
    return _HEAD + "\n".join(_settings(all_settings(), "")) + "\n"


def comment(text: str, indent: str, hanging: str = "") -> list[str]:
    """A comment of one line or more; ``hanging`` indents all lines but the first."""
    start = indent + "# "
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=start,
        subsequent_indent=start + hanging,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _settings(settings: Iterable[Setting], indent: str) -> Iterator[str]:
    for setting in settings:
        yield ""
        yield from _comments(setting, indent)
        if setting.kinds:
            yield from _kinds(setting, indent)
        elif setting.is_section:
            yield f"{indent}{setting.name}:"
            yield from _tight(_settings(setting.settings, indent + "  "))
        else:
            yield f"{indent}{setting.name}: {to_one_line(_shown(setting))}"


def _comments(setting: Setting, indent: str) -> Iterator[str]:
    required = " Required." if setting.needs_a_value else ""
    yield from comment(setting.description + required, indent)
    for value, meaning in setting.choices.items():
        yield from comment(f"- {value}: {meaning}", indent, "  ")


def _kinds(setting: Setting, indent: str) -> Iterator[str]:
    """The default kind as it is, the others commented out."""
    shown = setting.default_kind
    yield f"{indent}{setting.name}:"
    yield from _tight(_settings(setting.kinds[shown], indent + "  "))
    for kind in setting.kinds:
        if kind == shown:
            continue
        yield ""
        yield f"{indent}# Or, in its place:"
        yield f"{indent}# {setting.name}:"
        own = [each for each in setting.kinds[kind] if each not in setting.shared]
        yield from (f"{indent}# {line}".rstrip() for line in _tight(_settings(own, "  ")))
        if setting.shared:
            yield f"{indent}#"
            yield f"{indent}#   # And {', '.join(each.name for each in setting.shared)}, as above."


def _tight(lines: Iterator[str]) -> Iterator[str]:
    """The lines after the empty one that ``_settings`` begins with."""
    next(lines)
    return lines


def _shown(setting: Setting) -> JsonValue:
    """The value to show: the default, or an example where there is none or it is a list to be filled."""
    if "const" in setting.schema:
        return str(setting.schema["const"])
    by_example = setting.required or setting.default == [] or setting.path in _SHOWN_BY_EXAMPLE
    return setting.examples[0] if by_example else setting.default
