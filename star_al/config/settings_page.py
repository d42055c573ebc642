"""The settings page of the documentation, in Markdown: the text of ``docs/settings.md``."""

from __future__ import annotations

from collections.abc import Iterator

from star_al.common.wording import sentence_case
from star_al.config.changes import when_changeable
from star_al.config.setting_tree import Setting, all_settings
from star_al.config.value_words import value_words
from star_al.config.writing import to_one_line

_HEAD = """\
# Settings

<!-- Made from star_al/config/spec by `make settings`. Change the descriptions there. -->

A campaign is one YAML 1.2 file. `star-al init` writes a short one: what you have to decide. This page has all
settings; `star-al config reference` prints them as a commented file, and `star-al config schema` as a JSON schema,
with which an editor completes and checks the file while you type.

- A setting that is left out has its default. An unknown key is an error that names the nearest right one.
- Labels, column names and other texts need no quotes: `no`, `007`, `1e3` and `2026-01-31` stay as they are written.
- Relative paths start at the campaign file's folder.
- Passwords and tokens do not belong in the file. They are read from environment variables.
- A running campaign accepts a change to some settings only; each setting below says when. For any other change,
  give the campaign a new `name`.
"""


def settings_page() -> str:
    """All settings: what each means, what it may be set to, its default, and when it may change."""
    return _HEAD + "\n" + "\n".join(_sections(all_settings())).rstrip() + "\n"


def _sections(settings: tuple[Setting, ...]) -> Iterator[str]:
    """The settings outside any section under one heading, then a heading for each section."""
    yield from ("## The campaign", "")
    for setting in settings:
        if not setting.is_section:
            yield from _setting(setting, level=3)
    for section in settings:
        if section.is_section:
            yield from (f"## `{section.path}`", "", section.description, "")
            yield from _within(section, level=3)


def _within(section: Setting, *, level: int) -> Iterator[str]:
    for setting in section.settings:
        yield from _setting(setting, level=level)
    for kind, settings in section.kinds.items():
        (first, *rest) = (each for each in settings if each not in section.shared)
        note = " This is the default." if not section.required and kind == section.default_kind else ""
        yield from (_heading(f"{section.path}: {{kind: {kind}}}", level), "", first.description + note, "")
        if not rest:
            yield from ("It has no further settings.", "")
        for setting in rest:
            yield from _setting(setting, level=level + 1)
    for setting in section.shared:
        yield from _setting(setting, level=level)


def _setting(setting: Setting, *, level: int) -> Iterator[str]:
    yield from (_heading(setting.path, level), "", setting.description, "")
    if setting.is_section:
        yield from _within(setting, level=level + 1)
        return
    if setting.choices:
        yield from (f"- `{value}`: {meaning}" for value, meaning in setting.choices.items())
        yield ""
    yield from (_facts(setting), "")
    for part in setting.settings:
        yield from _setting(part, level=level + 1)


def _heading(text: str, level: int) -> str:
    return f"{'#' * level} `{text}`"


def _facts(setting: Setting) -> str:
    """The values it takes, its default, examples, and when it may change."""
    facts = [] if setting.choices else [sentence_case(value_words(setting.schema))]
    facts.append("Required" if setting.required else f"Default: `{to_one_line(setting.default)}`")
    if setting.examples:
        word = "Example" if len(setting.examples) == 1 else "Examples"
        facts.append(f"{word}: " + ", ".join(f"`{to_one_line(example)}`" for example in setting.examples))
    return ". ".join((*facts, when_changeable(setting.path))) + "."
