"""What is wrong with a campaign file, in words: the line, the setting, the reason, and what to write instead."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from star_al.common.wording import count
from star_al.config.reading import Document
from star_al.config.secret_settings import may_hold_secret
from star_al.config.sections import kind_of, sections_in
from star_al.config.spec import CampaignSpec, Spec
from star_al.config.spec.annotator import VARIABLE
from star_al.config.spec.campaign import NAME

_EXPECTED = "Input should be "

_FORMS = {
    NAME: "may have letters, digits, '_', '.' and '-' only, at most 64, and begins with a letter or digit",
    VARIABLE: "is not the name of an environment variable (capital letters, digits, '_')",
}
"""Patterns of settings in words."""


def explain(source: Path | str, document: Document | None, error: ValidationError) -> str:
    """One message that names every wrong setting.

    Args:
        source: The campaign file, as the user named it, or what else gave the settings.
        document: What was read from it, which knows the lines; None for values that no file has yet.
        error: Why its values do not make a ``CampaignSpec``.

    Returns:
        A headline and a line for each setting.
    """
    found: dict[tuple[str | int, ...], list[_Reason]] = {}
    for detail in error.errors():
        location, reason = _explain_one(detail)
        found.setdefault(location, []).append(reason)
    head = f"{source}: {count(len(found), 'setting is wrong', 'settings are wrong')}"
    lines = [f"  {_place(document, location)}: {_either(reasons)}" for location, reasons in found.items()]
    return "\n".join([head, *lines])


def _place(document: Document | None, location: tuple[str | int, ...]) -> str:
    name = ".".join(map(str, location)) or "campaign"
    if document is not None and document.is_given(location):
        return f"--set {name}"
    line = None if document is None else document.line(location)
    return name if line is None else f"line {line}: {name}"


_Reason = tuple[str, str]
"""What is wrong, and after it the value with advice."""


def _either(reasons: list[_Reason]) -> str:
    """One sentence for a setting that may be written in several ways."""
    first, *others = (message for message, _ in reasons)
    if all(message.startswith(_EXPECTED) for message, _ in reasons):
        words = " or ".join([first, *(message.removeprefix(_EXPECTED) for message in others)])
    else:
        words = "; or: ".join([first, *others])
    return words + max((rest for _, rest in reasons), key=len)  # all show the same value; one may have advice


def _explain_one(detail: Any) -> tuple[tuple[str | int, ...], _Reason]:
    section, location = _follow(tuple(part for part in detail["loc"] if not _is_union_tag(part)))
    match detail["type"]:
        case "extra_forbidden":
            return location, (f"unknown key.{_nearest(section, location)}", "")
        case "missing":
            return location, ("is required.", "")
        case "union_tag_not_found":
            return (*location, "kind"), ("is required.", "")
        case "union_tag_invalid":
            given, known = detail["ctx"]["tag"], detail["ctx"]["expected_tags"].replace("'", "")
            advice = _did_you_mean(given, known.split(", "))
            return (*location, "kind"), (f"there is no {given!r}; choose from {known}.", advice)
        case "string_pattern_mismatch":
            return location, (_FORMS[detail["ctx"]["pattern"]], _value_with_advice(detail, location))
        case "model_attributes_type":
            return location, (f"must be a section; write {'.'.join(map(str, location))}: {{kind: …}}.", "")
    return location, (detail["msg"].removeprefix("Value error, "), _value_with_advice(detail, location))


def _value_with_advice(detail: Any, location: tuple[str | int, ...]) -> str:
    value = detail["input"]
    hidden = may_hold_secret(location) or isinstance(value, (dict, list, tuple, BaseModel))
    words = "" if hidden else f" (given: {value!r})"
    if detail["type"] == "literal_error":
        advice = _did_you_mean(value, re.findall("'(.+?)'", detail["ctx"]["expected"]))
        words += advice and f".{advice}"
    return words


def _is_union_tag(part: object) -> bool:
    """Return whether pydantic put this into a location to say which member of a union it tried."""
    return isinstance(part, str) and bool(
        re.search(r"[\[(]|^OptionsPattern$|^str$|^tuple|^float$|^constrained-", part)
    )


def _nearest(section: type[Spec] | None, location: tuple[str | int, ...]) -> str:
    if section is None:
        return ""
    names = list(section.model_fields)
    return _did_you_mean(location[-1], names) or f" Known keys: {', '.join(names)}."


def _did_you_mean(given: object, names: list[str]) -> str:
    close = difflib.get_close_matches(str(given), names, n=1, cutoff=0.5)
    return f" Did you mean {close[0]!r}?" if close else ""


def _follow(location: tuple[Any, ...]) -> tuple[type[Spec] | None, tuple[str | int, ...]]:
    """The section around the last part of ``location``, and the location as the user wrote it.

    pydantic puts the kind of a section that comes in several kinds into the location, as if it were a key.
    """
    sections: list[type[Spec]] = [CampaignSpec]
    written: list[str | int] = []
    for position, part in enumerate(location):
        kinds = [section for section in sections if kind_of(section) == part]
        if kinds and len(sections) > 1:
            sections = kinds
            continue
        written.append(part)
        if position == len(location) - 1 or isinstance(part, int):
            continue
        fields = sections[0].model_fields if sections else {}
        sections = sections_in(fields[part].annotation) if part in fields else []
    return (sections[0] if sections else None), tuple(written)
